"""Addresses as strangers write them, read in one strict way.

Guards of this kind are passed where two readers of one text differ.  Here a text is
read once, what is doubtful is refused, and connection, TLS name and ``Host`` are all
made from the result.

Source: RFC 3986; WHATWG URL, "host parsing" (a name that ends in a number is an IPv4
address or nothing).
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

import attrs
import idna

from moltbot_gw.fetching.addresses import IPAddress
from moltbot_gw.fetching.values import FetchRefused

MAX_URL_CHARS = 4096

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MIN_FREE_PORT = 1024
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_DOUBTFUL = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_PRIVATE_NAMES = ("localhost", "local", "internal", "localdomain")


@attrs.frozen(kw_only=True)
class Target:
    """One place to ask.

    *host* is ASCII in lower case, without brackets and final dot; *address* is the same
    if it is an IP address; *path* begins with a slash and has the query.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: IPAddress | None

    @property
    def netloc(self) -> str:
        """Host and port as in ``Host``; the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port == _DEFAULT_PORTS[self.scheme]:
            return host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


def read_url(text: str) -> Target:
    """Return what *text* means; raise ``FetchRefused`` if that is not beyond doubt."""
    text = text.strip(" ")
    if len(text) > MAX_URL_CHARS:
        raise FetchRefused(f"The URL is longer than {MAX_URL_CHARS} characters.")
    if _DOUBTFUL.search(text):
        raise FetchRefused("The URL has blanks, backslashes or control characters.")
    match = _URL.fullmatch(text)
    if match is None:
        raise FetchRefused("The URL must be absolute: http://... or https://...")
    scheme, authority, rest = match[1].lower(), match[2], match[3]
    if scheme not in _DEFAULT_PORTS:
        raise FetchRefused("Only http and https URLs can be fetched.")
    if "@" in authority:
        raise FetchRefused("The URL must not have a user name or a password.")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise FetchRefused("The URL has no proper host and port.")
    host, address = _read_host(found[1])
    return Target(
        scheme=scheme,
        host=host,
        port=_read_port(found[2], scheme),
        path=_read_path(rest),
        address=address,
    )


def follow(target: Target, location: bytes) -> Target:
    """Return where a redirect of *target* leads; raise ``FetchRefused``."""
    try:
        text = location.decode("utf-8")
        if _DOUBTFUL.search(text):
            raise ValueError("urljoin would drop some of these")
        there = read_url(urljoin(target.url, text))
    except ValueError:
        raise FetchRefused("The server redirects to something unreadable.") from None
    if target.scheme == "https" and there.scheme != "https":
        raise FetchRefused("The server redirects from https to http.")
    return there


def _read_port(text: str | None, scheme: str) -> int:
    port = int(text) if text else _DEFAULT_PORTS[scheme]
    if port in _DEFAULT_PORTS.values() or _MIN_FREE_PORT <= port <= 65535:
        return port
    raise FetchRefused(
        f"Port {port} is not one of the web; use 80, 443 or {_MIN_FREE_PORT} and above."
    )


def _read_path(text: str) -> str:
    try:
        path = quote(text, safe=_PRINTABLE)
    except UnicodeEncodeError:
        raise FetchRefused("The URL has characters that do not exist.") from None
    return path if path.startswith("/") else f"/{path}"


def _read_host(text: str) -> tuple[str, IPAddress | None]:
    if text.startswith("["):
        return _read_ipv6(text[1:-1])
    host = _ascii(text).lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise FetchRefused("The host of the URL is not a name.")
    if _NUMBER.fullmatch(labels[-1]):
        return _read_ipv4(host)
    if len(labels) < 2 or labels[-1] in _PRIVATE_NAMES:
        raise FetchRefused(f"{host} is not a name of the public web.")
    return host, None


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError:
        raise FetchRefused("The host of the URL is not a name.") from None


def _read_ipv4(text: str) -> tuple[str, IPAddress]:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        raise FetchRefused(
            "An IPv4 address has four decimal numbers, without leading zeros."
        ) from None
    return str(address), address


def _read_ipv6(text: str) -> tuple[str, IPAddress]:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise FetchRefused("The host of the URL is not an IPv6 address.") from None
    if address.scope_id is not None:
        raise FetchRefused("An IPv6 address must not have a zone.")
    return str(address), address
