"""Read a provider's answer: as a stream into a run, or whole within a bound.

``StreamingBody`` is the first of the three objects between two sockets.  The traps that
it works around were measured: a pause inside ``connectionMade`` is undone when
``deliverBody`` returns (twisted#9623); ``loseConnection`` on a paused TLS body never
reports back, ``stopProducing`` does; data still arrives after closing.
"""

from __future__ import annotations

from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from twisted.web.iweb import IResponse
from zope.interface import implementer

from moltbot_gw.events import Completion, FinishReason, ModelEvent, Usage
from moltbot_gw.interfaces import IRunSink
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.sse import EventTooLarge

LINGER_SECONDS = 2.0
"""How long the end of the HTTP body may take after the stream's own end marker."""


class ProviderSilent(Exception):
    """Nothing came for longer than the idle time-out, paused time not counted."""


class StreamCut(Exception):
    """The body ended before the stream's own end marker."""


class StreamDecoder(TypingProtocol):
    """Turns the bytes of one streamed answer into model events.

    A stream is whole when *finish_reason* is set or *done* is true.  ``feed`` and
    ``flush`` raise ``ProviderError`` or ``EventTooLarge``.
    """

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the model stopped; None as long as that is not known."""

    @property
    def usage(self) -> Usage | None:
        """What was reported of the tokens so far."""

    @property
    def done(self) -> bool:
        """Whether the stream's own end marker was seen."""

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Return what *data* says."""

    def flush(self) -> list[ModelEvent]:
        """Return what the end of the body left behind."""


@implementer(IPushProducer)
class StreamingBody(Protocol):
    """Moves one streamed answer from its socket into a run.

    States: *reading* until the end marker, a failure, or a cancel; *finished* after,
    when all that still arrives is ignored.  A finished body whose connection could be
    used again gets ``LINGER_SECONDS`` to end by itself; any other is closed at once.

    The idle timer is looked at when it fires and not moved for each read: its cost must
    not grow with the number of deltas.
    """

    def __init__(
        self,
        sink: IRunSink,
        decoder: StreamDecoder,
        clock: IReactorTime,
        idle_timeout: float,
    ) -> None:
        self._sink = sink
        self._decoder = decoder
        self._clock = clock
        self._idle_timeout = idle_timeout
        self._paused = False
        self._last_read = clock.seconds()
        self._looked_again = False
        self._timer: IDelayedCall | None = None
        self._connected = False
        self._finished: Deferred[Completion] | None = Deferred(lambda _: self._close())

    def read(self, response: IResponse) -> Deferred[Completion]:
        """Start; the Deferred errbacks with one of the exceptions above,
        ``ProviderError`` or ``EventTooLarge``.  Cancelling closes the socket."""
        waiting = self._finished
        assert waiting is not None
        response.deliverBody(self)
        if self._finished is not None:
            self._set_timer(self._idle_timeout)
            self._sink.registerProducer(self, True)
        return waiting

    # -- from the socket

    def connectionMade(self) -> None:
        self._connected = True

    def dataReceived(self, data: bytes) -> None:
        if self._finished is None:
            return
        self._last_read = self._clock.seconds()
        try:
            events = self._decoder.feed(data)
        except ProviderError as error:
            self._fail(error)
            return
        except EventTooLarge as error:
            self._end(error)
            return
        if events:
            self._sink.extend(events)
        if self._decoder.done:
            self._end(None)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._connected = False
        self._stop_timer()
        if self._finished is None:
            return
        try:
            events = self._decoder.flush()
        except ProviderError as error:
            self._fail(error)
            return
        if events:
            self._sink.extend(events)
        whole = self._decoder.done or self._decoder.finish_reason is not None
        self._end(None if whole else StreamCut())

    # -- from the run

    def pauseProducing(self) -> None:
        if not self._paused and self._finished is not None:
            self._paused = True
            self._stop_timer()
            self._producer().pauseProducing()

    def resumeProducing(self) -> None:
        if self._paused and self._finished is not None:
            self._paused = False
            self._last_read = self._clock.seconds()
            self._set_timer(self._idle_timeout)
            self._producer().resumeProducing()

    def stopProducing(self) -> None:
        self._end(StreamCut())

    # -- inside

    def _fail(self, error: ProviderError) -> None:
        """End with *error*, after what was said before it in the same read."""
        if error.events:
            self._sink.extend(error.events)
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        finished, self._finished = self._finished, None
        if finished is None:
            return
        self._sink.unregisterProducer()
        self._stop_timer()
        if error is None and self._connected:
            self._set_timer(LINGER_SECONDS)
            self._last_read = self._clock.seconds()
            if self._paused:
                self._producer().resumeProducing()
        else:
            self._stop_reading()
        if error is not None:
            finished.errback(error)
            return
        reason = self._decoder.finish_reason or "stop"
        usage = self._decoder.usage or Usage()
        finished.callback(Completion(finish_reason=reason, usage=usage))

    def _close(self) -> None:
        """Cancel: the Deferred errbacks by itself."""
        self._finished = None
        self._sink.unregisterProducer()
        self._stop_timer()
        self._stop_reading()

    def _stop_reading(self) -> None:
        if self._connected:
            self._producer().stopProducing()

    def _producer(self) -> IPushProducer:
        assert self.transport is not None
        return IPushProducer(self.transport)

    def _set_timer(self, seconds: float) -> None:
        if self._connected:
            self._timer = self._clock.callLater(seconds, self._timed_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        if self._finished is None:
            self._stop_reading()
            return
        silent = self._clock.seconds() - self._last_read
        if silent < self._idle_timeout:
            self._looked_again = False
            self._set_timer(self._idle_timeout - silent)
        elif not self._looked_again:
            # Timers ring before sockets are read: after a stall of the whole process,
            # what the provider has sent in time may still lie there.
            self._looked_again = True
            self._set_timer(0)
        else:
            self._end(ProviderSilent())


class BodyTooLarge(Exception):
    """The body is longer than it may be."""


class BoundedBody(Protocol):
    """Reads a body of at most *max_bytes*, while *timeout* seconds bring some of it.

    *whole* says that half a body is of no use: the Deferred then errbacks with
    ``ProviderSilent``, ``StreamCut`` or ``BodyTooLarge``, where otherwise it fires with
    what came.
    """

    def __init__(
        self, max_bytes: int, clock: IReactorTime, timeout: float, *, whole: bool
    ) -> None:
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._size = 0
        self._clock = clock
        self._timeout = timeout
        self._whole = whole
        self._timer: IDelayedCall | None = None
        self._finished: Deferred[bytes] | None = Deferred(lambda _: self._close())

    def read(self, response: IResponse) -> Deferred[bytes]:
        """Start.  Cancelling closes the socket."""
        waiting = self._finished
        assert waiting is not None
        self._timer = self._clock.callLater(self._timeout, self._end, ProviderSilent())
        response.deliverBody(self)
        return waiting

    def dataReceived(self, data: bytes) -> None:
        if self._finished is None:
            return
        self._chunks.append(data[: self._max_bytes - self._size])
        self._size += len(data)
        if self._size > self._max_bytes:
            self._end(BodyTooLarge())
        elif self._whole and self._timer is not None:
            self._timer.reset(self._timeout)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.transport = None
        cut = reason is not None and reason.check(ResponseFailed) is not None
        self._end(StreamCut() if cut else None)

    def _end(self, error: Exception | None) -> None:
        finished, self._finished = self._finished, None
        if finished is None:
            return
        self._close()
        if error is not None and self._whole:
            finished.errback(error)
        else:
            finished.callback(b"".join(self._chunks))

    def _close(self) -> None:
        self._finished = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self.transport is not None:
            IPushProducer(self.transport).stopProducing()
