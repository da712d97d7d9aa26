"""A run, read by an HTTP client as server-sent events, at the client's own pace."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from moltbot_gw.agents.log import MAX_TAKE_CHARS, START, Cursor, Position
from moltbot_gw.agents.run import Run
from moltbot_gw.events import (
    ReasoningDelta,
    RunEnded,
    RunEvent,
    RunStarted,
    TextDelta,
    ToolCallDelta,
)
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.interfaces import IRunSubscriber
from moltbot_gw.wire.chat_response import ChunkRenderer
from moltbot_gw.wire.sse import KEEP_ALIVE

_HEADERS = (
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Cache-Control", b"no-cache, no-transform"),
    (b"X-Accel-Buffering", b"no"),
)


def prepare_stream(request: GatewayRequest) -> None:
    """Set the headers of an event stream."""
    for name, value in _HEADERS:
        request.responseHeaders.setRawHeaders(name, [value])


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How a client reads a run.

    It begins at *start*, and has *had* so many of the records that close the stream.
    With *event_ids* each record says where it ends.  One that *opens_at_once* sees that
    it is attached before there is anything to read, and is told of a failure in the
    stream, never by a status.
    """

    start: Position = START
    had: int = 0
    event_ids: bool = False
    opens_at_once: bool = False


@implementer(IRunSubscriber, IPushProducer)
class SSEStream:
    """The last of the three objects between two sockets.

    It is *open* from ``serve`` until everything is written and taken by the transport,
    or until it is closed.  It holds no text: what it has not written yet is in the
    run's log.  Pausing may happen inside a write, many times in a row.
    """

    def __init__(
        self,
        request: GatewayRequest,
        renderer: ChunkRenderer,
        clock: IReactorTime,
        keep_alive: float,
        reading: Reading,
    ) -> None:
        self.paused = False
        self._reading = reading
        self._request = request
        self._renderer = renderer
        self._clock = clock
        self._keep_alive = keep_alive
        self._last_write = clock.seconds()
        self._timer: IDelayedCall | None = None
        self._run: Run | None = None
        self._cursor: Cursor | None = None
        self._started = False
        self._ended = False
        self._finished: Deferred[None] | None = None

    def serve(self, run: Run) -> Deferred[None]:
        """Write *run* to the client; fire when all is written and on its way.

        Errbacks with the run's ``GatewayError`` if it failed before a byte was sent, so
        that the caller can still answer with a status.  Cancelling stops the reading.
        """
        finished: Deferred[None] = Deferred(lambda _: self._close())
        self._finished = finished
        self._run = run
        self._streams = self._request.channel.site.streams
        self._streams.add(self)
        self._request.registerProducer(self, True)
        self._cursor = run.subscribe(self, self._reading.start)
        self._timer = self._clock.callLater(self._keep_alive, self._tick)
        if self._reading.opens_at_once:
            self._write(KEEP_ALIVE)
        self.wake()
        return finished

    @property
    def unread(self) -> int:
        """How many characters of the run's words the client has not been sent."""
        return 0 if self._cursor is None else self._cursor.unread

    def wake(self) -> None:
        """Write what is unread, as long as the client takes it: one write a batch."""
        try:
            self._catch_up()
        except Exception as error:  # the run would only drop us, and the client wait
            self._fail(error)

    def _catch_up(self) -> None:
        while not self.paused and not self._ended and self._cursor is not None:
            records = self._take_batch(self._cursor)
            if not records:
                break
            self._write(b"".join(records))
        if self._ended and not self.paused:
            self._finish()

    def pauseProducing(self) -> None:
        if not self.paused:
            self.paused = True
            if self._run is not None:
                self._run.flow_changed()

    def resumeProducing(self) -> None:
        if self.paused:
            self.paused = False
            # First what is unread: the source is only let go if that has not filled
            # the transport again.
            self.wake()
            if self._run is not None:
                self._run.flow_changed()

    def stopProducing(self) -> None:
        """The connection is lost; with it goes the handler, which closes us."""

    def _take_batch(self, cursor: Cursor) -> list[bytes]:
        records: list[bytes] = []
        left = MAX_TAKE_CHARS
        while left > 0 and not self._ended:
            event = cursor.take(left)
            if event is None:
                break
            if isinstance(event, (TextDelta, ReasoningDelta)):
                left -= len(event.text)
            elif isinstance(event, ToolCallDelta):
                left -= len(event.arguments) + 1
            elif isinstance(event, RunEnded):
                self._ended = True
                error = event.outcome.error
                if error is not None and not self._started:
                    self._fail(error)
                    return []
            elif not isinstance(event, RunStarted):
                continue  # OpenAI's clients know nothing of what happens beside
            records.append(self._render(event, cursor.position))
        return records

    def _render(self, event: RunEvent, behind: Position) -> bytes:
        if not self._reading.event_ids:
            return self._renderer.render(event)
        return self._renderer.render_with_ids(event, behind, self._reading.had)

    def _write(self, data: bytes) -> None:
        if not self._started:
            self._started = True
            prepare_stream(self._request)
        self._last_write = self._clock.seconds()
        self._request.write(data)

    def _tick(self) -> None:
        quiet = self._clock.seconds() - self._last_write
        if quiet >= self._keep_alive and not self.paused:
            self._write(KEEP_ALIVE)
            quiet = 0
        wait = max(self._keep_alive - quiet, 0) or self._keep_alive
        self._timer = self._clock.callLater(wait, self._tick)

    def _finish(self) -> None:
        finished = self._finished
        self._close()
        if finished is not None:
            finished.callback(None)

    def _fail(self, error: Exception) -> None:
        finished = self._finished
        assert finished is not None, "what is closed does not fail"
        self._close()
        finished.errback(error)

    def _close(self) -> None:
        self._finished = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        run, self._run = self._run, None
        self._cursor = None
        if run is not None:
            run.unsubscribe(self)
            self._streams.discard(self)
            self._request.unregisterProducer()
