"""A WebSocket client that costs little: its own parser, no more than it needs."""

from __future__ import annotations

import json
import struct
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_PING, _PONG = 0x89, b"\x8a\x80\0\0\0\0"
_CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
_CONNECT = {
    "minProtocol": 3,
    "maxProtocol": 3,
    "client": {"id": "test", "version": "1", "platform": "linux", "mode": "test"},
}


class Socket(Protocol):
    """One client; the answer to its ``connect`` has the id ``c``."""

    transport: Any

    def __init__(self, token: str) -> None:
        self._token = token
        self._pieces: list[bytes] = []
        self._size = 0
        self._head = False
        self._parts: list[bytes] = []
        self.lost = False

    def connectionMade(self) -> None:
        self.transport.write(_HANDSHAKE)
        self.request("c", "connect", {**_CONNECT, "auth": {"token": self._token}})

    def request(self, frame_id: str, method: str, params: Any) -> None:
        """Call *method*."""
        frame = {"type": "req", "id": frame_id, "method": method, "params": params}
        data = json.dumps(frame).encode()
        if len(data) < 126:
            head = struct.pack("!BB", 0x81, 0x80 | len(data))
        else:
            head = struct.pack("!BBH", 0x81, 0xFE, len(data))
        self.transport.write(head + b"\0\0\0\0" + data)

    def close(self) -> None:
        """Say that we go; the gateway closes."""
        self.transport.write(_CLOSE)

    def message(self, payload: bytes) -> None:
        """Take the JSON of one message; to be overridden."""

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
                    self.message(b"".join(self._parts))
                    self._parts = []
            at = stop
        rest = data[at:]
        self._pieces = [rest] if rest else []
        self._size = len(rest)

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
