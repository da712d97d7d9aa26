"""Runs as the clients of the WebSocket edge see them: every run, each at its own pace.

A feed reads one run for all clients.  Each event makes a *step*, rendered once and sent
to everybody who is up to date.  Who cannot take a step only remembers where he
stopped in the run's log, and gets what he missed from there, merged, when he reads
again; so a slow client costs a position, whatever is said.

The protocol repeats the whole text in each event, which would make the traffic grow
with the square of an answer's length.  So the longer the text, the rarer the steps, and
beyond ``MAX_REPEATED_CHARS`` only what is new is told.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from moltbot_gw.agents.log import Cursor, Position
from moltbot_gw.agents.run import Run
from moltbot_gw.events import (
    AttemptFailed,
    CompactionEnded,
    CompactionStarted,
    RunEnded,
    RunEvent,
    RunOutcome,
    RunStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
    ToolUpdated,
)
from moltbot_gw.interfaces import IRunSubscriber
from moltbot_gw.wire.frames import encode_payload, event_head
from moltbot_gw.wire.run_events import ChatEvents, LifecycleEvents

MIN_INTERVAL = 0.05
MAX_INTERVAL = 1.0
CHARS_PER_INTERVAL = 8192
CHAT_INTERVAL = 0.15
MAX_REPEATED_CHARS = 128 * 1024
MAX_KEPT = 16
MAX_FINAL_CHARS = 4 * 1024 * 1024

_Place = tuple[Position, int]
"""A position, and the number of the newest step when it was read from."""

_TOOL_EVENTS = (ToolStarted, ToolUpdated, ToolFinished)

_AGENT, _CHAT = event_head("agent"), event_head("chat")


class EventFrame(msgspec.Struct, frozen=True):
    """An event without its number: what stands before the payload, and the payload."""

    head: bytes
    payload: bytes


class Step(msgspec.Struct, frozen=True):
    """What happened in a run right after *start*: one event, at most 16 Ki of text."""

    start: Position
    frames: tuple[EventFrame, ...]


@implementer(IRunSubscriber)
class RunFeed:
    """Reads *run* and hands its steps to *deliver*, until ``ended``."""

    paused = False

    def __init__(
        self,
        run: Run,
        *,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        deliver: Callable[[RunFeed, Step], None],
    ) -> None:
        self.run = run
        self.ended = False
        self._clock = clock
        self._unix_time = unix_time
        self._deliver = deliver
        self._agent = LifecycleEvents(run.run_id, run.session_key)
        self._chat = ChatEvents(run.run_id, run.session_key)
        self._seq = 0
        self._text_chars = 0
        self._due = 0.0
        self._chat_due = 0.0
        self._timer: IDelayedCall | None = None
        self._cursor: Cursor = run.watch(self)
        self._last_frames: tuple[EventFrame, ...] = ()
        self._missed: dict[_Place, tuple[Position, tuple[EventFrame, ...]]] = {}

    @property
    def position(self) -> Position:
        """How far the steps have come."""
        return self._cursor.position

    def wake(self) -> None:
        """There is something to read: now if that is due, else when it is."""
        if self.run.outcome is not None:
            self.flush()
        elif self._timer is None:
            wait = self._due - self._clock.seconds()
            if wait <= 0:
                self.flush()
            else:
                self._timer = self._clock.callLater(wait, self._ring)

    def flush(self) -> None:
        """Tell everything that is unread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        start = self.position
        event = self._cursor.take()
        if event is None:
            return
        while event is not None:
            end = self.position
            following = self._cursor.take()
            self._tell(event, start, end, is_last=_ends_batch(following))
            start, event = end, following
        if self.ended:
            self.run.unsubscribe(self)  # else each would keep the other's text alive
        pace = MIN_INTERVAL * (1 + self._text_chars / CHARS_PER_INTERVAL)
        self._due = self._clock.seconds() + min(pace, MAX_INTERVAL)

    def close(self) -> None:
        """Read no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.run.unsubscribe(self)

    def missed(self, start: Position) -> tuple[Position, tuple[EventFrame, ...]]:
        """Return the next event after *start*, merged, and where it ends.

        There is nothing left when that is ``position``.
        """
        place = start, self._seq
        known = self._missed.get(place)
        if known is not None:
            return known
        cursor = Cursor(self.run.log, start)
        event = cursor.take(until=self.position)
        if event is None:
            return self.position, ()
        end = cursor.position
        is_last = _ends_batch(cursor.take(until=self.position))
        frames = self._render(event, end, with_text=is_last, with_chat=is_last)
        if not is_last:
            # Many fall behind at the same places, and read on at the same time.
            if len(self._missed) >= MAX_KEPT:
                del self._missed[next(iter(self._missed))]
            self._missed[place] = end, frames
        return end, frames

    def _ring(self) -> None:
        self._timer = None
        self.flush()

    def _tell(
        self, event: RunEvent, start: Position, end: Position, *, is_last: bool
    ) -> None:
        """Deliver one event; only the last words of a batch repeat those before."""
        self._seq += 1
        with_chat = False
        if isinstance(event, TextDelta):
            self._text_chars += len(event.text)
            with_chat = is_last and self._is_chat_due()
        frames = self._render(event, end, with_text=is_last, with_chat=with_chat)
        if frames:
            self._deliver(self, Step(start, frames))

    def _is_chat_due(self) -> bool:
        now = self._clock.seconds()
        if now < self._chat_due:
            return False
        self._chat_due = now + CHAT_INTERVAL
        return True

    def _render(
        self, event: RunEvent, position: Position, *, with_text: bool, with_chat: bool
    ) -> tuple[EventFrame, ...]:
        if isinstance(event, RunEnded):
            return self._render_end(event.outcome)
        now_ms = int(self._unix_time() * 1000)
        if isinstance(event, RunStarted):
            payload = self._agent.started(self._seq, now_ms, event.at_ms)
            return (EventFrame(_AGENT, encode_payload(payload)),)
        if isinstance(event, _TOOL_EVENTS) and self.run.shows_tools:
            tool = self._agent.tool(self._seq, now_ms, event)
            return (EventFrame(_AGENT, encode_payload(tool)),)
        if isinstance(event, (CompactionStarted, CompactionEnded)):
            told = self._agent.compaction(self._seq, now_ms, event)
            return (EventFrame(_AGENT, encode_payload(told)),)
        if isinstance(event, AttemptFailed):
            told = self._agent.attempt(self._seq, now_ms, event)
            return (EventFrame(_AGENT, encode_payload(told)),)
        if not isinstance(event, TextDelta):
            return ()
        text = None
        if with_text and self._text_chars <= MAX_REPEATED_CHARS:
            text = self.run.log.text_until(position, MAX_REPEATED_CHARS)
        said = self._agent.said(self._seq, now_ms, text, event.text)
        frame = EventFrame(_AGENT, encode_payload(said))
        if text is None or not with_chat:
            return (frame,)
        delta = self._chat.delta(self._seq, now_ms, text)
        return (frame, EventFrame(_CHAT, encode_payload(delta)))

    def _render_end(self, outcome: RunOutcome) -> tuple[EventFrame, ...]:
        """Return the last events, rendered once for everybody."""
        if not self._last_frames:
            self.ended = True
            now_ms = int(self._unix_time() * 1000)
            end = self._agent.ended(self._seq, now_ms, outcome)
            text = self.run.log.text_until((2**31, 0), MAX_FINAL_CHARS)
            last = self._chat.ended(self._seq, now_ms, outcome, text)
            self._last_frames = (
                EventFrame(_AGENT, encode_payload(end)),
                EventFrame(_CHAT, encode_payload(last)),
            )
        return self._last_frames


def _ends_batch(following: RunEvent | None) -> bool:
    """Whether the words before *following* are the last ones that can be told."""
    return following is None or isinstance(following, (RunEnded, *_TOOL_EVENTS))
