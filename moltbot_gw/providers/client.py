"""One provider's HTTP client: treq over a pooled Agent that makes its endpoint once.

Building an endpoint for each request costs more than the request (host name encoding,
adapters); a provider has a single address, so its endpoint is made once.  The pool is
the provider's own, because a pooled connection was verified by the provider's own TLS
settings and must serve no other.
"""

from __future__ import annotations

from typing import Any

from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IConsumer,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)
from zope.interface import implementer

IDLE_CONNECTION_SECONDS = 4.0
"""Below what servers allow: we rarely write into a connection that they just closed."""

MAX_IDLE_CONNECTIONS = 64


@implementer(IStreamClientEndpoint)
class _CountingEndpoint:
    """Counts its connections, to tell a pooled one from a fresh one."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self.connects = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        self.connects += 1
        return self._endpoint.connect(protocolFactory)


@implementer(IAgentEndpointFactory)
class _OneEndpoint:
    """Gives the same endpoint for the one address that there is."""

    def __init__(self, endpoint: _CountingEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> _CountingEndpoint:
        return self._endpoint


@implementer(IBodyProducer)
class BytesProducer:
    """A request body that is in memory; ``FileBodyProducer`` needs a cooperator."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All has been written already."""

    def resumeProducing(self) -> None:
        """All has been written already."""

    def stopProducing(self) -> None:
        """All has been written already."""


class CompressedAnswer(Exception):
    """The provider compressed its answer, though we ask for it plain."""


class _FixedURL(EncodedURL):
    """A URL that is encoded already.

    treq encodes a URL, host name and all, for each request, which costs as much as
    writing the request does and fails for IPv6 addresses.  It is given this stand-in;
    ``_PlainAgent`` puts the real address in.
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


@implementer(IAgent)
class _PlainAgent:
    """Asks one address for uncompressed answers and takes no other.

    treq asks for gzip and inflates without a bound; it sits above this agent, so what
    it asks for is overruled here and what it would inflate never reaches it.
    """

    def __init__(self, agent: IAgent, uri: bytes) -> None:
        self._agent = agent
        self._uri = uri

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        assert headers is not None, "treq has made a copy for us to change"
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        waiting = self._agent.request(method, self._uri, headers, bodyProducer)
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
        self._pool = HTTPConnectionPool(reactor)
        # An int by inference only; callLater takes any number.
        self._pool.cachedConnectionTimeout = IDLE_CONNECTION_SECONDS  # type: ignore[assignment]
        self._pool.maxPersistentPerHost = MAX_IDLE_CONNECTIONS
        self._pool.retryAutomatically = False
        self._endpoint = _CountingEndpoint(
            _endpoint(reactor, base_url, connect_timeout, tls_policy)
        )
        self._agent = Agent.usingEndpointFactory(
            reactor, _OneEndpoint(self._endpoint), self._pool
        )
        self._cookies = _NoCookies()

    async def post(self, url: str, headers: Headers, body: bytes) -> IResponse:
        """Send *body*; return the answer when its head is there, body undelivered.

        A pooled connection may die just as it is used; then, and only when no byte of
        an answer came, the request is sent once more over a new one.
        """
        connects = self._endpoint.connects
        waiting = self._post(url, headers, body)
        reused = connects == self._endpoint.connects
        try:
            response: IResponse = await waiting
            return response
        except (RequestTransmissionFailed, ResponseNeverReceived) as error:
            if not reused or was_cancelled(error):
                raise
        await self._pool.closeCachedConnections()
        again: IResponse = await self._post(url, headers, body)
        return again

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    def _post(self, url: str, headers: Headers, body: bytes) -> Deferred[Any]:
        agent = _PlainAgent(self._agent, url.encode("ascii"))
        treq = HTTPClient(agent, self._cookies, lambda body: body)
        return treq.request(
            "POST",
            _STAND_IN,
            headers=headers,
            data=BytesProducer(body),
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )


def _endpoint(
    reactor: Any, url: bytes, timeout: float, policy: IPolicyForHTTPS | None
) -> IStreamClientEndpoint:
    uri = URI.fromBytes(url)
    endpoint = HostnameEndpoint(reactor, uri.host.decode("ascii"), uri.port, timeout)
    if uri.scheme != b"https":
        return endpoint
    tls = (policy or BrowserLikePolicyForHTTPS()).creatorForNetloc(uri.host, uri.port)
    return wrapClientTLS(tls, endpoint)


def was_cancelled(error: Exception) -> bool:
    """Whether *error* of ``post`` only says that its Deferred was cancelled."""
    if isinstance(error, (CancelledError, ConnectingCancelledError)):
        return True
    reasons = getattr(error, "reasons", ())
    return any(reason.check(CancelledError) for reason in reasons)


class _Discard(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        IPushProducer(self.transport).stopProducing()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Nobody waits."""


def discard(response: IResponse) -> None:
    """Close the connection of *response* without reading its body."""
    if response.length == 0:
        return
    response.deliverBody(_Discard())
