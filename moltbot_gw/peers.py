"""Who is at the other end of a connection: the address that counts, and whether local.

Locality grants nothing by itself: everybody brings a secret.  It only saves a person at
this machine from approving his own device (upstream ``isLocalDirectRequest``).
"""

from __future__ import annotations

import re
from collections.abc import Container
from ipaddress import IPv6Address, ip_address

import msgspec
from twisted.web.http_headers import Headers

_FORWARDING = (b"X-Forwarded-For", b"X-Real-IP", b"X-Forwarded-Host", b"Forwarded")
_IPV4_AND_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")
_BRACKETED = re.compile(r"\[([^\]]*)\](?::[0-9]{1,5})?")
_LOCAL_NAMES = (b"localhost", b"127.0.0.1", b"[::1]", b"::1")
UNIX = "unix"
"""The address of everybody on a UNIX socket."""


MAX_USER_CHARS = 256


class Peer(msgspec.Struct, frozen=True):
    """A client's *address* (an IP, or ``unix``), and whether it is on this machine.

    *user* is who it is by the word of a trusted proxy, if one has said so.
    """

    address: str
    is_local: bool
    user: str | None = None

    @property
    def bucket(self) -> str:
        """What failures are counted by: the address, or the /64 of an IPv6 one."""
        try:
            address = ip_address(self.address)
        except ValueError:
            return self.address
        if isinstance(address, IPv6Address) and not address.is_loopback:
            return str(IPv6Address(int(address) >> 64 << 64))
        return self.address


def find_peer(
    host: object,
    headers: Headers,
    trusted: Container[str],
    user_header: str | None = None,
) -> Peer:
    """Return who sent *headers* over a connection from *host* (None: UNIX socket).

    A proxy of *trusted* is believed what it says of its client; of a chain of them the
    nearest address that is not trusted counts, so that clients cannot make one up.  If
    it says nothing that can be read, its own address counts, and is not local.

    Only a proxy of *trusted* that sits at the other end of this very connection names
    its user in *user_header*; from anybody else the header means nothing.
    """
    is_forwarded = any(headers.hasHeader(name) for name in _FORWARDING)
    if not isinstance(host, str):
        return Peer(UNIX, not is_forwarded)
    peer = plain_address(host)
    if peer not in trusted:
        return Peer(peer, not is_forwarded and _is_here(peer, headers))
    user = None if user_header is None else _user(headers, user_header)
    client = _forwarded(headers, trusted)
    if client is not None:
        return Peer(client, _is_here(client, headers), user)
    return Peer(peer, not is_forwarded and _is_here(peer, headers), user)


def _user(headers: Headers, name: str) -> str | None:
    """Return the user that exactly one header names; two are not to be believed."""
    values = headers.getRawHeaders(name.encode("ascii"), ())
    if len(values) != 1:
        return None
    user = values[0].decode("latin-1").strip()
    good = 0 < len(user) <= MAX_USER_CHARS and user.isascii() and user.isprintable()
    return user if good else None


def _forwarded(headers: Headers, trusted: Container[str]) -> str | None:
    """Return whom the trusted proxies speak for, None if that cannot be read."""
    values = headers.getRawHeaders(b"X-Forwarded-For", ())
    chain = [text for value in values for text in value.split(b",")]
    address = None
    for text in reversed(chain):
        address = plain_address(text.decode("latin-1"))
        if address not in trusted:
            return address if _is_address(address) else None
    real = headers.getRawHeaders(b"X-Real-IP", ())
    if len(real) == 1 and _is_address(plain_address(real[0].decode("latin-1"))):
        return plain_address(real[0].decode("latin-1"))
    return address


def plain_address(text: str) -> str:
    """Return an address in one spelling: no blanks, brackets, port, IPv4 in IPv6."""
    text = text.strip()
    match = _BRACKETED.fullmatch(text) or _IPV4_AND_PORT.fullmatch(text)
    text = (match[1] if match else text).partition("%")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return _is_address(text) and ip_address(text).is_loopback


def _is_here(address: str, headers: Headers) -> bool:
    return _is_loopback(address) and _names_us(headers)


def _names_us(headers: Headers) -> bool:
    hosts = headers.getRawHeaders(b"Host", ())
    if len(hosts) != 1:
        return False
    name = hosts[0].lower()
    if name.count(b":") == 1 or name.startswith(b"["):
        name = name.rpartition(b":")[0] if not name.endswith(b"]") else name
    return name in _LOCAL_NAMES or name.endswith(b".ts.net")
