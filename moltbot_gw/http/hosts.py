"""Whom a browser may think that it talks to, and which pages may open a WebSocket.

A page of any site can make a browser send requests to this machine, and by DNS
rebinding even under the page's own name.  So the name in ``Host`` must be one that we
answer to, and a page that opens a WebSocket must come from this gateway or be listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from twisted.web.http_headers import Headers

from moltbot_gw.errors import OriginNotAllowed

_PORT = re.compile(rb":[0-9]*\Z")
_ORIGIN = re.compile(rb"https?://([^/?#@]+)", re.IGNORECASE)
_MOST_SEEN = 64
_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}


class HostPolicy:
    """Which names may stand in ``Host``: loopback's, IP addresses, and *names*.

    A name ``*.example`` stands for all names under ``example``.  An IP address cannot
    be rebound, so any is fine.
    """

    def __init__(self, names: Iterable[str] = (), origins: Sequence[str] = ()) -> None:
        lowered = [name.lower().rstrip(".") for name in names]
        self._exact = frozenset(n.encode() for n in lowered if not n.startswith("*."))
        under = (name[1:].encode() for name in lowered if name.startswith("*."))
        self._under = (b".localhost", *under)
        self._seen: set[bytes] = set()
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)

    def allows(self, host: bytes) -> bool:
        """Whether we answer to *host*, a value of ``Host`` with or without a port."""
        if host in self._seen:
            return True
        name = _PORT.sub(b"", host).lower().rstrip(b".")
        allowed = (
            not host  # names nobody, as no browser does
            or name == b"localhost"
            or name in self._exact
            or name.endswith(self._under)
            or _is_address(name)
        )
        if allowed and len(self._seen) < _MOST_SEEN:
            self._seen.add(host)
        return allowed

    def check_origin(self, headers: Headers) -> None:
        """Raise ``OriginNotAllowed`` if a page of a foreign origin asks.

        Whoever sends none is no page; two are a riddle that no browser sets.
        """
        origins = headers.getRawHeaders(b"Origin", ())
        if not origins:
            return
        hosts = headers.getRawHeaders(b"Host", ())
        if len(origins) != 1 or not self._is_ours(origins[0], hosts):
            raise OriginNotAllowed(
                "WebSockets are not for pages of this origin; list it in"
                " gateway.controlUi.allowedOrigins to let them in."
            )

    def _is_ours(self, origin: bytes, hosts: Sequence[bytes]) -> bool:
        if origin.rstrip(b"/") in self._origins:
            return True
        match = _ORIGIN.fullmatch(origin)
        return (
            match is not None and len(hosts) == 1 and _same(origin, match[1], hosts[0])
        )


def _is_address(name: bytes) -> bool:
    try:
        ip_address(name.decode("ascii").removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _same(origin: bytes, authority: bytes, host: bytes) -> bool:
    """Whether the page came from *host*; the scheme may differ behind a TLS proxy."""
    default = _DEFAULT_PORTS[origin.partition(b":")[0].lower()]
    ports = (b"", b":" + default)
    one, other = authority.lower(), host.lower()
    return any(one + port == other for port in ports) or any(
        one == other + port for port in ports
    )
