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
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO

from benchmarks.sockets import Socket

reactor: Any = _reactor

READ_ON_SECONDS = 3.0


class Listener(Socket):
    """One client, who counts the characters of each run."""

    def __init__(self, crowd: Crowd, stalls: bool) -> None:
        super().__init__(crowd.token)
        self._crowd = crowd
        self._stalls = stalls
        self.chars: dict[str, int] = {}

    def message(self, payload: bytes) -> None:
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
