"""Listening sockets that an init system has opened and keeps.

A connection that comes while the daemon restarts waits in the socket's backlog for the
next process: nobody is refused.
"""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from typing import Any

import attrs
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from moltbot_gw.refusal import StartRefused

PREFIX = "systemd:"
_FAMILIES = {"AF_INET": "INET", "AF_INET6": "INET6", "AF_UNIX": "UNIX"}


@attrs.frozen(kw_only=True)
class Inherited:
    """A socket that is there already: *address* for people, *local* as for others."""

    endpoint: IStreamServerEndpoint
    address: str
    local: bool


def find_inherited(description: str, reactor: Any) -> Inherited:
    """Return the socket that a ``systemd:`` endpoint names; raise ``StartRefused``.

    Twisted would take any descriptor for a listening socket of the family that is
    written here, and answers a missing one with the words of a failed look-up.
    """
    try:
        endpoint = serverFromString(reactor, description)
    except (LookupError, AttributeError):
        raise _refusal(
            description,
            "no such socket was handed to this process: start it by its socket unit"
            " (with systemd-socket-activate, give --fdname), count from index=0, and"
            " say domain=INET, INET6 or UNIX",
        ) from None
    except (ValueError, TypeError) as error:
        raise _refusal(description, str(error)) from None
    assert isinstance(endpoint, AdoptedStreamServerEndpoint)
    try:
        with socket.socket(fileno=os.dup(endpoint.fileno)) as found:
            return _examine(found, endpoint, description)
    except OSError as error:
        raise _refusal(description, f"{error.strerror}") from None


def _examine(
    found: socket.socket, endpoint: AdoptedStreamServerEndpoint, description: str
) -> Inherited:
    if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise _refusal(description, "the socket does not listen (Accept=no is needed)")
    if found.family != endpoint.addressFamily:
        domain = _FAMILIES.get(found.family.name, "?")
        raise _refusal(description, f"the socket is of another kind: domain={domain}")
    name = found.getsockname()
    if found.family == socket.AF_UNIX:
        return Inherited(endpoint=endpoint, address=f"unix:{name}", local=True)
    host, port = name[:2]
    shown = f"[{host}]" if ":" in host else host
    return Inherited(
        endpoint=endpoint,
        address=f"http://{shown}:{port}",
        local=ip_address(host).is_loopback,
    )


def _refusal(description: str, why: str) -> StartRefused:
    return StartRefused(f"endpoint {description}: {why}")
