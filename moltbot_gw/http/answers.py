"""Write answers: JSON bodies, and every failure in the one error envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.web.http import RESPONSES

from moltbot_gw.errors import (
    GatewayError,
    MethodNotAllowed,
    Unauthorized,
    UpgradeRequired,
)
from moltbot_gw.metering import RateLimited
from moltbot_gw.wire.chat_response import render_error

if TYPE_CHECKING:
    from moltbot_gw.http.request import GatewayRequest

JSON = b"application/json; charset=utf-8"

_LIMITS = ", ".join(
    f"x-ratelimit-{what}-{kind}"
    for kind in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
)
_EXPOSED = f"x-request-id, retry-after, x-should-retry, {_LIMITS}".encode("ascii")
_REASONS = {
    426: b"Upgrade Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    499: b"Client Closed Request",
}


def reason_phrase(status: int) -> bytes:
    """Return the words beside *status*."""
    return _REASONS.get(status) or RESPONSES.get(status, b"Error")


def error_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """Return the headers that belong to *error*, whatever carries it."""
    headers = []
    if isinstance(error, Unauthorized):
        headers.append((b"WWW-Authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"Allow", ", ".join(error.allow).encode("ascii")))
    if isinstance(error, UpgradeRequired):
        headers.append((b"Upgrade", b"websocket"))
        headers.append((b"Sec-WebSocket-Version", b"13"))
    if isinstance(error, RateLimited):
        headers += [(k.encode("ascii"), v.encode("ascii")) for k, v in error.headers]
    if error.retry_after is not None:
        headers.append((b"Retry-After", b"%d" % error.retry_after))
    if error.should_retry is not None:
        flag = b"true" if error.should_retry else b"false"
        headers.append((b"X-Should-Retry", flag))
    return headers


def cors_headers(origin: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers that let a page of *origin* read an answer."""
    return [
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Expose-Headers", _EXPOSED),
        (b"Vary", b"Origin"),
    ]


def prepare_json(request: GatewayRequest, body: bytes) -> bytes:
    """Set the headers for the JSON answer *body* and return it."""
    return prepare_body(request, body, JSON)


def prepare_body(request: GatewayRequest, body: bytes, kind: bytes) -> bytes:
    """Set the headers for the answer *body* of the media type *kind* and return it."""
    headers = request.responseHeaders
    headers.setRawHeaders(b"Content-Type", [kind])
    headers.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    return body


def prepare_error(request: GatewayRequest, error: GatewayError) -> bytes:
    """Set status and headers for *error* and return the envelope."""
    request.setResponseCode(error.status, reason_phrase(error.status))
    for name, value in error_headers(error):
        request.responseHeaders.setRawHeaders(name, [value])
    return prepare_json(request, render_error(error))


def raw_error(
    error: GatewayError, request_id: bytes, origin: bytes | None, method: bytes
) -> bytes:
    """Return a whole answer for *error* after which the connection is closed.

    For requests that are refused before their body is there, or that are no HTTP.
    *origin* is that of a web page which may read it; one to ``HEAD`` has no body.
    """
    body = render_error(error)
    headers = [
        (b"Content-Type", JSON),
        (b"Content-Length", b"%d" % len(body)),
        (b"Connection", b"close"),
        (b"X-Request-Id", request_id),
        *error_headers(error),
        *(cors_headers(origin) if origin is not None else ()),
    ]
    head = b"HTTP/1.1 %d %s\r\n" % (error.status, reason_phrase(error.status))
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    return head + lines + b"\r\n" + (b"" if method == b"HEAD" else body)
