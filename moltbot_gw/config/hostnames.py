"""Names of hosts and origins of pages, as they stand in the configuration."""

from __future__ import annotations

import re

from .issues import BadField, Place

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII
)
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(
    rf"((?:\*\.)?{_LABEL}(?:\.{_LABEL})*)|\[?([0-9a-f:.]*:[0-9a-f:.]*)\]?", re.ASCII
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def parse_hosts(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the list ``allowedHosts`` in the form that it is compared in.

    Lower case; ``*.`` stays in front; an IPv6 address loses its brackets.
    """
    return tuple(
        _parse_host(text, ("allowedHosts", index)) for index, text in enumerate(texts)
    )


def parse_origins(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the list ``allowedOrigins`` as browsers write it; raise `BadField`."""
    return tuple(
        _parse_origin(text, ("allowedOrigins", index))
        for index, text in enumerate(texts)
    )


def _parse_host(text: str, place: Place) -> str:
    """Return *text* in lower case, an IPv6 address without its brackets."""
    match = _HOST.fullmatch(text.lower())
    if match is None:
        message = 'expected a host name without port, "*." in front for all below it'
        raise BadField(place, message)
    return match[1] or match[2]


def _parse_origin(text: str, place: Place) -> str:
    """Return *text* as a browser writes it: lower case, no default port."""
    if text.strip() in ("*", "null"):
        message = 'name each origin; "*" and "null" would let any page in'
        raise BadField(place, message)
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        message = "expected scheme://host or scheme://host:port, without path or slash"
        raise BadField(place, message)
    scheme, host, port = match.groups()
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}"
