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

import time
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from moltbot_gw.agents.log import GAP, START, Cursor, Position, RunLog
from moltbot_gw.agents.speech import Speech
from moltbot_gw.errors import GatewayError, ProviderFailed
from moltbot_gw.events import (
    ModelEvent,
    ReasoningDelta,
    ReasoningState,
    RunEnded,
    RunOutcome,
    RunStarted,
    SideEvent,
    TextDelta,
    ToolCallDelta,
)
from moltbot_gw.interfaces import IRunSink, IRunSubscriber
from moltbot_gw.messages import ToolCall
from moltbot_gw.principals import OWNER, Principal

_log = Logger()


@implementer(IRunSink)
class Run:
    """The log of one run, and everybody who reads or feeds it.

    A run is ``waiting`` until ``begin``, then ``running``, and ``ended`` after ``end``,
    which happens exactly once.  Nothing is appended after the end.  *cancelled* is why
    somebody cut it off; *is_cut* says that words of the model were dropped after that.
    *created* is in Unix seconds; *session_id*, *model* and *started_at_ms* are known
    once it has begun.  *echo* is the model as the client has named it, who may have
    asked for the usage in its stream (*wants_usage*): whoever attaches reads the same.
    *shows_tools* says whether those who watch are told of the agent's tools,
    *is_replay* that it only says again what one of before has said.
    *caller* is who asked for it.

    *admitted_at*, *left_lanes_at* (its turn to run has come), *spoke_at* (the model's
    first word) and *ended_at* are times of *now*, None for what has not happened.
    """

    def __init__(
        self,
        *,
        run_id: str,
        agent_id: str,
        session_key: str,
        max_bytes: int,
        store_key: str = "",
        now: Callable[[], float] = time.monotonic,
        caller: Principal = OWNER,
    ) -> None:
        self.run_id = run_id
        self.caller = caller
        self.agent_id = agent_id
        self.session_key = session_key
        self.store_key = store_key
        self.created = 0
        self.session_id: str | None = None
        self.model: str | None = None
        self.started_at_ms: int | None = None
        self.echo: str | None = None
        self.wants_usage = False
        self.is_replay = False
        self.shows_tools = False
        self._now = now
        self.admitted_at = now()
        self.left_lanes_at: float | None = None
        self.spoke_at: float | None = None
        self.ended_at: float | None = None
        self._readers = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self.log = RunLog()
        self._subscribers: list[IRunSubscriber] = []
        self._governing: list[IRunSubscriber] = []
        self._source: IPushProducer | None = None
        self._source_paused = False
        self._speech = Speech(self.log)
        self._endings: list[Callable[[Run, RunOutcome], None]] = []
        self._waiters: list[Deferred[RunOutcome]] = []
        self._interrupt: Callable[[GatewayError], None] | None = None
        self.cancelled: GatewayError | None = None
        self.is_cut = False
        self.outcome: RunOutcome | None = None

    @property
    def principal(self) -> str:
        """The name of the key that asked for it, empty for the shared secret."""
        return self.caller.name

    # -- for the service that drives the run

    def leave_lanes(self) -> None:
        """Note that the run waits for nobody any more."""
        self.left_lanes_at = self._now()

    def begin(self, at_ms: int) -> None:
        """Note that the run left its lanes and its turn is stored."""
        self.started_at_ms = at_ms
        self._tell(RunStarted(at_ms))

    def begin_round(self, client_tools: frozenset[str]) -> Speech:
        """Return what the model's next call says, before it says it.

        What it calls is shown to readers only if it is one of *client_tools*.
        """
        self._speech = Speech(self.log, client_tools, self._speech.next_call)
        return self._speech

    def end_round(self) -> None:
        """The model's message is whole: let out what was held back of it."""
        if self._speech.finish():
            self._wake()

    def tell(self, event: SideEvent) -> None:
        """Let those who watch know what happens beside the words."""
        if self.outcome is None:
            self._tell(event)

    def end(self, outcome: RunOutcome) -> None:
        """Close the log with *outcome*; everybody who waits is told."""
        assert self.outcome is None, "a run ends once"
        self.outcome = outcome
        self.ended_at = self._now()
        if outcome.state == "done":
            self._speech.finish()
        self._tell(RunEnded(outcome))
        endings, self._endings = self._endings, []
        for told in endings:
            try:
                told(self, outcome)
            except Exception:
                # What counts or keeps runs must not hold up who waits for this one.
                _log.failure("the end of run {run_id} failed", run_id=self.run_id)
        while self._waiters:
            # One by one: what a waiter does may cancel another.
            self._waiters.pop(0).callback(outcome)

    def on_end(self, told: Callable[[Run, RunOutcome], None]) -> None:
        """Have *told* called at the end, which is to come, before all who wait."""
        assert self.outcome is None
        self._endings.append(told)

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
        return self.log.text(TextDelta)

    def said(self) -> str:
        """Return the same with what is kept back of it (see ``silence``), to store."""
        shown, rest = self.text(), self._speech.withheld()
        apart = rest and shown and not self._speech.is_shown
        return shown + (GAP if apart else "") + rest

    def reasoning(self) -> str:
        """Return what was shown of the model's reasoning so far."""
        return self.log.text(ReasoningDelta)

    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Return the calls that are shown so far, in their order."""
        return tuple(self.log.calls().values())

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

    @property
    def is_held(self) -> bool:
        """Whether it goes on for clients, and only as long as one waits for it."""
        return self._readers > 0

    def hold(self) -> None:
        """Note that one more client waits for this run."""
        self._readers += 1

    def release(self) -> bool:
        """Note that such a client has gone; return whether that was the last one."""
        self._readers -= 1
        return not self._readers

    def subscribe(self, subscriber: IRunSubscriber, start: Position = START) -> Cursor:
        """Let *subscriber* read the log from *start* on, until ``unsubscribe``."""
        self._governing.append(subscriber)
        return self.watch(subscriber, start)

    def watch(self, subscriber: IRunSubscriber, start: Position = START) -> Cursor:
        """The same for one that never holds the source back."""
        self._subscribers.append(subscriber)
        self.flow_changed()
        return Cursor(self.log, start)

    def unsubscribe(self, subscriber: IRunSubscriber) -> None:
        """Forget *subscriber*; harmless when it is not subscribed."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
            if subscriber in self._governing:
                self._governing.remove(subscriber)
            self.flow_changed()

    @property
    def is_held_back(self) -> bool:
        """Whether the source waits for readers that take nothing."""
        return self._source is not None and self._source_paused

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

    # -- IRunSink, for the provider

    def extend(self, events: Iterable[ModelEvent]) -> None:
        """Append *events*; a run that grows over its limit is cancelled instead."""
        if self.outcome is not None or self.cancelled is not None:
            self.is_cut = True
            return
        if self.spoke_at is None:
            self.spoke_at = self._now()
        for event in events:
            text = _said(event)
            self._bytes += len(text) if text.isascii() else len(text.encode())
            if self._bytes > self._max_bytes:
                message = f"The answer is longer than {self._max_bytes} bytes."
                self.is_cut = True
                self.cancel(ProviderFailed(message))
                break
            self._speech.feed(event)
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

    def _tell(self, event: RunStarted | RunEnded | SideEvent) -> None:
        self.log.append(event)
        self._wake()

    def _wake(self) -> None:
        for subscriber in tuple(self._subscribers):
            if not subscriber.paused:
                try:
                    subscriber.wake()
                except Exception:
                    # One broken reader must not take the run from the others.
                    _log.failure("a reader of run {run_id} failed", run_id=self.run_id)
                    self.unsubscribe(subscriber)


def _said(event: ModelEvent) -> str:
    """Return all that the model said in *event*, names and ids too."""
    if isinstance(event, ReasoningState):
        return event.data
    if isinstance(event, ToolCallDelta):
        return event.id + event.name + event.arguments
    return event.text
