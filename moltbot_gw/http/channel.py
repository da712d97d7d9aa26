"""The HTTP/1.1 connection: Twisted's, with what it leaves open closed.

Twisted's own channel has no limit for bodies, resets its only time-out with every byte,
keeps none at all while a request is handled, and reads several malformed requests in
its own way.  The traps, as measured, are in docs/architecture.rst; each override here
names the one that it mends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from moltbot_gw.errors import (
    BadHTTP,
    GatewayError,
    HeadersTooLarge,
    PayloadTooLarge,
    RequestTimeout,
    RunAborted,
    TargetTooLong,
)
from moltbot_gw.http.answers import raw_error
from moltbot_gw.http.chunks import StrictChunks
from moltbot_gw.http.deadline import Deadline
from moltbot_gw.http.gate import Admitted, not_ascii, request_id_of, too_large
from moltbot_gw.http.joined import JoinedChannel
from moltbot_gw.stall import StallWatch, limit_send_buffer

if TYPE_CHECKING:
    from moltbot_gw.http.request import GatewayRequest
    from moltbot_gw.http.site import GatewaySite

MAX_PIPELINED_BYTES = 16 * 1024
"""Further requests that may wait behind one; Twisted would stop reading here, and with
that stop seeing that the client has gone."""

LINGER_SECONDS = 2.0
LINGER_BYTES = 4 * 1024 * 1024
"""How much of a refused body is read and dropped, so that the client sees the answer
and not a reset."""

MAX_LENGTH_DIGITS = 15
FRAMING_ALLOWANCE = 64 * 1024
"""Bytes of chunk framing that a body may have beyond its own size."""

_NO_HEADERS = Headers()
_CONTROL = bytes(range(0x09)) + bytes(range(0x0A, 0x20)) + b"\x7f"


class GatewayChannel(JoinedChannel):
    """One client's connection.

    At any time it is in one of these phases, each with its absolute deadline: *idle*
    between requests, *head* from a request's first byte, *body* from the end of the
    head, *handling* (no deadline; but a client that stops reading is cut after the
    stall time-out), *refused* (an error went out, the rest is dropped, then the
    connection closes), *handed over* (a WebSocket has it; we only pass on).
    """

    timeOut = None  # Twisted's idle time-out, which every byte resets
    _optimisticEagerReadSize = 2**62
    site: GatewaySite
    requests: list[GatewayRequest]

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock
        self._deadline = Deadline(clock, self._expired)
        self._is_stranger = True
        self._in_head = self._refused = self._closing = False
        self._was_asked = False
        self._lingered = 0
        self._pipelined = 0
        self._wire_bytes = 0
        self._successor: Protocol | None = None

    # -- from the socket

    def connectionMade(self) -> None:
        super().connectionMade()
        self._host = self.transport.getHost()
        self.site.opened(self)
        limit_send_buffer(self.transport)
        timeouts = self.site.policy.timeouts
        self._stall_watch = StallWatch(
            self.transport, self._clock, timeouts.stall, self._stalled
        )
        self._deadline.set(timeouts.header)

    def dataReceived(self, data: bytes) -> None:
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        if self._refused:
            self._linger(len(data))
            return
        super().dataReceived(data)
        # Inside a call of itself (an answer at once gave back what lay behind the
        # body) Twisted has only kept *data*, for the outer call to go on with.
        if self._busyReceiving or not self.line_mode or not self._buffer:
            return
        self._begin_head()
        # Every CR LF has been taken, so a LF that is left has no CR before it; Twisted
        # would wait for more.
        if b"\n" in self._buffer:
            self.refuse(BadHTTP("Header lines end with CR LF."))

    def lineReceived(self, line: bytes) -> None:
        self._begin_head()
        if b"\n" in line:
            self.refuse(BadHTTP("Header lines end with CR LF."))
        elif line[:1] in (b" ", b"\t"):
            self.refuse(BadHTTP("Header lines are not folded."))
        else:
            super().lineReceived(line)

    def getHost(self) -> Any:
        """Return our address; Twisted asks for it, and the kernel, at each request."""
        return self._host

    def lineLengthExceeded(self, line: bytes) -> None:
        if hasattr(self, "_path"):
            self.refuse(HeadersTooLarge("A header line is too long."))
        else:
            self.refuse(TargetTooLong("The request line is too long."))

    def rawDataReceived(self, data: bytes) -> None:
        if self._successor is not None:
            self._successor.dataReceived(data)  # came in one piece with the handshake
            return
        if self._refused:
            self._linger(len(data))
            return
        if self._handlingRequest:
            if not self._may_wait(data):
                return
        else:
            self._wire_bytes += len(data)
            request = self.requests[-1]
            framing = self._wire_bytes - request.body_bytes - len(data)
            if framing > FRAMING_ALLOWANCE + request.body_bytes:
                self.refuse(PayloadTooLarge("The body's chunks are too small."))
                return
        super().rawDataReceived(data)

    def _finishRequestBody(self, data: bytes) -> None:
        super()._finishRequestBody(data)
        if self._handlingRequest:
            self._may_wait(data)

    def _may_wait(self, data: bytes) -> bool:
        """Whether *data* may wait behind the request at hand; else we are gone."""
        self._pipelined += len(data)
        if self._pipelined > MAX_PIPELINED_BYTES:
            self.abort()
        return self._pipelined <= MAX_PIPELINED_BYTES

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._deadline.stop()
        self._stall_watch.close()
        self.site.lost(self)
        if self._successor is not None:
            assert reason is not None
            self._successor.connectionLost(reason)
            return
        if self._handlingRequest:
            for request in self.requests:
                request.code = RunAborted.status
                self.site.log(request)
        super().connectionLost(reason)

    # -- the head

    def _begin_head(self) -> None:
        if not self._in_head:
            self._in_head = True
            self._deadline.set(self.site.policy.timeouts.header)

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        if value.translate(None, _CONTROL) != value:
            self.refuse(BadHTTP("A header value holds control characters."))
            return False
        # A password may hold any UTF-8; elsewhere these bytes only confuse the next
        # parser (Autobahn splits lines at 0x85).
        if not value.isascii() and name.strip().lower() != b"authorization":
            self.refuse(not_ascii(name))
            return False
        return bool(super().headerReceived(line))

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and len(data) > MAX_LENGTH_DIGITS:
            if data.isdigit():
                self.refuse(PayloadTooLarge("The Content-Length is too large."))
            else:
                self.refuse(BadHTTP("The Content-Length is not a number."))
            return False
        if header == b"Transfer-Encoding":
            if data.lower() != b"chunked" or self._version != b"HTTP/1.1":
                self.refuse(BadHTTP("Only chunked transfer over HTTP/1.1 is taken."))
                return False
            if self._transferDecoder is not None:
                return bool(self._failChooseTransferDecoder())
            self.length = None
            self._transferDecoder = StrictChunks(
                self.requests[-1].handleContentChunk, self._finishRequestBody
            )
            return True
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def allHeadersReceived(self) -> None:
        self._in_head = False
        self._was_asked = True
        request = self.requests[-1]
        request.started = self._clock.seconds()
        request.request_id = request_id_of(request.requestHeaders)
        try:
            self._admit(request)
        except BadHTTP as error:
            self.refuse(error)
        except GatewayError as error:
            if self.length == 0:
                request.refusal = error
            else:
                self.refuse(error)
        if self._refused:
            # Makes our caller wait for a body, which ``rawDataReceived`` then drops.
            self.length = None
            return
        self._deadline.set(None if self.length == 0 else self.site.policy.timeouts.body)
        self._wire_bytes = 0
        super().allHeadersReceived()

    def _admit(self, request: GatewayRequest) -> None:
        headers = request.requestHeaders
        gate = self.site.policy.gate
        request.cors_origin = gate.cors.allowed_origin(headers)
        gate.check_target(self._path, self._version, headers, request.find_peer)
        request.route = gate.route(
            self._command, self._path, self._version, headers, self.length
        )
        if self._command == b"OPTIONS" and request.cors_origin is not None:
            request.is_preflight = True
            if self.length != 0:
                raise too_large(0)
            return
        who = gate.identify(self._command, request.route, headers, request.find_peer)
        request.admitted = Admitted(principal=who, max_body_bytes=0)
        request.admitted = gate.admit(who, request.route, self.length)
        self._is_stranger &= request.is_stranger

    def checkPersistence(self, request: GatewayRequest, version: bytes) -> bool:
        """Read ``Connection`` as the list that it is; Twisted splits it at blanks."""
        values = request.requestHeaders.getRawHeaders(b"Connection", ())
        tokens = {t.strip().lower() for v in values for t in v.split(b",")}
        if version != b"HTTP/1.1" or b"close" in tokens or self.site.winding_up:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return True

    def _send100Continue(self) -> None:
        """Invite a body, where there is one and it is wanted."""
        if self.length != 0:
            super()._send100Continue()

    def allContentReceived(self) -> None:
        if self._refused:
            return  # the piece that was one too many brought the body's end with it
        self._deadline.set(None)
        super().allContentReceived()

    # -- the answer

    def requestDone(self, request: GatewayRequest) -> None:
        self.release()
        self._pipelined = 0
        if not self.persistent:
            # Nothing but unsent bytes keeps the connection from closing.
            self._stall_watch.start()
        elif not self._waitingForTransport:
            self._deadline.set(self.site.policy.timeouts.idle_of(self._is_stranger))
        super().requestDone(request)

    def pauseProducing(self) -> None:
        """The client does not read: it has until the stall time-out to go on."""
        self._stall_watch.start()
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._stall_watch.stop()
        if not self.requests and not self._refused and not self._in_head:
            # The answer was finished while its end still lay here (twisted#12498).
            self._deadline.set(self.site.policy.timeouts.idle_of(self._is_stranger))
        super().resumeProducing()

    def refuse(self, error: GatewayError) -> None:
        """Answer *error* now, keep nothing more, close once the client has seen it."""
        if self._refused:
            return
        self._refused = True
        request = self.requests[-1] if self.requests else None
        request_id = request.request_id if request is not None else b""
        request_id = request_id or request_id_of(
            request.requestHeaders if request is not None else _NO_HEADERS
        )
        origin = request.cors_origin if request is not None else None
        method = getattr(self, "_command", b"-")
        self.transport.write(raw_error(error, request_id, origin, method))
        self.site.log_refusal(request, method, error, request_id)
        self.setRawMode()
        self._deadline.set(LINGER_SECONDS)
        if self.isSecure():
            self.loseConnection()
        else:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def hand_over(self, successor: Protocol) -> None:
        """Give the connection to *successor*, for good; here it is only passed on.

        Rejected: making *successor* the transport's protocol, which needs to know how
        each kind of transport is wrapped, and loses the site's count of connections.
        """
        request = self.requests.pop()
        request.code = 101
        self.site.log(request)
        self._deadline.set(None)
        # Twisted's channel would go on to be told of full buffers.
        self.transport.unregisterProducer()
        self._successor = successor
        successor.makeConnection(self.transport)

    def wind_up(self) -> None:
        """Take no further request: close if idle, else after the answer at hand.

        A connection that has carried nothing yet stays: a request may be on its way.
        """
        if self.requests:
            self.persistent = False
            if not self.requests[0].startedWriting:
                headers = self.requests[0].responseHeaders
                headers.setRawHeaders(b"Connection", [b"close"])
        elif self._is_idle:
            self.loseConnection()

    def leave(self, error: GatewayError) -> None:
        """Close once all is sent; who is asking, or about to, is told *error*."""
        if self._is_idle or self._handlingRequest or self._successor is not None:
            self.loseConnection()
        else:
            self.refuse(error)

    @property
    def _is_idle(self) -> bool:
        busy = self.requests or self._in_head or self._refused
        return self._was_asked and not busy and self._successor is None

    def _stalled(self) -> None:
        self.site.stalled += 1
        self.transport.abortConnection()

    def abort(self) -> None:
        """Close at once; what was written and not yet sent is lost."""
        self._stall_watch.stop()
        self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Where Twisted answers a bare 400 without a length."""
        if self._receivedHeaderSize > self.totalHeadersSize or (
            self._receivedHeaderCount > self.maxHeaders
        ):
            self.refuse(HeadersTooLarge("The header section is too large."))
        else:
            self.refuse(BadHTTP("This is not a well-formed HTTP/1.1 request."))

    # -- deadlines

    def _linger(self, size: int) -> None:
        self._lingered += size
        if self._lingered > LINGER_BYTES:
            self.abort()

    def _expired(self) -> None:
        if self._refused or self._closing:
            self.abort()
        elif not self.requests and not self._in_head:
            # The kernel may still have the end of an answer for a slow reader, which
            # an abort would throw away.
            self._closing = True
            self._deadline.set(LINGER_SECONDS)
            self.loseConnection()
        elif self._in_head:
            self.refuse(RequestTimeout("The request's head did not come in time."))
        else:
            self.refuse(RequestTimeout("The request's body did not come in time."))
