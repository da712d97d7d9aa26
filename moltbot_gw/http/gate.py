"""The gate: what is decided when the head of a request is complete.

Nothing of a body is read, let alone kept, for a request that has no route, no right or
no room; and what HTTP/1.1 leaves open to two readings is refused here.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from twisted.web.http_headers import Headers

from moltbot_gw.auth import AuthLimiter, SharedSecret, bearer_of
from moltbot_gw.errors import (
    BadHTTP,
    EndpointDisabled,
    ExpectationFailed,
    Forbidden,
    HostNotAllowed,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    TooManyFailures,
    Unauthorized,
)
from moltbot_gw.http.hosts import HostPolicy
from moltbot_gw.http.routes import (
    METRICS,
    OPENAPI,
    PROBES,
    WEBSOCKET,
    Route,
    find_route,
)
from moltbot_gw.http.upgrade import check_upgrade, wants_websocket
from moltbot_gw.keyring import KeyRing
from moltbot_gw.metering import Headers as MeterHeaders
from moltbot_gw.metering import Meters
from moltbot_gw.peers import UNIX, Peer
from moltbot_gw.principals import OWNER, READ, Principal

ENABLE_KEY = "gateway.http.endpoints.chatCompletions.enabled"
METRICS_KEY = "gateway.metrics.enabled"
OPENAPI_KEY = "gateway.http.endpoints.openapi.enabled"

MAX_IGNORED_BODY_BYTES = 64 * 1024
"""A body where none belongs (GET) is read this far and dropped."""

# RFC 3986, section 3.2.2, without user information.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# Random enough to tell processes apart, counted inside one: no system call a request.
_PROCESS = secrets.token_hex(8).encode("ascii")
_COUNTER = itertools.count(1)
_HEADER_NAME = re.compile(r"[a-z0-9-]{1,64}")
_HEADER_LIST = re.compile(rb"[A-Za-z0-9_, -]{1,2048}")


class CorsPolicy:
    """Which origins of web pages may read our answers; none unless configured."""

    def __init__(self, allowed_origins: Sequence[str]) -> None:
        self._allowed = frozenset(o.rstrip("/").encode() for o in allowed_origins)

    def allowed_origin(self, headers: Headers) -> bytes | None:
        """Return the request's origin if it is on the list."""
        if not self._allowed:
            return None
        origins = headers.getRawHeaders(b"Origin", ())
        if len(origins) == 1 and origins[0] in self._allowed:
            return origins[0]
        return None


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may go on: who asks, and how large its body may be.

    *headers* tell what is left of the limits of who asks, and belong to the answer.
    """

    principal: Principal
    max_body_bytes: int
    headers: MeterHeaders = ()


NOBODY = Principal(name="-", scopes=frozenset(), agents=())
STRANGER = Admitted(principal=NOBODY, max_body_bytes=0)
"""Of a request that has proved nothing, or not yet."""


class Gatekeeper(Protocol):
    """What a connection asks about each request; the errors are those of ``Gate``."""

    cors: CorsPolicy

    def check_target(
        self, target: bytes, version: bytes, headers: Headers, peer: Callable[[], Peer]
    ) -> None:
        """Raise for a request that is in doubt, or not meant for us."""

    def route(
        self,
        method: bytes,
        target: bytes,
        version: bytes,
        headers: Headers,
        length: int | None,
    ) -> Route:
        """Return the route, or raise."""

    def identify(
        self, method: bytes, route: Route, headers: Headers, peer: Callable[[], Peer]
    ) -> Principal:
        """Return who asks, or raise."""

    def admit(self, principal: Principal, route: Route, length: int | None) -> Admitted:
        """Return what he may do, or raise."""


class Gate:
    """Admits requests, or says why not.

    Whoever brings the secret is the owner; named keys are looked for in *keys*, and
    their requests are counted by *meters*.

    *enabled* says whether completions, models and runs are served, *metrics* whether
    ``/metrics`` is, *openapi* whether ``/openapi.json`` is.  Everything needs the
    secret but the probes.
    """

    def __init__(
        self,
        *,
        secret: SharedSecret,
        keys: KeyRing,
        meters: Meters,
        limiter: AuthLimiter,
        hosts: HostPolicy,
        enabled: bool,
        max_body_bytes: int,
        cors: CorsPolicy,
        metrics: bool = False,
        openapi: bool = False,
    ) -> None:
        self._secret = secret
        self._keys = keys
        self._meters = meters
        self._limiter = limiter
        self._hosts = hosts
        self._enabled = enabled
        self._switches = {
            METRICS: (metrics, METRICS_KEY),
            OPENAPI: (openapi, OPENAPI_KEY),
        }
        self._max_body_bytes = max_body_bytes
        self.cors = cors

    def check_target(
        self, target: bytes, version: bytes, headers: Headers, peer: Callable[[], Peer]
    ) -> None:
        """Raise for a request that HTTP leaves in doubt, or that is not meant for us.

        ``BadHTTP``, ``ExpectationFailed`` or ``HostNotAllowed``; *peer* tells who asks.
        """
        hosts = headers.getRawHeaders(b"Host", ())
        if len(hosts) > 1 or (version == b"HTTP/1.1" and len(hosts) != 1):
            raise BadHTTP("Send exactly one Host header.")
        if hosts and not _HOST.fullmatch(hosts[0]):
            raise BadHTTP("The Host header holds no host.")
        if hosts and not self._hosts.allows(hosts[0]) and peer().address != UNIX:
            raise HostNotAllowed(
                "This gateway does not answer to the name in Host; use its IP address,"
                " or list the name in gateway.allowedHosts."
            )
        if not target.startswith(b"/"):
            raise BadHTTP("Send the path alone as the request target.")
        for expectation in headers.getRawHeaders(b"Expect", ()):
            if expectation.lower() != b"100-continue":
                raise ExpectationFailed("Only Expect: 100-continue is understood.")

    def route(
        self,
        method: bytes,
        target: bytes,
        version: bytes,
        headers: Headers,
        length: int | None,
    ) -> Route:
        """Return the route of a request whose target is checked.

        Raises ``NotFound``, ``EndpointDisabled``, and what is wrong with a handshake.
        """
        if wants_websocket(headers):
            check_upgrade(method, version, headers, length)
            self._hosts.check_origin(headers)
            return WEBSOCKET
        route = find_route(target.partition(b"?")[0])
        if route is None:
            raise NotFound("There is nothing at this path; try /v1/chat/completions.")
        if route in PROBES:
            return route
        is_on, key = self._switches.get(route, (self._enabled, ENABLE_KEY))
        if not is_on:
            raise EndpointDisabled(
                f"This endpoint is disabled; set {key} to true to serve it."
            )
        return route

    def identify(
        self, method: bytes, route: Route, headers: Headers, peer: Callable[[], Peer]
    ) -> Principal:
        """Check method and secret; return whose that is.

        A WebSocket brings its secret later, and probes need none.  Raises
        ``MethodNotAllowed``, ``Unauthorized``, ``TooManyFailures``, and ``Forbidden``
        for a page that may not use what a trusted proxy says.
        """
        if route is WEBSOCKET:
            return NOBODY
        check_method(method, route)
        return NOBODY if route in PROBES else self._authenticate(headers, peer)

    def admit(self, principal: Principal, route: Route, length: int | None) -> Admitted:
        """Check right, length and limits of a *principal* that ``identify`` returned.

        *length* is the declared one, None for a chunked body.  Raises ``Forbidden``,
        ``PayloadTooLarge``, ``RateLimited``.
        """
        if route is WEBSOCKET:
            return STRANGER
        if route not in PROBES:
            principal.check_scope(route.scope)
        limit = self._max_body_bytes if route.takes_body else MAX_IGNORED_BODY_BYTES
        if length is not None and length > limit:
            raise too_large(limit)
        left = self._meters.take(principal) if route.metered else ()
        return Admitted(principal=principal, max_body_bytes=limit, headers=left)

    def brings_secret(self, headers: Headers, peer: Callable[[], Peer]) -> bool:
        """Whether who sent *headers* may know more; a wrong secret is counted."""
        try:
            self._authenticate(headers, peer).check_scope(READ)
        except (Unauthorized, TooManyFailures, Forbidden):
            return False
        return True

    def _authenticate(self, headers: Headers, peer: Callable[[], Peer]) -> Principal:
        """Return who asks; a request without any token is no guess, and not counted."""
        token = bearer_of(headers.getRawHeaders(b"Authorization", ()))
        if token is not None and not self._limiter.is_idle:
            self._limiter.check(peer().bucket)
        if self._secret.matches(token):
            return OWNER
        if token is None:
            found = self._vouched_for(headers, peer)
        else:
            found = self._keys.find(token)
        if found is not None:
            return found
        if token is not None:
            self._limiter.failed(peer().bucket)
        raise Unauthorized(
            "The bearer token is missing or wrong;"
            " send Authorization: Bearer <the gateway's secret>."
        )

    def _vouched_for(
        self, headers: Headers, peer: Callable[[], Peer]
    ) -> Principal | None:
        """Return the key of the user whom a trusted proxy names.

        His browser may be sent here by any page, and the proxy names him all the same;
        so the page must be ours, or one that may read our answers.
        """
        user = peer().user
        if user is None:
            return None
        if self.cors.allowed_origin(headers) is None:
            self._hosts.check_origin(headers)
        return self._keys.find_user(user)


def check_method(method: bytes, route: Route) -> None:
    """Raise ``MethodNotAllowed`` for one that *route* does not take."""
    if method.decode("latin-1") not in route.methods:
        raise MethodNotAllowed(
            f"Use {' or '.join(route.methods)} here.", allow=route.methods
        )


def too_large(limit: int) -> PayloadTooLarge:
    """Return the error for a body of more than *limit* bytes."""
    return PayloadTooLarge(f"The body is larger than {limit} bytes.")


def not_ascii(name: bytes) -> BadHTTP:
    """Return the error for a value with 8-bit bytes; *name* is not checked yet."""
    shown = name.decode("latin-1").strip().lower()
    param = shown if _HEADER_NAME.fullmatch(shown) else None
    fix = "escape what is not ASCII in header values"
    return BadHTTP(f"{param or 'headers'}: {fix}.", param=param)


def request_id_of(headers: Headers) -> bytes:
    """Return the client's own request id if it is a sane one, else a new one."""
    values = headers.getRawHeaders(b"X-Request-Id", ())
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return b"%s-%x" % (_PROCESS, next(_COUNTER))


def preflight_headers(
    route: Route, origin: bytes, headers: Headers
) -> list[tuple[bytes, bytes]]:
    """Return what a browser must hear before it sends the real request."""
    answer = [
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Allow-Methods", ", ".join(route.methods).encode()),
        (b"Access-Control-Max-Age", b"600"),
        (b"Vary", b"Origin"),
    ]
    wanted = headers.getRawHeaders(b"Access-Control-Request-Headers", ())
    if len(wanted) == 1 and _HEADER_LIST.fullmatch(wanted[0]):
        answer.append((b"Access-Control-Allow-Headers", wanted[0]))
    return answer
