"""WebSocket clients that listen to runs, or stop reading; all in one process.

``python -m benchmarks.listeners PORT TOKEN READERS STALLED RUNS TEXT LINGER PATIENCE``
connects them, prints a line, and starts RUNS runs with the message TEXT one after the
other when it reads a line.  LINGER seconds after every reader has seen the end of the
last one the stalled read what is left for them; then it prints JSON: how many readers
missed text, how many of the stalled were cut, and how many missed text without that.
It gives up after PATIENCE seconds.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

reactor: Any = _reactor

READ_ON_SECONDS = 3.0
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_PING, _PONG = 0x89, b"\x8a\x80\0\0\0\0"
_CONNECT = {
    "minProtocol": 3,
    "maxProtocol": 3,
    "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
}


class Listener(Protocol):
    """One client: its own parser, no more than it needs."""

    transport: Any

    def __init__(self, crowd: Crowd, stalls: bool) -> None:
        self._crowd = crowd
        self._stalls = stalls
        self._pieces: list[bytes] = []
        self._size = 0
        self._head = False
        self._parts: list[bytes] = []
        self.chars: dict[str, int] = {}
        self.lost = False

    def connectionMade(self) -> None:
        self.transport.write(_HANDSHAKE)
        self.request("c", "connect", {**_CONNECT, "auth": {"token": self._crowd.token}})

    def request(self, frame_id: str, method: str, params: Any) -> None:
        frame = {"type": "req", "id": frame_id, "method": method, "params": params}
        data = json.dumps(frame).encode()
        self.transport.write(
            struct.pack("!BBH", 0x81, 0xFE, len(data)) + b"\0\0\0\0" + data
        )

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= self._wanted():
            self._take(b"".join(self._pieces))

    def _wanted(self) -> int:
        """Return how many bytes make the next frame, as far as the first piece says."""
        first = self._pieces[0]
        if not self._head or len(first) < 10:
            return 0
        short = first[1] & 0x7F
        if short < 126:
            return 2 + short
        if short == 126:
            return 4 + int.from_bytes(first[2:4], "big")
        return 10 + int.from_bytes(first[2:10], "big")

    def _take(self, data: bytes) -> None:
        at = 0
        if not self._head:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head, at = True, end + 4
        while (bounds := _bounds(data, at)) is not None:
            start, stop = bounds
            if data[at] == _PING:
                self.transport.write(_PONG)
            if data[at] & 0x0F < 2:
                self._parts.append(data[start:stop])
                if data[at] & 0x80:
                    self._message(b"".join(self._parts))
                    self._parts = []
            at = stop
        rest = data[at:]
        self._pieces = [rest] if rest else []
        self._size = len(rest)

    def _message(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"event","event":"agent"'):
            event = json.loads(payload)["payload"]
            if event["stream"] == "assistant":
                run, delta = event["runId"], event["data"]["delta"]
                self.chars[run] = self.chars.get(run, 0) + len(delta)
            elif event["data"]["phase"] in ("end", "error"):
                self._crowd.ended(self, event["runId"])
        elif payload.startswith(b'{"type":"res","id":"c"'):
            assert b'"ok":true' in payload[:60], payload[:300]
            if self._stalls:
                self.transport.pauseProducing()
            self._crowd.ready()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


def _bounds(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at *at* starts and stops."""
    if len(data) < at + 2:
        return None
    short = data[at + 1] & 0x7F
    more = 2 if short == 126 else 8 if short == 127 else 0
    start = at + 2 + more
    if len(data) < start:
        return None
    size = int.from_bytes(data[at + 2 : start], "big") if more else short
    return (start, start + size) if len(data) >= start + size else None


class Crowd:
    """All listeners; the first reader starts the runs."""

    def __init__(
        self,
        *,
        token: str,
        readers: int,
        stalled: int,
        runs: int,
        text: str,
        linger: float,
    ) -> None:
        self.token = token
        self._text = text
        self._runs = runs
        self._linger = linger
        self.listeners = [Listener(self, False) for _ in range(readers)]
        self.stalled = [Listener(self, True) for _ in range(stalled)]
        self._waiting = readers + stalled
        self._run = -1
        self._left = 0

    def ready(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            print("ready", flush=True)

    def start_run(self) -> None:
        self._run += 1
        self._left = len(self.listeners)
        params = {
            "sessionKey": f"agent:main:bench-{self._run}",
            "message": self._text,
            "idempotencyKey": f"bench-{self._run}",
        }
        self.listeners[0].request(f"s{self._run}", "chat.send", params)

    def ended(self, listener: Listener, run: str) -> None:
        if listener in self.stalled:
            return
        self._left -= 1
        if self._left == 0:
            if self._run + 1 < self._runs:
                reactor.callLater(0, self.start_run)
            else:
                reactor.callLater(self._linger, self.read_on)

    def read_on(self) -> None:
        """Let those who stalled read what is left in their sockets."""
        for other in self.stalled:
            if not other.lost:
                other.transport.resumeProducing()
        reactor.callLater(READ_ON_SECONDS, self.report)

    def report(self) -> None:
        """Print what became of everybody."""
        texts = [tuple(sorted(x.chars.items())) for x in self.listeners]
        most = max(texts, key=lambda t: sum(n for _, n in t))
        late = [tuple(sorted(x.chars.items())) for x in self.stalled if not x.lost]
        print(
            json.dumps(
                {
                    "runs": self._run + 1,
                    "chars": sum(n for _, n in most),
                    "incomplete_readers": sum(text != most for text in texts),
                    "readers_lost": sum(x.lost for x in self.listeners),
                    "stalled_cut": sum(x.lost for x in self.stalled),
                    "incomplete_stalled": sum(text != most for text in late),
                }
            ),
            flush=True,
        )
        reactor.stop()


class _Starter(Protocol):
    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def dataReceived(self, data: bytes) -> None:
        self._crowd.start_run()


def main() -> None:
    """Connect everybody, a hundred at a time."""
    port, token = int(sys.argv[1]), sys.argv[2]
    readers, stalled, runs = (int(text) for text in sys.argv[3:6])
    linger, patience = (float(text) for text in sys.argv[7:9])
    crowd = Crowd(
        token=token,
        readers=readers,
        stalled=stalled,
        runs=runs,
        text=sys.argv[6],
        linger=linger,
    )
    endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
    for number, listener in enumerate([*crowd.listeners, *crowd.stalled]):
        reactor.callLater(number * 0.005, connectProtocol, endpoint, listener)
    StandardIO(_Starter(crowd))
    reactor.callLater(patience, reactor.stop)
    reactor.run()


if __name__ == "__main__":
    main()
