"""What fits into the context window of a model, and how it is divided up.

Source of the thresholds: upstream ``src/agents/pi-settings.ts`` and
``context-window-guard.ts``.  The proportions for small windows are ours: there, the
original would summarise with every turn.
"""

from __future__ import annotations

import msgspec

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.config import AgentDefaults
from moltbot_gw.errors import InvalidRequest

DEFAULT_WINDOW = 200_000
"""The window of a model of which nothing is known, in tokens like all of these."""

MIN_WINDOW = 16_000
LOW_WINDOW = 32_000
_RESERVE = 16_384
_RESERVE_FLOOR = 20_000
_RECENT = 20_000
_SUMMARY = 8_000
_HISTORY_SHARE = 0.5


class CompactionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says of long conversations.

    *context_tokens* caps every window.  *reserve* stays free for the answer and its
    tools; *history_share* is the most of the rest that recent messages keep when the
    older ones are summarised.  With *lists*, a summary names failed calls and files.
    """

    context_tokens: int | None = None
    reserve: int = _RESERVE_FLOOR
    history_share: float = _HISTORY_SHARE
    lists: bool = True


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How the room for messages is divided up, in tokens.

    *recent* is what is kept word for word, *summary* what stands for the rest, and
    *turn* what the last turn may have and still be kept whole.  A compaction that
    frees less than *worthwhile* is none.  A model is shown *chunk* at a time.
    """

    recent: int
    summary: int
    turn: int
    worthwhile: int
    chunk: int


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The context window of a model: beyond *threshold* it is time for a summary."""

    size: int
    threshold: int
    history_share: float

    def budget(self, overhead: int) -> Budget:
        """Divide up what *overhead*, the tokens beside the messages, leaves free."""
        # Where the overhead leaves nothing, some of the reserve is better than none.
        room = max(self.threshold - overhead, self.threshold // 4)
        recent = min(_RECENT, int(room * self.history_share))
        summary = min(_SUMMARY, room // 6, (room - recent) // 3)
        # The answer may be twice as long as asked; the estimates may be wrong by half.
        chunk = (self.size - 3 * summary) // 2
        return Budget(
            recent=recent,
            summary=summary,
            turn=room - summary,
            worthwhile=room // 8,
            chunk=chunk,
        )


def compaction_settings(defaults: AgentDefaults) -> CompactionSettings:
    """Return what ``agents.defaults`` says."""
    said = defaults.compaction
    floor = said.reserve_tokens_floor
    return CompactionSettings(
        context_tokens=defaults.context_tokens,
        reserve=max(_RESERVE, _RESERVE_FLOOR if floor is None else floor),
        history_share=said.max_history_share or _HISTORY_SHARE,
        lists=said.mode == "safeguard",
    )


def window_of(model: ModelRef, settings: CompactionSettings) -> Window:
    """Return the window of *model*; raise ``InvalidRequest`` if it is too small.

    The threshold is never below half of the window.
    """
    size = model.context_window or DEFAULT_WINDOW
    if settings.context_tokens is not None:
        size = min(size, settings.context_tokens)
    if size < MIN_WINDOW:
        raise InvalidRequest(
            f"The model {model} has a context window of {size} tokens; an agent needs"
            f" {MIN_WINDOW} at least. Choose another model, or correct contextWindow of"
            " this one or agents.defaults.contextTokens.",
            code="context_window_too_small",
        )
    return Window(
        size=size,
        threshold=max(size - settings.reserve, size // 2),
        history_share=settings.history_share,
    )
