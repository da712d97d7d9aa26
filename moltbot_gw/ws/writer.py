"""Messages of any size to a client of any speed.

A large message goes out in fragments (RFC 6455, section 5.4), each when the client has
taken those before it.  So what waits is a reference to bytes that all clients share,
and not a copy for each in its transport's buffer; and a ping or a close gets through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from moltbot_gw.ws.socket import Socket

FRAGMENT_BYTES = 32 * 1024

_Fragment = tuple[memoryview, bool, bool]
"""A piece of a message, and whether it is the first and the last one."""


class MessageWriter:
    """Sends messages one after the other over *socket*."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._large: deque[Iterator[_Fragment]] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether the client has not taken what was sent so far."""
        return self._socket.paused or bool(self._large)

    def send(self, *parts: bytes) -> None:
        """Send *parts* as one message, after those that are under way."""
        if not self.is_busy and sum(map(len, parts)) <= FRAGMENT_BYTES:
            self._socket.send(*parts)
        else:
            self._large.append(_fragments(parts))
            self.pump()

    def pump(self) -> None:
        """Go on with what is under way, as long as the client takes it."""
        while self._large and not self._socket.paused:
            fragment = next(self._large[0], None)
            if fragment is None:
                self._large.popleft()
            else:
                piece, is_first, is_last = fragment
                self._socket.send_fragment(piece, is_first=is_first, is_last=is_last)

    def clear(self) -> None:
        """Forget what is under way."""
        self._large.clear()


def _fragments(parts: tuple[bytes, ...]) -> Iterator[_Fragment]:
    pieces = [
        memoryview(part)[start : start + FRAGMENT_BYTES]
        for part in parts
        for start in range(0, len(part), FRAGMENT_BYTES)
    ]
    for number, piece in enumerate(pieces):
        yield piece, number == 0, number == len(pieces) - 1
