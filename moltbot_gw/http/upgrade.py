"""The opening handshake of a WebSocket, as far as HTTP decides it.

Everything that a client can do wrong is answered here, in the words of the HTTP edge;
the WebSocket side gets a request that is right (RFC 6455, section 4.2.1).
"""

from __future__ import annotations

import base64
import binascii

from twisted.web.http_headers import Headers

from moltbot_gw.errors import BadHTTP, MethodNotAllowed, UpgradeRequired

VERSION = b"13"
_KEY_BYTES = 16


def wants_websocket(headers: Headers) -> bool:
    """Whether a request asks to become a WebSocket."""
    return b"websocket" in _tokens(headers, b"Upgrade")


def check_upgrade(
    method: bytes, version: bytes, headers: Headers, length: int | None
) -> None:
    """Raise what is wrong with a request that ``wants_websocket``.

    *length* is that of its body, which must be 0: what follows the head belongs to the
    WebSocket already.
    """
    if method != b"GET":
        raise MethodNotAllowed("Use GET to open a WebSocket.", allow=("GET",))
    if version != b"HTTP/1.1":
        raise BadHTTP("A WebSocket is opened with HTTP/1.1.")
    if length != 0:
        raise BadHTTP("A request that opens a WebSocket has no body.")
    if b"upgrade" not in _tokens(headers, b"Connection"):
        raise BadHTTP("Send Connection: Upgrade to open a WebSocket.")
    if headers.getRawHeaders(b"Sec-WebSocket-Version", ()) != [VERSION]:
        raise UpgradeRequired("Only version 13 of the WebSocket protocol is spoken.")
    keys = headers.getRawHeaders(b"Sec-WebSocket-Key", ())
    if len(keys) != 1 or not _is_key(keys[0].strip()):
        raise BadHTTP("Sec-WebSocket-Key must be one base64 text of 16 bytes.")


def _tokens(headers: Headers, name: bytes) -> set[bytes]:
    values = headers.getRawHeaders(name, ())
    return {t.strip().lower() for value in values for t in value.split(b",")}


def _is_key(text: bytes) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False
