"""A client that costs little: raw keep-alive connections, fixed requests.

``python -m benchmarks.load PORT CLIENTS REQUESTS TOKEN STREAM`` prints a JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import ClientFactory, Protocol

reactor: Any = _reactor

TIME_LIMIT = 120.0


def request(token: str, *, stream: bool, text: str = "hi", length: int = 0) -> bytes:
    """Return the bytes of one completion request."""
    body: dict[str, Any] = {
        "model": "moltbot",
        "messages": [{"role": "user", "content": text}],
    }
    if stream:
        body["stream"] = True
    data = json.dumps(body).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (token.encode(), len(data), data)
    )


class Client(Protocol):
    """Sends a request, waits for the end of its answer, sends the next."""

    factory: Clients

    def connectionMade(self) -> None:
        self._buffer = b""
        self._next()

    def _next(self) -> None:
        transport: Any = self.transport
        if self.factory.left == 0:
            transport.loseConnection()
            return
        self.factory.left -= 1
        transport.write(self.factory.request)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"unexpected answer: {self._buffer[:500]!r}")
        if b"chunked" in head:
            done = rest.endswith(b"0\r\n\r\n")
        else:
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            done = len(rest) >= length
        if done:
            self._buffer = b""
            self.factory.done += 1
            self._next()

    def connectionLost(self, reason: Any = None) -> None:
        if self.factory.left > 0:
            # The proxy closes after each answer that has no length.
            reactor.connectTCP("127.0.0.1", self.factory.port, self.factory)
        elif self.factory.done >= self.factory.total and not self.factory.stopped:
            self.factory.stopped = True
            reactor.stop()


class Clients(ClientFactory):
    """Shares the count of requests that are left."""

    protocol = Client
    noisy = False

    def __init__(self, port: int, total: int, payload: bytes) -> None:
        self.port = port
        self.total = total
        self.left = total
        self.done = 0
        self.stopped = False
        self.request = payload


def main() -> None:
    """Run the load and print how many requests were answered in how many seconds."""
    port, clients, total = (int(text) for text in sys.argv[1:4])
    payload = request(sys.argv[4], stream=sys.argv[5] == "stream")
    factory = Clients(port, total, payload)
    for _ in range(clients):
        reactor.connectTCP("127.0.0.1", port, factory)
    reactor.callLater(TIME_LIMIT, reactor.stop)
    started = time.monotonic()
    reactor.run()
    seconds = time.monotonic() - started
    print(json.dumps({"done": factory.done, "seconds": seconds}))


if __name__ == "__main__":
    main()
