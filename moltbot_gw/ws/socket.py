"""One WebSocket: Autobahn's protocol, with flow control and deadlines of our own.

Autobahn frames and checks (RFC 6455); what it leaves open is closed here.  It has no
bound for what is sent to a client that does not read, applies the limit for incoming
messages to outgoing ones too, keeps its timers on the global reactor, and logs a line
for whatever a stranger does.  An empty frame costs a stranger six bytes and us a
hundred times that in work, so their number is bounded.  Its ends of a connection lose
what is not sent yet, close frames too, and it keeps what comes after them.
"""

from __future__ import annotations

import struct
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import (
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
)
from zope.interface import implementer

from moltbot_gw.stall import StallWatch

CLOSE_SECONDS = 2.0
"""How long the other side may take to answer our close frame."""

PING_SECONDS = 30.0
"""A client that says nothing for twice as long, not even pong, is gone."""

MAX_FRAGMENTS = 1024
FRAGMENT_BYTES = 64
"""A message may have so many frames, and one more for each so many bytes; a larger
number is an attack."""

BITE = 4096
BUFFER_BYTES = 16 * 1024
"""What a TCP transport keeps before it pauses us; by default four times as much."""

MAX_CONTROL_BYTES = 125

_FINAL, _TEXT, _BINARY = 0x80, 0x81, 0x82


class Handler(Protocol):
    """What a socket tells of."""

    def opened(self) -> None:
        """The handshake is done; frames may be sent."""

    def received(self, payload: bytes, is_binary: bool) -> None:
        """A whole message has come."""

    def writable(self) -> None:
        """The client reads again."""

    def closed(self, code: int | None, reason: str) -> None:
        """The connection is gone; called once, whatever happened before."""


class _Nobody:
    """Who is told of a connection that is gone."""

    opened = received = writable = closed = staticmethod(lambda *_: None)


class _Quiet:
    """Autobahn's log: whatever strangers do is no news, and debug text costs time."""

    def __getattr__(self, name: str) -> Any:
        return self._ignore

    def _ignore(self, *args: object, **fields: object) -> None:
        pass


@implementer(IPushProducer)
class Socket(WebSocketServerProtocol):
    """The protocol of one connection.

    *paused* says that the transport is full: the owner holds back what can wait.  While
    it is, nothing is read either, so that a client that only sends cannot make us
    answer into the void; the stall watch ends what does not get better.
    """

    log = _Quiet()
    factory: SocketFactory
    transport: Any  # TCP or TLS
    _handler: Handler
    _stall_watch: StallWatch

    def __init__(self) -> None:
        super().__init__()
        self.paused = False
        self._opened = False
        self._heard = False
        self._fragments = 0
        self._closing: IDelayedCall | None = None
        self._pinging: IDelayedCall | None = None

    # -- for the owner

    def attach(self, handler: Handler) -> None:
        """Tell *handler* of everything; called before the connection is made."""
        self._handler = handler

    @property
    def can_send(self) -> bool:
        """Whether frames may be sent: open, and no close frame sent or received."""
        return self._opened and self.state == self.STATE_OPEN

    def send(self, *parts: bytes, is_binary: bool = False) -> None:
        """Send *parts* as one frame; dropped when the socket is not open.

        Goes round ``sendMessage``, which would refuse what is longer than the limit
        for incoming messages.
        """
        if self.can_send:
            length = sum(map(len, parts))
            head = _frame_head(_BINARY if is_binary else _TEXT, length)
            self.transport.writeSequence([head, *parts])

    def send_fragment(
        self, piece: memoryview, *, is_first: bool, is_last: bool
    ) -> None:
        """Send a part of a text message; nothing but its other parts may follow."""
        if self.can_send:
            first = (_FINAL if is_last else 0) | (_TEXT & ~_FINAL if is_first else 0)
            self.transport.write(_frame_head(first, len(piece)) + piece)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and give the client ``CLOSE_SECONDS`` for its own."""
        if self.state == self.STATE_OPEN:
            # There is room for 123 bytes; the original cuts at 120.
            text = reason.encode()[:120].decode("utf-8", "ignore")
            self.sendCloseFrame(code, text.encode())

    def close_slow(self) -> None:
        """Close because the client does not read, or not fast enough."""
        if self.state == self.STATE_OPEN:
            self.factory.slow_closes += 1
            self.close(1008, "slow consumer")

    def limit(self, max_bytes: int) -> None:
        """Take messages of up to *max_bytes* from here on."""
        self.maxFramePayloadSize = self.maxMessagePayloadSize = max_bytes

    def abort(self) -> None:
        """Drop the connection; what is not sent yet is lost, what comes is ignored."""
        self.state = self.STATE_CLOSED
        self.transport.abortConnection()

    # -- IPushProducer: the transport's buffer

    def pauseProducing(self) -> None:
        # Called once per write while the buffer is full.
        if not self.paused:
            self.paused = True
            self.transport.pauseProducing()
            self._stall_watch.start()

    def resumeProducing(self) -> None:
        if self.paused:
            self._heard = True  # it has taken what was sent
            self._stall_watch.stop()
            self._read_on()
            if self.can_send:
                self._handler.writable()

    def stopProducing(self) -> None:
        """The connection is lost, which ``onClose`` tells."""

    # -- from Autobahn

    def connectionMade(self) -> None:
        # Autobahn's asks the transport who is there, which the gate knows better, and
        # TLS for what nobody needs.
        self._stall_watch = StallWatch(
            self.transport,
            self.factory.clock,
            self.factory.stall_seconds,
            self._stalled,
        )
        self._connectionMade()

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        # Autobahn moves all that it has not read yet for each frame that it reads; in
        # small bites a flood of empty frames costs no more than one of large ones.
        for start in range(0, len(data), BITE):
            if self.state == self.STATE_CLOSED:
                break  # nothing would be read any more, and everything kept
            self._dataReceived(data[start : start + BITE])

    def onOpen(self) -> None:
        self.transport.bufferSize = BUFFER_BYTES
        self.transport.registerProducer(self, True)
        self._opened = True
        self._pinging = self.factory.clock.callLater(PING_SECONDS, self._ping)
        self._handler.opened()

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)
        self._fragments = 0

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        self._fragments += 1
        allowed = MAX_FRAGMENTS + self.message_data_total_length // FRAGMENT_BYTES
        if self._fragments > allowed:
            self._fail_connection(1009, "a message has too many fragments")

    def onFrameData(self, payload: bytes) -> Any:
        # Of a client that has failed only the answer to our close frame is wanted;
        # Autobahn would keep a control frame of any length.
        frame = self.current_frame
        if self.failedByMe and (frame.opcode < 8 or frame.length > MAX_CONTROL_BYTES):
            return None
        return super().onFrameData(payload)

    def onMessageEnd(self) -> None:
        # Autobahn's makes a Deferred for each message, in case that somebody listens.
        pieces, self.message_data = self.message_data, []
        if self.can_send:
            self._handler.received(b"".join(pieces), self.message_is_binary)

    def _fail_connection(self, code: int = 1001, reason: str = "") -> None:
        """Send the close frame that says what the client did wrong; nothing follows it.

        Only the first fault counts; Autobahn would drop the connection at the second.
        """
        if self.state == self.STATE_OPEN:
            super()._fail_connection(code, reason)
            self._close_half()
        self.failedByMe = True

    def _closeConnection(self, abort: bool = False) -> None:
        # Autobahn aborts when the client has answered our close frame; that would lose
        # what is not sent yet: the close frame itself, if the client's was a fault.
        self._stop_timers()
        self._read_on()
        self.transport.loseConnection()
        self._stall_watch.start()  # what is left to send may never be taken

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self._opened = False
        self._stop_timers()
        self._stall_watch.close()
        handler, self._handler = self._handler, _Nobody()
        handler.closed(code, reason or "")
        # Its result are we: with it, or the handler, we would wait for the collector.
        self.is_closed.addCallback(lambda _: None)

    def sendCloseFrame(
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,
        isReply: bool = False,
    ) -> None:
        super().sendCloseFrame(code, reasonUtf8, isReply)
        if not isReply and self._closing is None:
            self._closing = self.factory.clock.callLater(CLOSE_SECONDS, self.abort)

    # -- inside

    def _close_half(self) -> None:
        """Say that nothing more is sent, and go on reading until the client closes.

        To close all at once could lose the close frame: unread bytes make a reset of it
        (RFC 6455, section 7.1.1).  TLS has no halves, but waits for the client too.
        """
        self._read_on()
        self.transport.unregisterProducer()
        if ISSLTransport.providedBy(self.transport):
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def _read_on(self) -> None:
        if self.paused:
            self.paused = False
            self.transport.resumeProducing()

    def _stop_timers(self) -> None:
        for timer in (self._closing, self._pinging):
            if timer is not None and timer.active():
                timer.cancel()

    def _stalled(self) -> None:
        """The client takes nothing: say why, in case it ever reads, and be gone."""
        if self.state == self.STATE_CLOSED:
            self.abort()
        else:
            self.close_slow()

    def _ping(self) -> None:
        clock = self.factory.clock
        self._pinging = clock.callLater(PING_SECONDS, self._expect_life)
        # A paused socket is not read, so its pong would not be seen.
        self._heard = self.paused
        if not self.paused:
            self.sendPing(b"")

    def _expect_life(self) -> None:
        if self._heard or self.paused:
            self._ping()
        else:
            self.abort()


class SocketFactory(WebSocketServerFactory):
    """Makes sockets; *max_bytes* is the limit for one incoming message.

    *stall_seconds* is how long a client may take nothing.  *slow_closes* counts the
    clients that were let go because they did not read.
    """

    protocol: Any = Socket
    log = _Quiet()
    noisy = False

    def __init__(
        self, *, clock: IReactorTime, max_bytes: int, stall_seconds: float
    ) -> None:
        super().__init__(server="", reactor=clock)
        self.clock = clock
        self.slow_closes = 0
        self.stall_seconds = stall_seconds
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            maxFramePayloadSize=max_bytes,
            maxMessagePayloadSize=max_bytes,
            failByDrop=False,
            echoCloseCodeReason=True,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            autoPingInterval=0,
            autoPingTimeout=0,
            allowNullOrigin=True,  # origins are the business of the HTTP gate
        )


def _frame_head(first: int, length: int) -> bytes:
    """Return the head of an unmasked, final frame (RFC 6455, section 5.2)."""
    if length < 126:
        return bytes((first, length))
    if length < 0x10000:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)
