"""The connections to one provider, as an agent for treq.

Twisted's own agent costs more CPU than all the rest of a run (a third of a turn), takes
heads and interim answers of any size, stops and starts the socket for every answer, and
hides whether a connection was used before, which decides whether a request may be sent
again.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.web.client import URI
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from moltbot_gw.providers.connection import ProviderConnection
from moltbot_gw.providers.headers import FixedHeaders

IDLE_SECONDS = 4.0
"""Below what servers allow: we rarely write into a connection that they just closed."""

MAX_IDLE_CONNECTIONS = 64


class _QuietFactory(Factory):
    noisy = False


@implementer(IAgent)
class PooledAgent:
    """Sends requests to one address, over as many connections as are needed at once.

    ``connects`` counts the connections that were begun, so that a caller can tell a
    pooled one from a fresh one.
    """

    def __init__(
        self, endpoint: IStreamClientEndpoint, uri: URI, clock: IReactorTime
    ) -> None:
        self._endpoint = endpoint
        default_port = 443 if uri.scheme == b"https" else 80
        host = b"[%s]" % uri.host if b":" in uri.host else uri.host
        if uri.port != default_port:
            host = b"%s:%d" % (host, uri.port)
        self._opening = b" %s HTTP/1.1\r\nHost: %s\r\n" % (uri.originForm, host)
        self._clock = clock
        self._idle: dict[ProviderConnection, float] = {}
        self._sweeping: IDelayedCall | None = None
        self._closed = False
        self.connects = 0

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: Any = None,
    ) -> Deferred[IResponse]:
        """Send a request to this agent's own address, whatever *uri* is.

        Its body is the bytes themselves: they are there, and need no producer.
        """
        # treq hands on what it was given.
        assert isinstance(headers, FixedHeaders)
        assert isinstance(bodyProducer, bytes)
        body = bodyProducer
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        head = method + self._opening + headers.lines + length
        while self._idle:
            connection, since = self._idle.popitem()
            if self._clock.seconds() - since < IDLE_SECONDS:
                return connection.send(head, body)
            connection.abort()
        self.connects += 1
        connecting: Deferred[Any] = self._endpoint.connect(
            _QuietFactory.forProtocol(lambda: ProviderConnection(self))
        )
        return connecting.addCallback(lambda connection: connection.send(head, body))

    def close_idle(self) -> Deferred[None]:
        """Close the connections that nobody uses; fire when they are closed."""
        idle, self._idle = tuple(self._idle), {}
        self._stop_sweeping()
        for connection in idle:
            connection.abort()
        closing: Deferred[Any] = gatherResults([c.when_closed() for c in idle])
        return closing.addCallback(lambda _: None)

    def close(self) -> Deferred[None]:
        """Close what is idle, and keep nothing from now on."""
        self._closed = True
        return self.close_idle()

    def put_back(self, connection: ProviderConnection) -> None:
        """Keep *connection* for the next request."""
        if self._closed:
            connection.abort()
            return
        if len(self._idle) >= MAX_IDLE_CONNECTIONS:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.abort()
        self._idle[connection] = self._clock.seconds()
        if self._sweeping is None:
            self._sweeping = self._clock.callLater(IDLE_SECONDS, self._sweep)

    def forget(self, connection: ProviderConnection) -> None:
        """An idle connection was closed."""
        self._idle.pop(connection, None)
        if not self._idle:
            self._stop_sweeping()

    def _sweep(self) -> None:
        self._sweeping = None
        limit = self._clock.seconds() - IDLE_SECONDS
        for connection, since in tuple(self._idle.items()):
            if since <= limit:
                del self._idle[connection]
                connection.abort()
        if self._idle:
            oldest = next(iter(self._idle.values()))
            self._sweeping = self._clock.callLater(oldest - limit, self._sweep)

    def _stop_sweeping(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
