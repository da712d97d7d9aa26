"""What is admitted at the listener for metrics, apart from the gateway's port."""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.http_headers import Headers

from moltbot_gw.errors import NotFound
from moltbot_gw.http.gate import (
    MAX_IGNORED_BODY_BYTES,
    NOBODY,
    Admitted,
    CorsPolicy,
    Gate,
    check_method,
    too_large,
)
from moltbot_gw.http.routes import METRICS, PROBES, Route, find_route
from moltbot_gw.http.upgrade import wants_websocket
from moltbot_gw.peers import Peer
from moltbot_gw.principals import Principal


class MetricsGate:
    """The gate of the listener for metrics: these and the probes, and no secret.

    *main* is the gate of the gateway's port, whose names count here, too.
    """

    def __init__(self, main: Gate) -> None:
        self._main = main
        self.cors = CorsPolicy(())

    def check_target(
        self, target: bytes, version: bytes, headers: Headers, peer: Callable[[], Peer]
    ) -> None:
        """See ``Gate``."""
        self._main.check_target(target, version, headers, peer)

    def route(
        self,
        method: bytes,
        target: bytes,
        version: bytes,
        headers: Headers,
        length: int | None,
    ) -> Route:
        """Return the route; raise ``NotFound`` for all that has its place elsewhere."""
        route = find_route(target.partition(b"?")[0])
        if wants_websocket(headers) or route not in (METRICS, *PROBES):
            raise NotFound("There is nothing here but /metrics, /healthz and /readyz.")
        return route

    def identify(
        self, method: bytes, route: Route, headers: Headers, peer: Callable[[], Peer]
    ) -> Principal:
        """Check the method; everybody may ask."""
        check_method(method, route)
        return NOBODY

    def admit(self, principal: Principal, route: Route, length: int | None) -> Admitted:
        """Check the length; a body is read and dropped."""
        if length is not None and length > MAX_IGNORED_BODY_BYTES:
            raise too_large(MAX_IGNORED_BODY_BYTES)
        return Admitted(principal=principal, max_body_bytes=MAX_IGNORED_BODY_BYTES)
