"""Ways out of the public web by ``web_fetch``: one table, and none succeeds.

What counts is where a connection goes.  Each attempt must end in a refusal, and what
was connected to meanwhile must be the one public address that it starts from.
"""
# ruff: noqa: RUF001 - letters that look like others are what it is about

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.pages import MAX_PAGE_BYTES
from tests.fetching.support import (
    OTHER,
    PUBLIC,
    PUBLIC6,
    Web,
    chunked_page,
    page,
    redirect,
)
from tests.integration.waiting import socket_test
from tests.support.fake_provider import Script, plain
from tests.tools.fetching import CONTEXT, web_fetch


@attrs.frozen(kw_only=True)
class Attempt:
    """One try.  *names* are answers of the resolver, look-up by look-up."""

    url: str
    names: Mapping[str, list[Sequence[str]]] = attrs.Factory(dict)
    scripts: Sequence[Script] = ()
    config: Mapping[str, Any] = attrs.Factory(dict)


def literal(*urls: str) -> list[Attempt]:
    """Addresses that must not even be tried."""
    return [Attempt(url=url) for url in urls]


def resolved(*answers: str) -> list[Attempt]:
    """Names that resolve to what must not be tried."""
    names: list[dict[str, list[Sequence[str]]]] = [
        {"evil.example": [[answer]]} for answer in answers
    ]
    return [Attempt(url="http://evil.example/", names=one) for one in names]


def redirected(*locations: str, hops: int = 0, **config: Any) -> list[Attempt]:
    """Redirects from a public page, after *hops* innocent ones."""
    innocent = [redirect(f"http://example.com/{n}") for n in range(hops)]
    return [
        Attempt(
            url="http://example.com/",
            scripts=[*innocent, redirect(location)],
            config=config,
        )
        for location in locations
    ]


def answered(*scripts: Script, **config: Any) -> list[Attempt]:
    """Answers of a public server that must not be swallowed."""
    return [
        Attempt(url="http://example.com/", scripts=[script], config=config)
        for script in scripts
    ]


PRIVATE_ADDRESSES = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
)
PRIVATE_IPV6 = (
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:93.184.216.34",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
)

ATTEMPTS = [
    # addresses, plain
    *literal(*(f"http://{address}/" for address in PRIVATE_ADDRESSES)),
    *literal(*(f"http://[{address}]/" for address in PRIVATE_IPV6)),
    # addresses in disguise
    *literal(
        "http://2130706433/",
        "http://0x7f000001/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0x7f.1/",
        "http://127.0.0.0x1/",
        "http://127.0.0.01/",
        "http://0127.0.0.1/",
        "http://127.0.0.1./",
        "http://127.0.0.1../",
        "http://127.0.0.1.1/",
        "http://256.0.0.1/",
        "http://4294967297/",
        "http://1.1.1.1.1/",
        "http://0x/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::1%25lo]/",
        "http://[fe80::1%25eth0]/",
        "http://[::1%lo]/",
        "http://[::1]x/",
        "http://[::1/",
        "http://::1/",
        "http://[v1.x]/",
        "http://[127.0.0.1]/",
        f"http://[{PUBLIC6}%25eth0]/",
        "http://１２７.０.０.１/",
        "http://127。0。0。1/",
        "http://127．0．0．1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://١٢٧.٠.٠.١/",
        "http://127.0.0.1%00.example.com/",
        "http://%31%32%37.0.0.1/",
        "http://127.0.0.1\u200b/",
        "http://127.0.0.1\u00ad/",
    ),
    # names that mean this machine or this network
    *literal(
        "http://localhost/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://a.localhost/",
        "http://ｌｏｃａｌｈｏｓｔ/",
        "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "http://printer/",
        "http://printer.local/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://localhost.localdomain/",
        "http://./",
        "http:///etc/passwd",
        "http://",
        "http://?x",
        "http://:80/",
        "http://a..example.com/",
        "http://-a.example.com/",
        f"http://{'a' * 64}.example.com/",
        f"http://{'a.' * 130}com/",
        "http://a!b.example.com/",
        "http://xn--a.\u2603\ufffd/",
    ),
    # schemes
    *literal(
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "ftp://example.com/",
        "gopher://example.com:70/_x",
        "dict://127.0.0.1:11211/stats",
        "data:text/plain,hello",
        "data://text/plain,hello",
        "javascript:alert(1)",
        "jar:http://127.0.0.1!/",
        "view-source:http://127.0.0.1/",
        "ws://127.0.0.1/",
        "unix:///run/docker.sock",
        "http+unix://%2Frun%2Fdocker.sock/",
        "//127.0.0.1/",
        "/etc/passwd",
        "127.0.0.1",
        "example.com",
        "http:127.0.0.1",
        "http:/127.0.0.1/",
        "http:\\\\127.0.0.1\\",
        "",
        " ",
        "h\u0131ttp://127.0.0.1/",
    ),
    # who is asked: user names, backslashes, control characters
    *literal(
        "http://example.com@127.0.0.1/",
        "http://example.com:80@127.0.0.1/",
        "http://user:secret@example.com/",
        "http://user@example.com/",
        "http://@example.com/",
        "http://example.com%40127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com\\.127.0.0.1/",
        "http://127.0.0.1 .example.com/",
        "http://127.0.0.1\t.example.com/",
        "http://example.com\r\nHost: 127.0.0.1/",
        "http://example.com/\r\nX: y",
        "http://example.com/ HTTP/1.1\r\nHost: x",
        "http://exam\nple.com/",
        "http://example.com/\x00",
        "http://example.com/\x7f",
        "http://example.com/\u2028",
        "http://example.com/\ud800",
        "http://127.0.0.1#@example.com/",
        "http://127.0.0.1?@example.com/",
        "http://127.0.0.1;example.com/",
        "http://127.0.0.1,example.com/",
        "HTTP://127.0.0.1/",
        f"http://example.com/{'a' * 5000}",
    ),
    # ports
    *literal(
        *(f"http://example.com:{port}/" for port in (0, 21, 22, 25, 110, 445, 1023)),
        "http://example.com:65536/",
        "http://example.com:99999999/",
        "http://example.com:-1/",
        "http://example.com:+80/",
        "http://example.com:８０/",
        "http://example.com:80:80/",
        "http://example.com:0x50/",
        "http://example.com:80 /",
    ),
    # the resolver's answers
    *resolved(*PRIVATE_ADDRESSES, *PRIVATE_IPV6, "fe80::1%eth0"),
    Attempt(
        url="http://mixed.example/", names={"mixed.example": [[PUBLIC, "127.0.0.1"]]}
    ),
    Attempt(
        url="http://mixed.example/",
        names={"mixed.example": [[PUBLIC6, PUBLIC, OTHER, PUBLIC, OTHER, "fd00::1"]]},
    ),
    Attempt(url="http://empty.example/", names={"empty.example": [[]]}),
    Attempt(url="http://unknown.example/"),
    # rebinding: public when it is looked at, private when it is used
    Attempt(
        url="http://rebound.example/",
        names={"rebound.example": [[PUBLIC], ["127.0.0.1"]]},
        scripts=[redirect("http://rebound.example/again")],
    ),
    Attempt(
        url="http://rebound.example/",
        names={"rebound.example": [[PUBLIC], [PUBLIC], ["169.254.169.254"]]},
        scripts=[redirect("/1"), redirect("/2")],
    ),
    # redirects
    *redirected(
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "//127.0.0.1/",
        "//localhost/",
        "http://2130706433/",
        "http://user:secret@example.com/",
        "http://example.com:22/",
        "http:\\\\127.0.0.1/",
        "http://127.0.0.1\t/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://127.0.0.1:6379/_x",
        "data:text/plain,hello",
        "javascript:alert(1)",
        "http://[",
        "http://[::1%25lo]/",
        "http://１２７.0.0.1/",
        "http://no-such.example/",
    ),
    *redirected("http://10.0.0.1/", hops=1),
    *redirected("http://10.0.0.1/", hops=2),
    *redirected("http://example.com/", hops=3),
    *redirected("http://example.com/", maxRedirects=0),
    *redirected("http://example.com/", hops=10, maxRedirects=50),
    *answered(plain(302, b"")),
    *answered([b"HTTP/1.1 302 X\r\nLocation: /a\r\nLocation: /b\r\n\r\n"]),
    *answered([b"HTTP/1.1 302 X\r\nLocation: http://\xff/\r\n\r\n"]),
    # what servers send
    *answered(
        page(b"x" * (MAX_PAGE_BYTES + 1), "text/plain"),
        chunked_page(*[b"x" * 65536] * (MAX_PAGE_BYTES // 65536), b"x"),
        page(gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip"),
        page(gzip.compress(b"x" * MAX_PAGE_BYTES) * 2, Content_Encoding="gzip"),
        page(gzip.compress(b"hello")[:-4], Content_Encoding="gzip"),
        page(b"no gzip", Content_Encoding="gzip"),
        page(b"x", Content_Encoding="br"),
        page(b"x", Content_Encoding="gzip, gzip"),
        page(b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        page(b"%PDF-1.7\x00", "application/pdf"),
        page(b"x", "application/octet-stream"),
        page(b"\x89PNG\r\n\x1a\n\x00", "text/plain"),
        page(b"\x00\x01\x02", ""),
        plain(404, b"gone"),
        plain(500, b"broken"),
        plain(304, b""),
        [b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 4000] * 4],
        [b"HTTP/1.1 103 X\r\n\r\n" * 1000],
        [b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n" * 9],
        [b"SSH-2.0-OpenSSH_9.9\r\n\r\n"],
        [b"+PONG\r\n-ERR\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\nx"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    ),
]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda a: ascii(a.url)[1:60])
@socket_test
async def test_no_attempt_gets_out(web: Web, attempt: Attempt) -> None:
    web.names |= attempt.names
    web.serve(*attempt.scripts)
    tool = web_fetch(web, **attempt.config)
    with pytest.raises(ToolFailed, match=r"^web_fetch: [\[A-Z0-9a-z].*\.$"):
        await tool.run(tool.params(url=attempt.url), CONTEXT)
    assert {host for host, _ in web.connects} <= {PUBLIC}
    assert len(web.connects) == len(attempt.scripts) - len(web.server.scripts)
