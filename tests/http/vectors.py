"""Raw requests, each with the one answer that it must get.

The vectors are those of the measurements that docs/architecture.rst tells of: request
smuggling, header tricks, odd targets and methods, limits.  ``code`` is the one in the
error envelope, None for a success.
"""

from __future__ import annotations

import attrs

from tests.support.http_client import TOKEN

HOST = b"Host: gateway.test\r\n"
AUTH = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
GET = b"GET /v1/models HTTP/1.1\r\n" + HOST + AUTH
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + AUTH
FOLLOWER = GET + b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@attrs.frozen
class Vector:
    """One request; *closes* says whether the connection ends with its answer."""

    name: str
    raw: bytes
    status: int
    code: str | None
    closes: bool


def kept(name: str, raw: bytes, status: int, code: str | None = None) -> Vector:
    """Return a vector whose connection stays usable."""
    return Vector(name, raw, status, code, closes=False)


def closed(name: str, raw: bytes, status: int, code: str | None) -> Vector:
    """Return a vector whose connection ends."""
    return Vector(name, raw, status, code, closes=True)


def bad(name: str, raw: bytes) -> Vector:
    """Return a vector that breaks HTTP."""
    return closed(name, raw, 400, "invalid_value")


def get(header: bytes) -> bytes:
    """Return a GET with one more *header* line."""
    return GET + header + b"\r\n\r\n"


def post(*headers: bytes, body: bytes = b"") -> bytes:
    """Return a POST with more *headers* and *body*."""
    return POST + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


def target(path: bytes, method: bytes = b"GET") -> bytes:
    """Return a request for *path*."""
    return method + b" " + path + b" HTTP/1.1\r\n" + HOST + AUTH + b"\r\n"


LENGTHS = [
    bad("the same length twice", post(b"Content-Length: 2", b"Content-Length: 2")),
    bad("two lengths", post(b"Content-Length: 2", b"Content-Length: 3", body=b"{}")),
    bad("a list of lengths", post(b"Content-Length: 2, 2", body=b"{}")),
    bad("length with plus", post(b"Content-Length: +2", body=b"{}")),
    bad("negative length", post(b"Content-Length: -2", body=b"{}")),
    bad("hexadecimal length", post(b"Content-Length: 0x2", body=b"{}")),
    bad("length with underscore", post(b"Content-Length: 1_0", body=b"{}")),
    bad("empty length", post(b"Content-Length:", body=b"{}")),
    bad("fractional length", post(b"Content-Length: 2.0", body=b"{}")),
    bad("blank in the length", post(b"Content-Length: 1 0", body=b"{}")),
    bad("long length, no number", post(b"Content-Length: " + b"-" * 5000)),
    bad("length, blank before colon", post(b"Content-Length : 2", body=b"{}")),
    closed(
        "length of 5,000 digits",
        post(b"Content-Length: " + b"9" * 5000),
        413,
        "payload_too_large",
    ),
    closed(
        "length of 16 zeros",
        post(b"Content-Length: " + b"0" * 16),
        413,
        "payload_too_large",
    ),
    closed(
        "length over the limit",
        post(b"Content-Length: 99999999999"),
        413,
        "payload_too_large",
    ),
    kept(
        "length with zeros before", post(b"Content-Length: 002", body=b"{}"), 400,
        "missing_field",
    ),
    kept("length zero", post(b"Content-Length: 0"), 400, "invalid_json"),
    kept("no length", post(), 400, "invalid_json"),
]  # fmt: skip

SMUGGLING = [
    bad(
        "length, then chunked",
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    bad(
        "chunked, then length",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    ),
    bad(
        "length zero, then chunked",
        post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    bad("chunked twice", post(*[b"Transfer-Encoding: chunked"] * 2)),
    bad("chunked listed twice", post(b"Transfer-Encoding: chunked, chunked")),
    bad("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked")),
    bad("unknown coding", post(b"Transfer-Encoding: xchunked")),
    bad("chunked in quotes", post(b'Transfer-Encoding: "chunked"')),
    bad("empty coding", post(b"Transfer-Encoding:")),
    bad("identity alone", post(b"Transfer-Encoding: identity")),
    bad(
        "identity beside a length",
        post(b"Transfer-Encoding: identity", b"Content-Length: 2", body=b"{}"),
    ),
    bad(
        "identity beside chunked",
        post(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
    ),
    bad("folded coding", post(b"Transfer-Encoding:\r\n chunked")),
    bad("folded header", get(b"X-A: b\r\n c")),
    bad("header folded with a tab", get(b"X-A: b\r\n\tc")),
    bad("first header begins with a blank", GET[:25] + b" X: y\r\n" + GET[25:]),
    bad("coding, blank before colon", post(b"Transfer-Encoding : chunked")),
    bad(
        "chunked on HTTP/1.0",
        CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
    ),
    bad("coding after a vertical tab", post(b"Transfer-Encoding: \x0bchunked")),
    kept(
        "chunked in capitals",
        post(b"Transfer-Encoding: CHUNKED", body=b"2\r\n{}\r\n0\r\n\r\n"),
        400, "missing_field",
    ),
]  # fmt: skip

CHUNKS = [
    bad("chunk size 0x5", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    bad("chunk size +5", CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n"),
    bad("chunk size -5", CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"),
    bad("chunk size after a blank", CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n"),
    bad("blank after the chunk size", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n"),
    bad("chunk size with underscore", CHUNKED + b"1_0\r\nhello\r\n0\r\n\r\n"),
    bad("empty chunk size", CHUNKED + b"\r\nhello\r\n0\r\n\r\n"),
    bad("chunk size of 9 digits", CHUNKED + b"000000005\r\nhello\r\n0\r\n\r\n"),
    bad("chunk size of 17 digits", CHUNKED + b"f" * 17),
    bad("bare LF after the chunk size", CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    bad("LF in a chunk extension", CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    bad("NUL in a chunk extension", CHUNKED + b"5;a\x00\r\nhello\r\n0\r\n\r\n"),
    bad("endless chunk extension", CHUNKED + b"5;" + b"a" * 2000),
    bad("no CRLF after a chunk", CHUNKED + b"5\r\nhelloXX0\r\n\r\n"),
    bad("bare LF after a chunk", CHUNKED + b"5\r\nhello\n0\r\n\r\n"),
    bad("bare LF after the last chunk", CHUNKED + b"0\n\n"),
    kept(
        "chunk extension",
        CHUNKED + b'2;a="b"\r\n{}\r\n0\r\n\r\n', 400, "missing_field",
    ),
    kept(
        "trailers are dropped",
        CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 9\r\nHost: x\r\n\r\n",
        400, "missing_field",
    ),
    kept(
        "chunk size of 8 digits",
        CHUNKED + b"00000002\r\n{}\r\n0\r\n\r\n", 400, "missing_field",
    ),
]  # fmt: skip

HEADERS = [
    bad("no Host", b"GET /v1/models HTTP/1.1\r\n" + AUTH + b"\r\n"),
    bad("two Hosts", get(b"Host: other.test")),
    bad("the same Host twice", GET + HOST + b"\r\n"),
    bad("Host with a blank", get(b"X: y").replace(b"gateway.test", b"a b")),
    bad("Host with a path", get(b"X: y").replace(b"gateway.test", b"a/b")),
    bad("Host with a user", get(b"X: y").replace(b"gateway.test", b"u@a")),
    kept("Host with empty labels", get(b"X: y").replace(b"way.test", b"..x"), 200),
    kept("Host, long label", get(b"X: y").replace(b"gateway", b"a" * 70), 200),
    kept("Host with a port", get(b"X: y").replace(b".test", b".test:18789"), 200),
    kept("Host, IPv6", get(b"X: y").replace(b"gateway.test", b"[::1]:18789"), 200),
    kept("empty Host", get(b"X: y").replace(b" gateway.test", b""), 200),
    bad("NUL in a value", get(b"X-A: a\x00b")),
    bad("CR in a value", get(b"X-A: a\rX-B: c")),
    bad("LF in a value", get(b"X-A: a\nX-B: c")),
    bad("vertical tab in a value", get(b"X-A: a\x0bX-B: c")),
    bad("form feed in a value", get(b"X-A: a\x0cX-B: c")),
    bad("record separator in a value", get(b"X-A: a\x1eX-B: c")),
    bad("DEL in a value", get(b"X-A: a\x7fb")),
    bad("escape in a value", get(b"X-A: \x1b[31m")),
    bad("0x85 in a value", get(b"Cookie: a=b\x85X-Injected: yes")),
    bad("UTF-8 in a value", get("X-A: é".encode())),
    bad("no colon", get(b"X-A")),
    bad("empty name", get(b": a")),
    bad("blank in a name", get(b"X A: b")),
    bad("8-bit name", get(b"X-\xe9: b")),
    bad("bare LF ends the lines", GET.replace(b"\r\n", b"\n") + b"\n"),
    bad("bare LF ends one line", GET.replace(b"\r\nHost", b"\nHost") + b"\r\n"),
    bad("bare LF ends the head", GET + b"\n"),
    kept("tab in a value", get(b"X-A: a\tb"), 200),
    kept("UTF-8 in a password", get("Authorization: Bearer é".encode()), 401,
         "invalid_api_key"),
    kept("broken cookies", get(b"Cookie: ; =; a; b=c=d"), 200),
    kept("an empty line first", b"\r\n" + get(b"X: y"), 200),
    kept("500 headers", GET + b"X: y\r\n" * 498 + b"\r\n", 200),
    closed("501 headers", GET + b"X: y\r\n" * 499 + b"\r\n", 431, "headers_too_large"),
    closed("16 KiB of headers", GET + (b"X: " + b"y" * 4000 + b"\r\n") * 5, 431,
           "headers_too_large"),
    closed("a line of 17 KiB", get(b"X: " + b"y" * 17000), 431, "headers_too_large"),
    closed("an endless line", GET + b"X: " + b"y" * 17000, 431, "headers_too_large"),
    closed("a target of 17 KiB", target(b"/" + b"y" * 17000), 414, "target_too_long"),
    closed("an endless target", b"GET /" + b"y" * 17000, 414, "target_too_long"),
]  # fmt: skip

TARGETS = [
    kept("lower-case method", target(b"/v1/models", b"get"), 405, "method_not_allowed"),
    kept("TRACE", target(b"/v1/models", b"TRACE"), 405, "method_not_allowed"),
    kept("PUT", target(b"/v1/chat/completions", b"PUT"), 405, "method_not_allowed"),
    kept("no-break method", target(b"/v1/models", b"G|T"), 405, "method_not_allowed"),
    bad("CONNECT", target(b"gateway.test:443", b"CONNECT")),
    bad("absolute form", target(b"http://gateway.test/v1/models")),
    bad("OPTIONS *", target(b"*", b"OPTIONS")),
    bad("method with brackets", target(b"/v1/models", b"G(T")),
    bad("blank in the target", target(b"/v1/models x")),
    bad("two blanks", target(b" /v1/models")),
    bad("tab after the method", b"GET\t/v1/models HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("control byte in the target", target(b"/v1/mod\x01els")),
    bad("blank before the method", b" " + get(b"X: y")),
    bad("HTTP/0.9", b"GET /v1/models\r\n\r\n"),
    bad("HTTP/1.2", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/1.2")),
    bad("HTTP/2.0", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/2.0")),
    bad("http/1.1", get(b"X: y").replace(b"HTTP/1.1", b"http/1.1")),
    bad("h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    bad("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n"),
    kept("double slash", target(b"//v1/models"), 404, "not_found"),
    kept("double slash inside", target(b"/v1//models"), 404, "not_found"),
    kept("two slashes behind", target(b"/v1/models//"), 404, "not_found"),
    kept("//health", target(b"//health"), 404, "not_found"),
    kept("the root", target(b"/"), 404, "not_found"),
    kept("prefix thrice", target(b"/v1/v1/v1/models"), 404, "not_found"),
    kept("capitals", target(b"/V1/Models"), 404, "not_found"),
    kept("dots", target(b"/v1/x/../models"), 404, "not_found"),
    kept("encoded dots", target(b"/v1/%2e%2e/models"), 404, "not_found"),
    kept("encoded slash", target(b"/v1%2fmodels"), 404, "not_found"),
    kept("encoded letter", target(b"/v1/model%73"), 404, "not_found"),
    kept("slash in the id", target(b"/v1/models/%2fx"), 404, "not_found"),
    kept("%00", target(b"/v1/models/%00"), 404, "not_found"),
    kept("%0d%0a", target(b"/v1/models/a%0d%0aX-B:c"), 404, "not_found"),
    kept("%ff", target(b"/v1/models/%ff"), 404, "not_found"),
    kept("raw 8-bit byte", target(b"/v1/models/\x85"), 404, "not_found"),
    kept("unfinished escape", target(b"/v1/models/%f"), 404, "model_not_found"),
    kept("pipe in the id", target(b"/v1/models/a|b<c>"), 404, "model_not_found"),
    kept("matrix parameters", target(b"/v1/models;x"), 404, "not_found"),
    kept("odd query", target(b"/v1/models?a&&=%ff;%00#"), 200),
]

OTHERS = [
    kept("a GET with a body", get(b"Content-Length: 2") + b"{}", 200),
    kept("a GET with chunks", get(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 200),
    closed("close", get(b"Connection: close"), 200, None),
    closed("keep-alive, close", get(b"Connection: keep-alive, close"), 200, None),
    closed("Close,x", get(b"Connection: Close,x"), 200, None),
    closed("two Connections", get(b"Connection: x\r\nConnection: close"), 200, None),
    closed("HTTP/1.0", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/1.0"), 200, None),
    closed(
        "HTTP/1.0, no Host",
        b"GET /v1/models HTTP/1.0\r\n" + AUTH + b"\r\n", 200, None,
    ),
    closed(
        "HTTP/1.0 keep-alive",
        get(b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"), 200, None,
    ),
    kept("closed is not close", get(b"Connection: closed"), 200),
    kept("upgrade to h2c", get(b"Connection: upgrade\r\nUpgrade: h2c"), 200),
    kept("unknown Expect", get(b"Expect: the unexpected"), 417, "expectation_failed"),
    kept(
        "a second Expect",
        get(b"Expect: 100-continue\r\nExpect: x"), 417, "expectation_failed",
    ),
    closed(
        "unknown Expect, body",
        post(b"Expect: x", b"Content-Length: 2", body=b"{}"), 417,
        "expectation_failed",
    ),
    kept("Expect without a body", get(b"Expect: 100-continue"), 200),
    kept(
        "Expect without right",
        get(b"Expect: 100-continue").replace(AUTH, b""), 401, "invalid_api_key",
    ),
]  # fmt: skip

VECTORS = [*LENGTHS, *SMUGGLING, *CHUNKS, *HEADERS, *TARGETS, *OTHERS]
