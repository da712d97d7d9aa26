"""One HTTP request: its body in memory and bounded, no redirects, no server version."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from time import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString

from moltbot_gw.agents.report import RunReport
from moltbot_gw.errors import GatewayError
from moltbot_gw.http.answers import cors_headers, prepare_error
from moltbot_gw.http.gate import (
    NOBODY,
    STRANGER,
    Admitted,
    preflight_headers,
    too_large,
)
from moltbot_gw.http.routes import Route
from moltbot_gw.peers import Peer, find_peer, plain_address
from moltbot_gw.principals import Principal

if TYPE_CHECKING:
    from moltbot_gw.http.channel import GatewayChannel


@lru_cache(2)  # most requests come in the second of the last one
def _date_of(second: int) -> bytes:
    date: bytes = datetimeToString(second)
    return date


class GatewayRequest(server.Request):
    """A request that the gate has looked at.

    *request_id* and *route* are set before ``process``; *refusal* when the gate refused
    a request without a body, whose connection can be used again; *admitted* when it
    has let the request in; *run_id* and *run_report* by a handler that has a run, for
    the access log.  *handling* is cancelled when the client goes.
    """

    defaultContentType = None
    channel: GatewayChannel
    request_id: bytes = b""
    route: Route | None = None
    refusal: GatewayError | None = None
    cors_origin: bytes | None = None
    is_preflight: bool = False
    admitted: Admitted = STRANGER
    run_id: str | None = None
    run_report: Callable[[], RunReport] | None = None
    handling: Deferred[Any] | None = None
    started = 0.0
    content: BytesIO
    _body_bytes = 0

    def find_peer(self) -> Peer:
        """Return who sent this request."""
        host = getattr(self.channel.transport.getPeer(), "host", None)
        policy = self.channel.site.policy
        return find_peer(
            host, self.requestHeaders, policy.trusted_proxies, policy.user_header
        )

    @property
    def is_proxied(self) -> bool:
        """Whether one of the trusted proxies has brought this request."""
        host = getattr(self.channel.transport.getPeer(), "host", "")
        return plain_address(host) in self.channel.site.policy.trusted_proxies

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, never in a file; the gate has set its limit."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, unless it is one too many or has no use."""
        self._body_bytes += len(data)
        limit = self.admitted.max_body_bytes
        if self._body_bytes > limit:
            self.channel.refuse(too_large(limit))
        elif self.route is not None and self.route.takes_body:
            self.content.write(data)

    @property
    def principal(self) -> Principal:
        """Who asks; somebody who may nothing before the gate has let him in."""
        return self.admitted.principal

    @property
    def is_stranger(self) -> bool:
        """Whether nobody has proved who he is."""
        return self.principal is NOBODY

    @property
    def body_bytes(self) -> int:
        """How much of the body has come, without its framing."""
        return self._body_bytes

    @property
    def is_gone(self) -> bool:
        """Whether nobody can be answered any more."""
        return bool(self._disconnected or self.finished)

    def connectionLost(self, reason: Failure) -> None:
        """Let the handler go with its client."""
        super().connectionLost(reason)
        if self.handling is not None:
            self.handling.cancel()

    def take_body(self) -> bytes:
        """Return the body and forget it: a stream may last for hours."""
        body = bytes(self.content.getvalue())
        self.content.close()
        self.content = BytesIO()
        return body

    def answer(self, body: bytes) -> None:
        """Write the whole answer; its headers have been set."""
        self.channel.hold()
        self.write(body)
        self.finish()

    def process(self) -> None:
        """Answer the refusal, or let Klein find the handler by the canonical path."""
        self.site = self.channel.site
        headers = self.responseHeaders
        headers.setRawHeaders(b"Date", [_date_of(int(time()))])
        headers.setRawHeaders(b"X-Request-Id", [self.request_id])
        if self.cors_origin is not None:
            for name, value in cors_headers(self.cors_origin):
                headers.setRawHeaders(name, [value])
        for label, left in self.admitted.headers:
            headers.setRawHeaders(label, [left])
        if self.refusal is not None:
            self.answer(prepare_error(self, self.refusal))
        elif self.is_preflight:
            self._answer_preflight()
        else:
            assert self.route is not None
            self.prepath: list[bytes] = []
            self.postpath = list(self.route.segments)
            try:
                self.render(self.site.resource)
            except Exception:
                self.processingFailed(Failure())

    def end_broken(self) -> None:
        """Let the answer end, once sent, so that the client sees that it is not whole.

        An abort would lose the last words; the end of a chunked body would lie.
        """
        self.chunked = 0
        self.channel.persistent = 0

    def getRequestHostname(self) -> bytes:
        """Return a name for Klein, which fails on a Host that IDNA does not allow."""
        return b"gateway"

    def unregisterProducer(self) -> None:
        """Forget the producer; Twisted cannot once the connection is lost."""
        if self._disconnected:
            self.producer = None
        else:
            super().unregisterProducer()

    def processingFailed(self, reason: Any) -> Any:
        """Never show Twisted's HTML page; failures of handlers do not come here."""
        self._log.failure("request {id} failed", failure=reason, id=self.request_id)
        self.channel.abort()
        return reason

    def _answer_preflight(self) -> None:
        assert self.route is not None
        assert self.cors_origin is not None
        self.setResponseCode(204)
        for name, value in preflight_headers(
            self.route, self.cors_origin, self.requestHeaders
        ):
            self.responseHeaders.setRawHeaders(name, [value])
        self.finish()
