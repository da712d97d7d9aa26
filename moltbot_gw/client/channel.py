"""One WebSocket connection as calls: requests go out, answers and events come in.

``ClientProtocol`` moves frames and knows nothing of them; ``Channel`` knows frames and
owns no socket.  A channel lives once: it waits for the socket, is open, is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

import attrs
import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moltbot_gw.client.errors import (
    ABNORMAL,
    NO_CODE,
    GatewayClosed,
    NotSent,
    RequestFailed,
    TimedOut,
)
from moltbot_gw.client.frames import Event, Response, find_frame
from moltbot_gw.client.moment import Moment

MAX_IN_FLIGHT = 256
"""Requests that may wait for their answers at once."""
MAX_SUBSCRIBERS = 64
"""Who may hear the events of one connection."""
MAX_INBOUND_BYTES = 25 * 1024 * 1024
"""The largest frame that is taken, as in the original's clients."""

T = TypeVar("T")
Handler = Callable[[Event], None]
GapHandler = Callable[[int, int], None]


@attrs.frozen
class Closed:
    """How a connection ended."""

    code: int
    reason: str


@attrs.frozen
class _Waiting:
    answer: Deferred[Any]
    expect_final: bool


class Channel:
    """The client's side of one connection.

    *on_gap* hears of events that did not arrive: the number expected, the number come.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, on_gap: GapHandler | None = None) -> None:
        self.max_payload = 524_288
        self.last_heard = clock.seconds()
        self._clock = clock
        self._on_gap = on_gap
        self._last_seq: int | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._handlers: list[Handler] = []
        self._protocol: ClientProtocol | None = None
        self._opened: Moment[Closed | None] = Moment()
        self._closed: Moment[Closed] = Moment()

    # -- from the socket

    def attach(self, protocol: ClientProtocol) -> None:
        """There is a socket; the handshake of the WebSocket goes on."""
        self._protocol = protocol

    def opened(self, protocol: ClientProtocol) -> None:
        """The handshake of the WebSocket is done."""
        self._protocol = protocol
        self._opened.come(None)

    def received(self, data: bytes) -> None:
        """A message came."""
        self.last_heard = self._clock.seconds()
        frame = find_frame(data)
        if isinstance(frame, Response):
            self._answer(frame)
        elif isinstance(frame, Event):
            self._note_sequence(frame)
            for handler in tuple(self._handlers):
                self._tell(frame, handler, frame)

    def lost(self, code: int, reason: str) -> None:
        """The socket is gone: everything that waits fails, and stays failed."""
        end = Closed(code, reason)
        self._protocol = None
        self._handlers.clear()
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            # Who hears of one failure may give up another request.
            if not one.answer.called:
                one.answer.errback(GatewayClosed(end.code, end.reason))
        self._opened.come(end)
        self._closed.come(end)

    # -- from the client

    @property
    def closed(self) -> Closed | None:
        """How it ended, if it has."""
        return self._closed.value

    def when_open(self) -> Deferred[Closed | None]:
        """Fire with None when frames may be sent, or with how it ended before."""
        return self._opened.when()

    def when_closed(self) -> Deferred[Closed]:
        """Fire with how it ended."""
        return self._closed.when()

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Call *handler* with each event until the returned function is called."""
        if len(self._handlers) >= MAX_SUBSCRIBERS:
            raise NotSent(f"more than {MAX_SUBSCRIBERS} subscribers to one connection")
        self._handlers.append(handler)

        def unsubscribe() -> None:
            if handler in self._handlers:
                self._handlers.remove(handler)

        return unsubscribe

    def request(
        self, method: str, params: Any, *, seconds: float, expect_final: bool
    ) -> Deferred[Any]:
        """Send a request; the Deferred fires with the answer's payload.

        Cancelling forgets the answer; the gateway still does what it was asked for.
        """
        if self._closed.value is not None:
            return fail(GatewayClosed(*attrs.astuple(self._closed.value)))
        if self._protocol is None or not self._protocol.may_send:
            return fail(NotSent("the connection is not open"))
        if len(self._waiting) >= MAX_IN_FLIGHT:
            return fail(NotSent(f"{MAX_IN_FLIGHT} requests wait for answers already"))
        name = str(uuid4())
        try:
            data = self._encode(name, method, params)
        except NotSent as refusal:
            return fail(refusal)

        def forget(_: Deferred[Any]) -> None:
            self._waiting.pop(name, None)

        answer: Deferred[Any] = Deferred(forget)
        self._waiting[name] = _Waiting(answer, expect_final)
        self._protocol.sendMessage(data)
        return with_deadline(answer, seconds, self._clock)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say good-bye; harmless when it is over."""
        if self._protocol is not None and self._protocol.may_send:
            self._protocol.sendClose(code, reason)

    def abort(self) -> None:
        """Drop the socket without waiting for the other side."""
        if self._protocol is not None:
            self._protocol.dropConnection(abort=True)

    def _encode(self, name: str, method: str, params: Any) -> bytes:
        frame = {"type": "req", "id": name, "method": method, "params": params}
        try:
            data = msgspec.json.encode(frame)
        except (TypeError, ValueError, RecursionError):
            raise NotSent(
                "the request's parameters cannot be written as JSON"
            ) from None
        if len(data) > self.max_payload:
            raise NotSent(
                f"the request has {len(data)} bytes; the gateway takes"
                f" {self.max_payload} at most"
            )
        return data

    def _answer(self, frame: Response) -> None:
        waiting = self._waiting.get(frame.id)
        if waiting is None or (waiting.expect_final and _is_interim(frame)):
            return
        del self._waiting[frame.id]
        if frame.ok:
            waiting.answer.callback(frame.payload)
        else:
            waiting.answer.errback(_failure(frame))

    def _note_sequence(self, event: Event) -> None:
        if event.seq is None:
            return
        last, self._last_seq = self._last_seq, event.seq
        if last is not None and event.seq > last + 1 and self._on_gap is not None:
            self._tell(event, self._on_gap, last + 1, event.seq)

    def _tell(self, event: Event, handler: Callable[..., None], *args: object) -> None:
        try:
            handler(*args)
        except Exception:
            self._log.failure("a subscriber failed at {event}", event=event.event)


class ClientProtocol(WebSocketClientProtocol):
    """Frames between the socket and the channel of its factory."""

    factory: ClientFactory

    @property
    def may_send(self) -> bool:
        """Whether frames may be sent: after the handshake, before any close."""
        return bool(self.state == self.STATE_OPEN)

    def onOpen(self) -> None:
        """The server has agreed to speak WebSocket."""
        self.factory.channel.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A whole message came; the original reads binary ones as text too."""
        self.factory.channel.received(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone, by a closing frame or without.

        The code is that of who closed first; the other side's is only an echo.
        """
        channel = self.factory.channel
        if self.closedByMe:
            reason = (self.localCloseReason or b"").decode()
            channel.lost(self.localCloseCode or NO_CODE, reason)
        elif self.remoteCloseCode is not None:
            channel.lost(self.remoteCloseCode, self.remoteCloseReason or "")
        elif wasClean:
            channel.lost(NO_CODE, "")
        else:
            channel.lost(ABNORMAL, _why(self.wasNotCleanReason))


class ClientFactory(WebSocketClientFactory):
    """Make the protocol of one channel."""

    protocol: Any = ClientProtocol
    noisy = False

    def __init__(self, url: str, channel: Channel, clock: IReactorTime) -> None:
        super().__init__(url, reactor=clock)
        self.channel = channel
        # Autobahn writes it into ``Host`` as it is, where RFC 3986, 3.2.2, wants the
        # brackets of an IPv6 address.
        if ":" in self.host:
            self.host = f"[{self.host}]"
        self.setProtocolOptions(
            maxFramePayloadSize=MAX_INBOUND_BYTES,
            maxMessagePayloadSize=MAX_INBOUND_BYTES,
            # The whole handshake has a deadline of its own.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=2,
            failByDrop=False,
        )


def with_deadline(
    waiting: Deferred[T], seconds: float, clock: IReactorTime
) -> Deferred[T]:
    """Make *waiting* fail with ``TimedOut`` after *seconds*."""

    def give_up(result: object, _: float) -> NoReturn:
        raise TimedOut(seconds)

    return waiting.addTimeout(seconds, clock, onTimeoutCancel=give_up)


def _is_interim(frame: Response) -> bool:
    payload = frame.payload
    return isinstance(payload, dict) and payload.get("status") == "accepted"


def _failure(frame: Response) -> RequestFailed:
    error = frame.error
    if error is None:
        return RequestFailed("UNAVAILABLE", "the gateway gave no reason")
    return RequestFailed(
        error.code,
        error.message,
        details=error.details,
        retryable=error.retryable,
        retry_after_ms=error.retry_after_ms,
        payload=frame.payload,
    )


def _why(reason: str | None) -> str:
    """Return Autobahn's reason, unless it only says that the socket has gone."""
    if not reason or reason.startswith("peer dropped"):
        return ""
    return reason
