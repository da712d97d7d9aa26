"""What the model says in one call: how it goes into the run's log, and what it was.

A run calls its model several times when the agent has tools.  Readers are shown one
answer: the words of all calls, and the calls of the client's own tools.  Calls of the
agent's tools are kept here; who makes them tells of them as tool events.
"""

from __future__ import annotations

import attrs
import msgspec

from moltbot_gw.agents.log import RunLog
from moltbot_gw.agents.silence import SilenceFilter
from moltbot_gw.agents.text import TextSegment
from moltbot_gw.events import (
    ModelEvent,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
)
from moltbot_gw.messages import ToolCall


@attrs.define(eq=False)
class _Call:
    """A call that the model writes; *shown* is its index for readers."""

    start: ToolCallDelta
    shown: int | None
    arguments: TextSegment = attrs.Factory(TextSegment)


class Speech:
    """One model call's part of a run.

    Calls of *client_tools* are shown to readers (None: all calls are), numbered from
    *first_call* on.  *is_shown* says that they have been given any of it.
    """

    def __init__(
        self,
        log: RunLog,
        client_tools: frozenset[str] | None = None,
        first_call: int = 0,
    ) -> None:
        self._log = log
        self._start = len(log)
        self._needs_gap = bool(log.has_text)
        self._client_tools = client_tools
        self._next_call = first_call
        self._silence = SilenceFilter()
        self._calls: dict[int, _Call] = {}
        self.reasoning_state = ""
        self.is_shown = False

    @property
    def next_call(self) -> int:
        """The index that the next call to be shown would get."""
        return self._next_call

    def feed(self, event: ModelEvent) -> None:
        """Take the next piece."""
        if isinstance(event, TextDelta):
            if shown := self._silence.feed(event.text):
                self._show(shown)
        elif isinstance(event, ToolCallDelta):
            self._feed_call(event)
        elif isinstance(event, ReasoningDelta):
            self.is_shown = True
            self._log.append_text(ReasoningDelta, event.text)
        elif isinstance(event, ReasoningState):
            self.reasoning_state = event.data

    def finish(self) -> bool:
        """The message is whole: show what was held back without need, if any was."""
        rest = self._silence.finish()
        if rest:
            self._show(rest)
        return bool(rest)

    def text(self) -> str:
        """Return the words, with what is held back of them (see ``silence``)."""
        return self._log.text_since(self._start, TextDelta) + self._silence.withheld()

    def withheld(self) -> str:
        """Return what nobody was shown."""
        return self._silence.withheld()

    def reasoning(self) -> str:
        """Return what the model has shown of its reasoning."""
        return self._log.text_since(self._start, ReasoningDelta)

    def calls(self) -> tuple[ToolCall, ...]:
        """Return all calls, the client's and the agent's, in their order."""
        if not self._calls:
            return ()
        shown = self._log.calls()
        return tuple(
            ToolCall(call.start.id, call.start.name, call.arguments.whole())
            if call.shown is None
            else msgspec.structs.replace(shown[call.shown], for_client=True)
            for _, call in sorted(self._calls.items())
        )

    def _show(self, text: str) -> None:
        self.is_shown = True
        if self._needs_gap:
            self._needs_gap = False
            self._log.append_gap()
        self._log.append_text(TextDelta, text)

    def _feed_call(self, event: ToolCallDelta) -> None:
        call = self._calls.get(event.index)
        if call is None:
            call = self._calls[event.index] = _Call(event, self._index_of(event.name))
        if call.shown is None:
            if event.arguments:
                call.arguments.append(event.arguments)
            return
        self.is_shown = True
        if call.shown == event.index:
            self._log.append_call(event)
        else:
            self._log.append_call(msgspec.structs.replace(event, index=call.shown))

    def _index_of(self, name: str) -> int | None:
        if self._client_tools is not None and name not in self._client_tools:
            return None
        self._next_call += 1
        return self._next_call - 1
