"""What a model thought in a message, kept in its place, to be sent back with it.

In a loop of tools the service wants its own thoughts again: whole, signed or encrypted
as they came, and between the same words and calls.  Our messages keep words and calls
apart; so the kept state tells the order of all three, by lengths and numbers.  It is
tagged with the format and the model, because nobody else can read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import msgspec
from msgspec import Struct

from moltbot_gw.events import ReasoningState
from moltbot_gw.messages import AssistantMessage, Message, ToolCall, ToolMessage
from moltbot_gw.wire.providererror import ProviderError

MAX_STATE_CHARS = 4 * 1024 * 1024
"""Of all thoughts of one message; their signatures are about as long as they are."""

_PLACE_CHARS = 64
"""What a place counts at least, so that their number is bounded too."""


class _Part(Struct, omit_defaults=True):
    """One of the three: a thought, a number of characters, or the number of a call."""

    thought: dict[str, Any] | None = None
    chars: int = 0
    phase: str | None = None
    call: int | None = None


class _State(Struct):
    api: str
    model: str
    parts: list[_Part]


class Words(Struct, frozen=True):
    """A stretch of a message's text; *phase* is what OpenAI calls it, if it does."""

    text: str
    phase: str | None = None


Recalled = Union[dict[str, Any], Words, ToolCall]
"""A thought as the service sent it, or what stands between thoughts."""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_State)


class Place:
    """One block or item of a message that is being streamed."""

    def __init__(self, keeper: ThoughtKeeper) -> None:
        self._keeper = keeper
        self._part = _Part()
        self._grown: dict[str, list[str]] = {}

    def say(self, text: str) -> None:
        """Count *text* among the words that stand here."""
        self._part.chars += len(text)

    def name_phase(self, phase: str | None) -> None:
        """Note what the words here are called."""
        self._part.phase = phase or self._part.phase

    def call(self, number: int) -> None:
        """Note that the call *number* of the message stands here."""
        self._part.call = number

    def think(self, block: dict[str, Any]) -> None:
        """Keep *block*, a thought in the service's own form, in place of any before."""
        self._keeper.count(len(_encode(block)))
        self._part.thought = block

    def grow(self, member: str, piece: str) -> None:
        """Add *piece* to a text of the thought that is here; harmless if none is."""
        if self._part.thought is not None:
            self._keeper.count(len(piece))
            self._grown.setdefault(member, []).append(piece)

    def finish(self) -> _Part:
        """Return what stands here."""
        thought = self._part.thought
        if thought is not None:
            for member, pieces in self._grown.items():
                thought[member] = (thought.get(member) or "") + "".join(pieces)
        self._grown.clear()
        return self._part


class ThoughtKeeper:
    """Keeps the thoughts of one message, of the format *api* and of *model*."""

    def __init__(self, api: str, model: str) -> None:
        self._api = api
        self._model = model
        self._places: list[Place] = []
        self._chars = 0

    def begin(self) -> Place:
        """Return the next place of the message."""
        self.count(_PLACE_CHARS)
        self._places.append(Place(self))
        return self._places[-1]

    def count(self, chars: int) -> None:
        """Take note of *chars* more; raise ``ProviderError`` for too many."""
        self._chars += chars
        if self._chars > MAX_STATE_CHARS:
            raise ProviderError("the model's thoughts are too long to be kept")

    def state(self) -> list[ReasoningState]:
        """Return what is to be kept: one event, none for a message without thoughts."""
        parts = [place.finish() for place in self._places]
        if all(part.thought is None for part in parts):
            return []
        parts = [part for part in parts if part != _Part()]
        state = _State(self._api, self._model, parts)
        return [ReasoningState(_encode(state).decode())]


def recall(message: AssistantMessage, api: str, model: str) -> list[Recalled] | None:
    """Return *message* in the order in which it was said.

    None where it has no thoughts that *model* could read in the format *api*, and where
    its words or calls are not those that stood between them.
    """
    if not message.reasoning_state:
        return None
    try:
        state = _decoder.decode(message.reasoning_state)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if (state.api, state.model) != (api, model):
        return None
    calls = [part.call for part in state.parts if part.call is not None]
    chars = sum(part.chars for part in state.parts)
    if chars != len(message.text) or calls != list(range(len(message.tool_calls))):
        return None
    found: list[Recalled] = []
    start = 0
    for part in state.parts:
        if part.thought is not None:
            found.append(part.thought)
        if part.call is not None:
            found.append(message.tool_calls[part.call])
        if part.chars:
            found.append(Words(message.text[start : start + part.chars], part.phase))
            start += part.chars
    return found


def open_turn(messages: Sequence[Message]) -> int:
    """Return where the turn begins that the model is in: behind what it was asked.

    Only its thoughts need to go back; services pass over older ones, or think as well
    without.  Left out, they cost nothing, and a key or an account that has changed can
    spoil one turn, but never a session.  What a user says right behind the results of
    tools does not end the turn.
    """
    end = len(messages)
    while end:
        start = end
        while start and not isinstance(messages[start - 1], AssistantMessage):
            start -= 1
        asked = messages[start:end]
        if asked and not any(
            isinstance(one, ToolMessage) and one.tool_call_id is not None
            for one in asked
        ):
            return end
        end = start - 1 if start else 0
    return 0
