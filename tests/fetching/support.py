"""A small web on loopback: names and addresses of the test's making, one real server.

The fetch under test believes that it talks to the addresses that it has checked; each
connection that it makes is noted, and leads to the server.
"""

from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.web.iweb import IPolicyForHTTPS

from moltbot_gw.fetching.guard import GuardedFetch
from tests.integration.waiting import reactor
from tests.support.fake_provider import END_OF_CHUNKS, FakeProvider, Script, head

PUBLIC = "93.184.216.34"
OTHER = "93.184.216.35"
PUBLIC6 = "2606:2800:220:1:248:1893:25c8:1946"


class Web:
    """The server, the names, and what was connected to.

    *names* has for each name its answers, one for each look-up; the last one stays.
    Time passes only by ``clock``, so that no test waits for a time-out.
    """

    def __init__(self, server: FakeProvider) -> None:
        self.server = server
        self.clock = Clock()
        self.names: dict[str, list[Sequence[str]]] = {"example.com": [[PUBLIC]]}
        self.connects: list[tuple[str, int]] = []
        self.asked: list[str] = []
        self.unreachable: set[str] = set()
        self.hanging: list[Deferred[Sequence[str]]] = []

    def fetcher(self, tls_policy: IPolicyForHTTPS | None = None) -> GuardedFetch:
        """Return the product's fetch in this web."""
        return GuardedFetch(reactor=self, resolve=self.resolve, tls_policy=tls_policy)

    def serve(self, *scripts: Script) -> None:
        """Answer the next requests so."""
        self.server.scripts.extend(scripts)

    def resolve(self, host: str) -> Deferred[Sequence[str]]:
        self.asked.append(host)
        answers = self.names.get(host)
        if answers is None:
            return fail(socket.gaierror("no such name"))
        if not answers:
            self.hanging.append(Deferred())
            return self.hanging[-1]
        return succeed(answers.pop(0) if len(answers) > 1 else answers[0])

    # -- for the fetch this is the reactor

    def connectTCP(self, host: str, port: int, factory: Any, **options: Any) -> Any:
        self.connects.append((host, port))
        there = self.server.port if host not in self.unreachable else 1
        return reactor.connectTCP("127.0.0.1", there, factory, **options)

    def callLater(self, delay: float, *call: Any) -> Any:
        # TLS writes behind a delay of nothing.
        return (self.clock if delay else reactor).callLater(delay, *call)

    def seconds(self) -> float:
        return float(self.clock.seconds())


async def make_web(clean: None) -> AsyncIterator[Web]:
    """A web with a server on TCP; nothing may be left open behind it."""
    web = Web(await FakeProvider(reactor).listen())
    yield web
    await web.server.stop()
    assert web.clock.getDelayedCalls() == []


def page(body: bytes, content_type: str = "text/html", **headers: str) -> Script:
    """Return a script: *body* with its length."""
    fields = {"Content-Type": content_type, "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return [head(200, fields) + body]


def redirect(location: str, status: int = 302) -> Script:
    """Return a script: a redirect, in bytes as they are."""
    start = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nLocation: "
    return [start.encode() + location.encode("utf-8") + b"\r\n\r\n"]


def zipped(data: bytes) -> bytes:
    """Return *data* packed, the same each time."""
    return gzip.compress(data, mtime=0)


def chunked_page(*pieces: bytes) -> Script:
    """Return a script: a text in chunks, each its own write."""
    fields = {"Content-Type": "text/plain", "Transfer-Encoding": "chunked"}
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return [head(200, fields), *chunks, END_OF_CHUNKS]
