"""Which gateway to reach, and as whom."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

from moltbot_gw import __version__
from moltbot_gw.client.errors import BadTarget
from moltbot_gw.config import Secret

if TYPE_CHECKING:
    from moltbot_gw.wire.device import DeviceIdentity

SCOPES = ("operator.admin", "operator.approvals", "operator.pairing")
"""What a command asks for: everything that an operator may do."""

_PORTS = {"ws": 80, "wss": 443}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@attrs.frozen(kw_only=True)
class Address:
    """The taken-apart URL; *socket* is the path of a Unix socket instead of a host."""

    secure: bool
    host: str
    port: int
    resource: str = "/"
    socket: str | None = None

    @property
    def url(self) -> str:
        """The URL that the WebSocket handshake speaks of."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "wss" if self.secure else "ws"
        return f"{scheme}://{host}:{self.port}{self.resource}"


@attrs.frozen(kw_only=True)
class Target:
    """A gateway and what is told to it.

    *url* is ``ws://host:port``, ``wss://host:port`` or ``unix:/path/of/socket``.
    *tls_fingerprint* is the SHA-256 of the gateway's certificate in hex, with or
    without colons; with it the certificate is believed for its fingerprint alone.
    *device_token_file* is where the token that the gateway gives to *identity* is
    kept and read; such a token goes before *token*.
    """

    url: str = attrs.field(repr=lambda url: repr(shown_url(url)))
    token: Secret | None = None
    password: Secret | None = None
    identity: DeviceIdentity | None = attrs.field(default=None, repr=False)
    device_token_file: Path | None = None
    tls_fingerprint: str | None = None
    client_id: str = "cli"
    mode: str = "cli"
    version: str = __version__
    platform: str = sys.platform
    display_name: str | None = None
    instance_id: str | None = None
    role: str = "operator"
    scopes: tuple[str, ...] = SCOPES


def parse_address(url: str) -> Address:
    """Return *url* taken apart; raise ``BadTarget``, which does not quote it.

    A URL may hold a secret in its query, so errors name what is wrong instead.
    """
    if url.startswith("unix:") and len(url) > len("unix:"):
        path = url.removeprefix("unix:")
        return Address(secure=False, host="localhost", port=80, socket=path)
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise BadTarget("the gateway's URL has no valid host and port") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BadTarget("the gateway's URL must be ws://host:port or wss://host:port")
    if parts.username is not None or parts.password is not None:
        raise BadTarget("the gateway's URL must not hold a user or a password")
    resource = parts.path or "/"
    return Address(
        secure=parts.scheme == "wss",
        host=parts.hostname,
        port=_PORTS[parts.scheme] if port is None else port,
        resource=f"{resource}?{parts.query}" if parts.query else resource,
    )


def shown_url(url: str) -> str:
    """Return *url* fit for a terminal: without user, password, query and fragment."""
    if url.startswith("unix:"):
        return url
    before, mark, rest = url.partition("://")
    bare = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = bare.partition("/")
    shown = f"{before}{mark}{host.rpartition('@')[2]}{slash}{path}"
    return "".join(c if c.isprintable() else "?" for c in shown)


def parse_fingerprint(text: str) -> str:
    """Return a SHA-256 fingerprint as 64 lower-case hex digits."""
    plain = text.strip().lower().removeprefix("sha256:").removeprefix("sha256/")
    plain = plain.replace(":", "").replace(" ", "")
    if not _FINGERPRINT.fullmatch(plain):
        raise BadTarget("the TLS fingerprint must be a SHA-256 in hex (64 digits)")
    return plain
