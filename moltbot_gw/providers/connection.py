"""One HTTP/1.1 connection to a provider, made for streams.

It sends a request whole, has a bound for the head of the answer, and hands the body to
its protocol as it comes, so that a pause reaches the socket at once.  It does what
providers of models need and no more: no pipelining, no upgrade, no proxy.  The bodies
are decoded by Twisted.

Source: RFC 9112, sections 4 (status line), 6 (message body), 9 (connections).
"""

from __future__ import annotations

import re
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IPushProducer,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import (
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from moltbot_gw.providers.framing import BadAnswer, Framing, framing_of

MAX_JOINED_BYTES = 64 * 1024
"""A larger body is written behind its head; it is not worth copying."""

MAX_HEAD_BYTES = 64 * 1024
"""Status line and headers, interim answers (1xx) included."""

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\r\n]*))?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Keeper(TypingProtocol):
    """Who keeps connections between requests."""

    def put_back(self, connection: ProviderConnection) -> None:
        """Keep *connection* for the next request."""

    def forget(self, connection: ProviderConnection) -> None:
        """A connection that was kept is closed."""


@implementer(IResponse)
class Answer:
    """An answer whose head is there.  Its body waits until ``deliverBody``."""

    version = (b"HTTP", 1, 1)
    request = None
    previousResponse: IResponse | None = None

    def __init__(
        self,
        connection: ProviderConnection,
        code: int,
        phrase: bytes,
        headers: Headers,
        length: int | Any,
    ) -> None:
        self._connection = connection
        self.code = code
        self.phrase = phrase
        self.headers = headers
        self.length = length

    def deliverBody(self, protocol: IProtocol) -> None:
        """Give the body to *protocol*; what has come already before this returns."""
        self._connection.deliver(protocol)

    def setPreviousResponse(self, response: IResponse) -> None:
        """Redirects are not followed, so there is never one."""
        self.previousResponse = response


@implementer(IPushProducer)
class _BodyTransport:
    """What a body's protocol sees of the connection, as long as it is its own."""

    disconnecting = False

    def __init__(self, connection: ProviderConnection) -> None:
        self._connection: ProviderConnection | None = connection

    def pauseProducing(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def resumeProducing(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def stopProducing(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    loseConnection = stopProducing

    def detach(self) -> None:
        """The body is over; the connection has other business."""
        self._connection = None


class ProviderConnection(Protocol):
    """One connection.

    *idle* in the agent's pool, then *head* from a request until the end of its answer's
    head, *body* until the end of its body, and *idle* again or *closing*, when all that
    still comes is ignored; *closed* when it is lost, in whatever state.
    """

    transport: Any  # TCP or TLS

    def __init__(self, pool: Keeper) -> None:
        self._pool = pool
        self._state = "idle"
        self._buffer = b""
        self._head_bytes = 0
        self._answer: Deferred[IResponse] | None = None
        self._answering = False
        self._body: IProtocol | None = None
        self._body_transport: _BodyTransport | None = None
        self._framing = Framing(0, chunked=False)
        self._lost: Failure | None = None
        self._paused = False
        self._reusable = False
        self._closed: list[Deferred[None]] = []

    # -- for the agent

    def send(self, head: bytes, body: bytes) -> Deferred[IResponse]:
        """Send a request; fire with the answer once its head is there.

        Errbacks with ``ResponseNeverReceived`` if the connection ends before the first
        byte, with ``ResponseFailed`` if it ends inside the head or that is malformed.
        Cancelling closes the connection.
        """
        self._state = "head"
        self._head_bytes = 0
        answer: Deferred[IResponse] = Deferred(lambda _: self._give_up())
        self._answer = answer
        if len(body) <= MAX_JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        return answer

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._lost is None:
            self._reusable = False
            self.transport.abortConnection()

    def when_closed(self) -> Deferred[None]:
        """Fire once the connection is lost."""
        closed: Deferred[None] = Deferred()
        if self._lost is not None:
            closed.callback(None)
        else:
            self._closed.append(closed)
        return closed

    # -- from the socket

    def connectionMade(self) -> None:
        no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)

    def dataReceived(self, data: bytes) -> None:
        if self._state == "head":
            self._head_bytes += len(data)
            self._take_head(self._buffer + data)
        elif self._state == "body" and self._body is not None:
            self._decode(data)
        elif self._state == "body":
            self._buffer += data
        elif self._state == "idle":
            # Nothing was asked: no later answer on this connection can be trusted.
            self._pool.forget(self)
            self.abort()

    def connectionLost(self, reason: Failure | None = None) -> None:
        assert reason is not None
        state, self._state = self._state, "closed"
        self._lost = reason
        if state == "idle":
            self._pool.forget(self)
        elif state == "head":
            answer, self._answer = self._answer, None
            assert answer is not None
            if self._head_bytes:
                answer.errback(ResponseFailed([reason]))
            else:
                answer.errback(ResponseNeverReceived([reason]))
        elif self._body is not None:
            self._end_lost_body(reason)
        while self._closed:
            self._closed.pop().callback(None)

    # -- the head

    def _take_head(self, data: bytes) -> None:
        try:
            while True:
                end = data.find(b"\r\n\r\n")
                before = self._head_bytes - len(data)
                if before + (len(data) if end < 0 else end) > MAX_HEAD_BYTES:
                    raise BadAnswer("the head is too long")
                if end < 0:
                    self._buffer = data
                    return
                answer, rest = self._parse_head(data[:end]), data[end + 4 :]
                if answer is not None:
                    break
                data = rest  # that was an interim answer (1xx)
        except BadAnswer as error:
            self._fail_head(error)
            return
        self._state = "body"
        self._buffer = rest
        waiting, self._answer = self._answer, None
        assert waiting is not None
        self._answering = True
        waiting.callback(answer)
        self._answering = False
        if self._state == "body" and self._body is not None:
            self._deliver_buffered()
        elif self._state == "body":
            self.pause()

    def _parse_head(self, head: bytes) -> Answer | None:
        """Return the answer, or None for an interim one; raise ``BadAnswer``."""
        status, *lines = head.split(b"\r\n")
        match = _STATUS.fullmatch(status)
        if match is None:
            raise BadAnswer("the status line is malformed")
        code = int(match[2])
        if code < 200:
            if code == 101:
                raise BadAnswer("the protocol was switched unasked")
            return None
        headers = Headers()
        for line in lines:
            name, colon, value = line.partition(b":")
            value = value.strip(b" \t")
            if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
                raise BadAnswer("a header line is malformed")
            headers.addRawHeader(name, value)
        framing = self._framing = framing_of(code, headers)
        tokens = b",".join(headers.getRawHeaders(b"Connection", ())).lower()
        self._reusable = (
            match[1] == b"1"
            and b"close" not in tokens
            and code < 400  # an error may come before our request was sent whole
            and not framing.ends_by_closing
        )
        length = UNKNOWN_LENGTH if framing.length is None else framing.length
        return Answer(self, code, match[3] or b"", headers, length)

    def _fail_head(self, error: Exception) -> None:
        waiting, self._answer = self._answer, None
        self._state = "closing"
        self.transport.abortConnection()
        assert waiting is not None
        waiting.errback(ResponseFailed([Failure(error)]))

    def _give_up(self) -> None:
        """Cancel: the Deferred errbacks by itself."""
        self._state = "closing"
        self._answer = None
        self.transport.abortConnection()

    # -- the body

    def deliver(self, protocol: IProtocol) -> None:
        """Give the body of the answer to *protocol*, from its start.

        While the answer itself is being told, a body waits until that is over: who
        awaits the answer must not be cancelled by its body from inside its own call.
        """
        assert self._body is None, "a body is delivered once"
        self._body = protocol
        transport = self._body_transport = _BodyTransport(self)
        is_empty = self._framing.rest is not None
        if is_empty:
            transport.detach()  # there is no body to stop
        protocol.makeConnection(transport)  # type: ignore[arg-type]
        if not self._answering or is_empty:
            self.resume()
            self._deliver_buffered()

    def pause(self) -> None:
        """Stop reading; idempotent."""
        if not self._paused and self._lost is None:
            self._paused = True
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on; idempotent."""
        if self._paused and self._lost is None:
            self._paused = False
            self.transport.resumeProducing()

    def _deliver_buffered(self) -> None:
        data, self._buffer = self._buffer, b""
        if self._framing.rest is not None:  # there is no body
            self._body_done(data)
        elif data:
            self._decode(data)
        if self._lost is not None and self._body is not None:
            self._end_lost_body(self._lost)

    def _decode(self, data: bytes) -> None:
        framing = self._framing
        piece = framing.feed(data)
        if piece and self._body is not None:
            self._body.dataReceived(piece)
        if framing.error is not None:
            self._state = "closing"
            self.transport.abortConnection()
            self._end_body(Failure(ResponseFailed([Failure(framing.error)])))
        elif framing.rest is not None:
            self._body_done(framing.rest)

    def _body_done(self, rest: bytes) -> None:
        """The body is whole; *rest* came behind it, and should not be there."""
        self.resume()
        if self._reusable and not rest and self._lost is None:
            self._state = "idle"
            self._pool.put_back(self)
        else:
            # Not loseConnection: over TLS it would wait for the other side, for ever.
            self._state = "closing"
            self.abort()
        self._end_body(Failure(ResponseDone("the body is whole")))

    def _end_lost_body(self, reason: Failure) -> None:
        if self._framing.ends_by_closing:
            self._end_body(Failure(PotentialDataLoss()))
        else:
            self._end_body(Failure(ResponseFailed([reason])))

    def _end_body(self, reason: Failure) -> None:
        body, self._body = self._body, None
        if self._body_transport is not None:
            self._body_transport.detach()
        if body is not None:
            body.connectionLost(reason)
