"""Figures on the two edges: requests, connections, streams, clients, wrong secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from prometheus_client import Metric

from moltbot_gw.auth import AuthLimiter
from moltbot_gw.monitoring.families import counter, counters, gauge
from moltbot_gw.tallies import Counts


class Stream(Protocol):
    """An answer that goes on; see ``http.site.Stream``."""

    paused: bool

    @property
    def unread(self) -> int:
        """How many characters wait for the client."""


class HttpSite(Protocol):
    """What is read of the HTTP edge; see ``http.site.GatewaySite``."""

    answers: Counts
    stalled: int
    crowded_out: int

    @property
    def connections(self) -> int:
        """How many are open."""

    @property
    def streams(self) -> Collection[Stream]:
        """Those that are open."""


class WebSockets(Protocol):
    """What is read of the WebSocket edge."""

    @property
    def clients(self) -> int:
        """How many are ready."""

    @property
    def slow_closes(self) -> int:
        """How many were let go because they did not read."""


class EdgeFigures:
    """Reads what *http*, *websockets* and *limiter* have counted."""

    def __init__(
        self, *, http: HttpSite, websockets: WebSockets, limiter: AuthLimiter
    ) -> None:
        self._http = http
        self._websockets = websockets
        self._limiter = limiter

    def collect(self) -> Iterator[Metric]:
        """Return how it is now."""
        yield from self._requests()
        yield from self._streams()
        yield gauge(
            "websocket_clients", "Clients that are ready.", self._websockets.clients
        )
        yield counter(
            "websocket_slow_closes",
            "WebSockets closed because their client did not read.",
            self._websockets.slow_closes,
        )
        yield counter(
            "auth_failures", "Wrong secrets, on both edges.", self._limiter.failures
        )
        yield counter(
            "auth_refusals",
            "Secrets not looked at, after too many wrong ones from their address.",
            self._limiter.refusals,
        )

    def _requests(self) -> Iterator[Metric]:
        http = self._http
        yield counters(
            "http_requests", "Requests answered; route - is no route.", http.answers
        )
        yield gauge("http_connections", "Open, WebSockets too.", http.connections)
        yield counter(
            "http_connections_refused",
            "Those that were one too many.",
            http.crowded_out,
        )
        yield counter(
            "http_stall_closes",
            "Connections cut because their client took nothing.",
            http.stalled,
        )

    def _streams(self) -> Iterator[Metric]:
        streams = self._http.streams
        stalled = [stream for stream in streams if stream.paused]
        yield gauge("streams_open", "Event streams that go on.", len(streams))
        yield gauge(
            "streams_stalled", "Those whose client takes nothing now.", len(stalled)
        )
        yield gauge(
            "streams_held_back_characters",
            "Text that waits in runs for those (bytes, where it is ASCII).",
            sum(stream.unread for stream in stalled),
        )
