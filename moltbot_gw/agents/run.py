"""One execution of an agent: its log, its readers, and the one rule of flow.

    the source is paused exactly when the run has readers and all are paused

It is evaluated again whenever one of its terms may have changed: at subscribe,
unsubscribe, pause, resume, and when the source registers.  One reader (nearly every
request of an editor) thus gets plain TCP backpressure from end to end; a fast and a
slow reader of one run do not disturb each other, because neither owns a queue: each
owns a position in the log.  Who only watches (the WebSocket clients, who see every run)
never holds the source back, but keeps it going while a reader stalls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from moltbot_gw.agents.silence import SilenceFilter
from moltbot_gw.agents.text import TextSegment
from moltbot_gw.errors import GatewayError, ProviderFailed
from moltbot_gw.events import (
    ModelEvent,
    ReasoningDelta,
    ReasoningState,
    RunEnded,
    RunEvent,
    RunOutcome,
    RunStarted,
    SpokenEvent,
    TextDelta,
    ToolCallDelta,
)
from moltbot_gw.interfaces import IRunSink, IRunSubscriber
from moltbot_gw.messages import ToolCall

_log = Logger()

MAX_TAKE_CHARS = 16 * 1024
"""The most text in one event that a cursor hands out."""


class _TextEntry:
    """A stretch of the log that is all text or all reasoning."""

    def __init__(self, kind: type[TextDelta] | type[ReasoningDelta]) -> None:
        self.kind = kind
        self.segment = TextSegment()

    def read(self, offset: int, max_chars: int) -> tuple[SpokenEvent, int] | None:
        """Return what stands at *offset*, and the offset behind; None at the end."""
        if offset >= len(self.segment):
            return None
        text = self.segment.read(offset, max_chars)
        return self.kind(text), offset + len(text)


class _CallEntry:
    """A stretch of the log that belongs to one tool call.

    Where the call begins, its start takes the place of one character, at offset 0.
    What goes on after another call's piece is an entry without id and name.
    """

    def __init__(self, start: ToolCallDelta) -> None:
        self.start = msgspec.structs.replace(start, arguments="")
        self.segment = TextSegment()

    def read(self, offset: int, max_chars: int) -> tuple[SpokenEvent, int] | None:
        """Return what stands at *offset*, and the offset behind; None at the end."""
        lead = 1 if self.start.name else 0
        if offset < lead:
            return self.start, lead
        if offset - lead >= len(self.segment):
            return None
        text = self.segment.read(offset - lead, max_chars)
        event = ToolCallDelta(index=self.start.index, arguments=text)
        return event, offset + len(text)


_Entry = RunStarted | RunEnded | _TextEntry | _CallEntry

Position = tuple[int, int]
"""A place in a run's log: an entry, and in an entry of text a number of characters."""

START: Position = (0, 0)


@implementer(IRunSink)
class Run:
    """The log of one run, and everybody who reads or feeds it.

    A run is ``waiting`` until ``begin``, then ``running``, and ``ended`` after ``end``,
    which happens exactly once.  Nothing is appended after the end.  *cancelled* is why
    somebody cut it off; *is_cut* says that words of the model were dropped after that.
    *created* is in Unix seconds; *session_id* and *model* are known once it has begun.
    """

    def __init__(
        self,
        *,
        run_id: str,
        agent_id: str,
        session_key: str,
        max_bytes: int,
        store_key: str = "",
    ) -> None:
        self.run_id = run_id
        self.agent_id = agent_id
        self.session_key = session_key
        self.store_key = store_key
        self.created = 0
        self.session_id: str | None = None
        self.model: str | None = None
        self._readers = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: list[_Entry] = []
        self._subscribers: list[IRunSubscriber] = []
        self._governing: list[IRunSubscriber] = []
        self._source: IPushProducer | None = None
        self._source_paused = False
        self._silence = SilenceFilter()
        self._waiters: list[Deferred[RunOutcome]] = []
        self._interrupt: Callable[[GatewayError], None] | None = None
        self.cancelled: GatewayError | None = None
        self.is_cut = False
        self.outcome: RunOutcome | None = None

    # -- for the service that drives the run

    def begin(self, at_ms: int) -> None:
        """Note that the run left its lanes and its turn is stored."""
        self._append(RunStarted(at_ms))

    def end(self, outcome: RunOutcome) -> None:
        """Close the log with *outcome*; everybody who waits is told."""
        assert self.outcome is None, "a run ends once"
        self.outcome = outcome
        if outcome.state == "done" and (rest := self._silence.finish()):
            self._append_text(TextDelta, rest)
        self._append(RunEnded(outcome))
        while self._waiters:
            # One by one: what a waiter does may cancel another.
            self._waiters.pop(0).callback(outcome)

    def on_cancel(self, interrupt: Callable[[GatewayError], None] | None) -> None:
        """Name what ``cancel`` stops from now on; None when nothing can be stopped.

        Called at once when the run is cancelled already.
        """
        self._interrupt = interrupt
        if interrupt is not None and self.cancelled is not None:
            interrupt(self.cancelled)

    @property
    def size(self) -> int:
        """How many bytes the model has said."""
        return self._bytes

    def text(self) -> str:
        """Return the assistant's words so far, as they are shown."""
        return self._whole(TextDelta)

    def said(self) -> str:
        """Return the same with what is kept back of it (see ``silence``), to store."""
        return self.text() + self._silence.withheld()

    def reasoning(self) -> str:
        """Return what was shown of the model's reasoning so far."""
        return self._whole(ReasoningDelta)

    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls that the model has written so far, in their order."""
        calls: dict[int, tuple[ToolCallDelta, list[str]]] = {}
        for entry in self._entries:
            if isinstance(entry, _CallEntry):
                _, pieces = calls.setdefault(entry.start.index, (entry.start, []))
                pieces.append(entry.segment.whole())
        return tuple(
            ToolCall(start.id, start.name, "".join(pieces))
            for _, (start, pieces) in sorted(calls.items())
        )

    # -- for whoever started it

    def cancel(self, reason: GatewayError) -> None:
        """Cut the run off; *reason* becomes its error.  Harmless when it has ended.

        The run ends a little later, after its partial text is stored.
        """
        if self.outcome is not None or self.cancelled is not None:
            return
        self.cancelled = reason
        if self._interrupt is not None:
            self._interrupt(reason)

    def when_ended(self) -> Deferred[RunOutcome]:
        """Return a fresh Deferred for the outcome; cancelling it only stops waiting."""
        waiter: Deferred[RunOutcome] = Deferred(self._waiters.remove)
        if self.outcome is not None:
            waiter.callback(self.outcome)
        else:
            self._waiters.append(waiter)
        return waiter

    def hold(self) -> None:
        """Note that one more client waits for this run."""
        self._readers += 1

    def release(self, reason: GatewayError) -> None:
        """Note that such a client has gone; without the last one, cancel the run."""
        self._readers -= 1
        if not self._readers:
            self.cancel(reason)

    def subscribe(self, subscriber: IRunSubscriber) -> Cursor:
        """Let *subscriber* read from the start of the log, until ``unsubscribe``."""
        self._governing.append(subscriber)
        return self.watch(subscriber)

    def watch(self, subscriber: IRunSubscriber) -> Cursor:
        """The same for one that never holds the source back."""
        self._subscribers.append(subscriber)
        self.flow_changed()
        return Cursor(self)

    def unsubscribe(self, subscriber: IRunSubscriber) -> None:
        """Forget *subscriber*; harmless when it is not subscribed."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
            if subscriber in self._governing:
                self._governing.remove(subscriber)
            self.flow_changed()

    def flow_changed(self) -> None:
        """Apply the rule of flow; a subscriber calls it when its ``paused`` changes."""
        paused = bool(self._governing) and all(s.paused for s in self._subscribers)
        if self._source is None or paused == self._source_paused:
            return
        self._source_paused = paused
        if paused:
            self._source.pauseProducing()
        else:
            self._source.resumeProducing()

    def text_until(self, position: Position, max_chars: int) -> str | None:
        """Return the words before *position*; None if these are over *max_chars*."""
        index, offset = position
        pieces: list[str] = []
        for number, entry in enumerate(self._entries[: index + 1]):
            if not isinstance(entry, _TextEntry) or entry.kind is not TextDelta:
                continue
            length = offset if number == index else len(entry.segment)
            max_chars -= length
            if max_chars < 0:
                return None
            pieces.append(entry.segment.whole()[:length])
        return "".join(pieces)

    # -- IRunSink, for the provider

    def extend(self, events: Iterable[ModelEvent]) -> None:
        """Append *events*; a run that grows over its limit is cancelled instead."""
        if self.outcome is not None or self.cancelled is not None:
            self.is_cut = True
            return
        for event in events:
            if isinstance(event, ReasoningState):
                continue
            text = _said(event)
            self._bytes += len(text) if text.isascii() else len(text.encode())
            if self._bytes > self._max_bytes:
                message = f"The answer is longer than {self._max_bytes} bytes."
                self.is_cut = True
                self.cancel(ProviderFailed(message))
                break
            if isinstance(event, ToolCallDelta):
                self._append_call(event)
            elif isinstance(event, ReasoningDelta):
                self._append_text(ReasoningDelta, text)
            elif shown := self._silence.feed(text):
                self._append_text(TextDelta, shown)
        self._wake()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Take *producer* as the source; it is paused at once if the rule says so."""
        assert streaming, "a source pushes"
        assert self._source is None, "a run has one source at a time"
        self._source = producer
        self._source_paused = False
        self.flow_changed()

    def unregisterProducer(self) -> None:
        """Forget the source."""
        self._source = None

    # -- inside

    def _append(self, event: RunStarted | RunEnded) -> None:
        self._entries.append(event)
        self._wake()

    def _append_call(self, event: ToolCallDelta) -> None:
        last = self._entries[-1] if self._entries else None
        if event.name or not (
            isinstance(last, _CallEntry) and last.start.index == event.index
        ):
            last = _CallEntry(event)
            self._entries.append(last)
        if event.arguments:
            last.segment.append(event.arguments)

    def _append_text(
        self, kind: type[TextDelta] | type[ReasoningDelta], text: str
    ) -> None:
        last = self._entries[-1] if self._entries else None
        if not isinstance(last, _TextEntry) or last.kind is not kind:
            last = _TextEntry(kind)
            self._entries.append(last)
        last.segment.append(text)

    def _wake(self) -> None:
        for subscriber in tuple(self._subscribers):
            if not subscriber.paused:
                try:
                    subscriber.wake()
                except Exception:
                    # One broken reader must not take the run from the others.
                    _log.failure("a reader of run {run_id} failed", run_id=self.run_id)
                    self.unsubscribe(subscriber)

    def _whole(self, kind: type[TextDelta] | type[ReasoningDelta]) -> str:
        return "".join(
            entry.segment.whole()
            for entry in self._entries
            if isinstance(entry, _TextEntry) and entry.kind is kind
        )


class Cursor:
    """A reader's position in a run's log, which stays right however text was cut."""

    def __init__(self, run: Run, start: Position = START) -> None:
        self._run = run
        self._index, self._offset = start

    @property
    def position(self) -> Position:
        """How far this reader has come."""
        return self._index, self._offset

    def take(
        self, max_chars: int = MAX_TAKE_CHARS, *, until: Position | None = None
    ) -> RunEvent | None:
        """Return the next event and move past it; None when there is nothing unread.

        Neighbouring text comes as one delta of at most *max_chars* characters.  Nothing
        is returned from *until* on.
        """
        entries = self._run._entries
        while self._index < len(entries):
            if until is not None and self.position >= until:
                return None
            entry = entries[self._index]
            if isinstance(entry, (RunStarted, RunEnded)):
                self._index += 1
                return entry
            if until is not None and self._index == until[0]:
                max_chars = min(max_chars, until[1] - self._offset)
            found = entry.read(self._offset, max_chars)
            if found is not None:
                event, self._offset = found
                return event
            if self._index + 1 == len(entries):
                return None  # this stretch may still grow
            self._index += 1
            self._offset = 0
        return None


def _said(event: SpokenEvent) -> str:
    """Return all that the model said in *event*, names and ids too."""
    if isinstance(event, ToolCallDelta):
        return event.id + event.name + event.arguments
    return event.text
