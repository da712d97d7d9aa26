"""One provider's HTTP client: treq over our own pooled agent, with one endpoint.

Building an endpoint for each request costs more than the request (host name encoding,
adapters); a provider has a single address, so its endpoint is made once.  The pool is
the provider's own, because a pooled connection was verified by the provider's own TLS
settings and must serve no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.abstract import isIPAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IPushProducer,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    BrowserLikePolicyForHTTPS,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)
from zope.interface import implementer

from moltbot_gw.providers.headers import FixedHeaders
from moltbot_gw.providers.pool import PooledAgent


class CompressedAnswer(Exception):
    """The provider compressed its answer, though we ask for it plain."""


class _FixedURL(EncodedURL):
    """A URL that is encoded already.

    treq encodes a URL, host name and all, for each request, which costs as much as
    writing the request does and fails for IPv6 addresses.  It is given this stand-in;
    the agent below knows the one address that there is.
    """

    def to_uri(self) -> EncodedURL:
        return self

    def to_text(self, with_password: bool = False) -> str:
        return "http://stand-in/"


_STAND_IN = _FixedURL("http", "stand-in")


class _NoCookies(IndexableCookieJar):
    """Keeps and sends no cookies, and spends no time on it."""

    def add_cookie_header(self, request: Any) -> None:
        """Send none."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep none."""

    def __iter__(self) -> Iterator[Any]:
        """Show none."""
        return iter(())


@implementer(IAgent)
class _PlainAgent:
    """Takes no compressed answer.

    treq inflates without a bound; it sits above this agent, so what it would inflate
    never reaches it.
    """

    def __init__(self, agent: PooledAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        waiting = self._agent.request(method, uri, headers, bodyProducer)
        return waiting.addCallback(self._check)

    @staticmethod
    def _check(response: IResponse) -> IResponse:
        for encoding in response.headers.getRawHeaders(b"Content-Encoding", ()):
            if encoding.strip().lower() not in (b"", b"identity"):
                discard(response)
                raise CompressedAnswer(repr(encoding[:20]))
        return response


class ProviderClient:
    """Sends requests to one provider."""

    def __init__(
        self,
        reactor: Any,
        base_url: bytes,
        *,
        connect_timeout: float,
        tls_policy: IPolicyForHTTPS | None = None,
    ) -> None:
        """*base_url* is where all requests go; *connect_timeout* is in seconds."""
        self._reactor = reactor
        uri = URI.fromBytes(base_url)
        endpoint = _endpoint(reactor, uri, connect_timeout, tls_policy)
        self._agent = PooledAgent(endpoint, uri, reactor)
        # Given with each request too: treq would make another jar for it.
        self._no_cookies = _NoCookies()
        self._treq = HTTPClient(
            _PlainAgent(self._agent), self._no_cookies, lambda body: body
        )

    def post(self, headers: FixedHeaders, body: bytes) -> Deferred[IResponse]:
        """Send *body*; fire with the answer when its head is there, body undelivered.

        A pooled connection may die just as it is used; then, and only when no byte of
        an answer came, the request is sent once more over a new one.
        """
        connects = self._agent.connects
        waiting = self._post(headers, body)
        if connects == self._agent.connects:
            waiting.addErrback(self._post_again, headers, body)
        return waiting

    def close(self) -> Deferred[None]:
        """Close the idle connections, and each other one after its answer."""
        return self._agent.close()

    def _post_again(
        self, failure: Failure, headers: FixedHeaders, body: bytes
    ) -> Deferred[IResponse]:
        failure.trap(ResponseNeverReceived)
        return self._agent.close_idle().addCallback(lambda _: self._post(headers, body))

    def _post(self, headers: FixedHeaders, body: bytes) -> Deferred[Any]:
        return self._treq.request(
            "POST",
            _STAND_IN,
            headers=headers,
            data=body,
            cookies=self._no_cookies,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )


def _endpoint(
    reactor: Any, uri: URI, timeout: float, policy: IPolicyForHTTPS | None
) -> IStreamClientEndpoint:
    host = uri.host.decode("ascii")
    endpoint: IStreamClientEndpoint
    if isIPAddress(host):
        # HostnameEndpoint would ask a thread for the address of this address.
        endpoint = TCP4ClientEndpoint(reactor, host, uri.port, timeout)
    else:
        endpoint = HostnameEndpoint(reactor, host, uri.port, timeout)
    if uri.scheme != b"https":
        return endpoint
    tls = (policy or BrowserLikePolicyForHTTPS()).creatorForNetloc(uri.host, uri.port)
    return wrapClientTLS(tls, endpoint)


def was_cancelled(error: Exception) -> bool:
    """Whether *error* of ``post`` only says that its Deferred was cancelled."""
    return isinstance(error, (CancelledError, ConnectingCancelledError))


class _Discard(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        IPushProducer(self.transport).stopProducing()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Nobody waits."""


def discard(response: IResponse) -> None:
    """Close the connection of *response* without reading its body, if it has one."""
    response.deliverBody(_Discard())
