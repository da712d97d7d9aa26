"""The clients of the soak: one HTTP connection, one WebSocket."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from benchmarks.processes import TOKEN
from benchmarks.sockets import Socket

reactor: Any = _reactor

PATIENCE = 30.0
"""Seconds that anything may take; much more than any time-out of the configuration."""


class Wrong(Exception):
    """An answer was not what it should be."""


class Client(Protocol):
    """One HTTP connection: collects what comes while it reads."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.closed: Deferred[None] = Deferred()
        self._first: Deferred[None] | None = Deferred()

    def when_first(self) -> Deferred[None]:
        """Fire at the first bytes, or when the connection is lost."""
        assert self._first is not None
        return self._first

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._begin()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._begin()
        self.closed.callback(None)

    def _begin(self) -> None:
        first, self._first = self._first, None
        if first is not None:
            first.callback(None)

    @property
    def status(self) -> int:
        """The answer's status; 0 if there is none."""
        line = bytes(self.received[:12])
        return int(line[9:]) if line.startswith(b"HTTP/1.1 ") else 0

    def body(self) -> bytes:
        """Return the body, joined if it came in chunks; raise if it is cut."""
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        if b"\r\ntransfer-encoding: chunked" not in head.lower():
            return rest
        parts: list[bytes] = []
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16) if size else -1
            if length < 0 or len(rest) < length + 2:
                raise Wrong("the answer is cut")
            if not length:
                return b"".join(parts)
            parts.append(rest[:length])
            rest = rest[length + 2 :]


def sleep(seconds: float) -> Deferred[None]:
    """Return after *seconds*."""
    return deferLater(reactor, seconds)


class Watcher(Socket):
    """A WebSocket client that waits for the answers to its calls."""

    def __init__(self) -> None:
        super().__init__(TOKEN)
        self.closed: Deferred[None] = Deferred()
        self._waiting: dict[str, Deferred[Any]] = {}
        self._early: dict[str, Any] = {}

    def ask(self, frame_id: str, method: str, params: Any) -> Deferred[Any]:
        """Call *method*; return its first answer."""
        self.request(frame_id, method, params)
        return self.answer(frame_id)

    def answer(self, frame_id: str) -> Deferred[Any]:
        """Return the next answer to *frame_id*."""
        waiting: Deferred[Any] = Deferred()
        self._waiting[frame_id] = waiting
        if frame_id in self._early:
            self._resolve(frame_id, self._early.pop(frame_id))
        return waiting.addTimeout(PATIENCE, reactor)

    def message(self, payload: bytes) -> None:
        if payload.startswith(b'{"type":"res"'):
            answer = json.loads(payload)
            if answer["id"] in self._waiting:
                self._resolve(answer["id"], answer)
            else:
                self._early[answer["id"]] = answer

    def _resolve(self, frame_id: str, answer: Any) -> None:
        waiting = self._waiting.pop(frame_id)
        if waiting.called:
            return
        if answer["ok"]:
            waiting.callback(answer.get("payload"))
        else:
            waiting.errback(Wrong(f"{frame_id}: {answer['error']}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        for waiting in self._waiting.values():
            if not waiting.called:
                waiting.errback(Wrong("the gateway has closed the WebSocket"))
        self.closed.callback(None)
