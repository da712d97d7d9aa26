"""Clients that do not read: told apart from slow ones, and cut."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

SEND_BUFFER_BYTES = 128 * 1024
"""Of the kernel, for each client.  More is of no use for streams of text, holds
megabytes for who does not read, and hides a slow reader's progress for minutes."""


def limit_send_buffer(transport: Any) -> None:
    """Give the socket of *transport* a send buffer of ``SEND_BUFFER_BYTES``."""
    connection = getattr(_tcp_of(transport), "socket", None)
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


class StallWatch:
    """Ends a connection whose client has taken nothing for *seconds*.

    *on_stall* does that; without it the transport is aborted.

    A client that reads slowly is not a stalled one, but the transport says nothing
    before it has got rid of everything; so each time that the timer rings, what still
    lies here is compared with what lay here before.
    """

    def __init__(
        self,
        transport: Any,
        clock: IReactorTime,
        seconds: float,
        on_stall: Callable[[], None] | None = None,
    ) -> None:
        self._transport = transport
        self._on_stall: Callable[[], None] | None = (
            on_stall or transport.abortConnection
        )
        self._clock = clock
        self._seconds = seconds
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """There is something to be taken; harmless while it is watched already."""
        if self._timer is None and self._on_stall is not None:
            unsent = _unsent_bytes(self._transport)
            self._timer = self._clock.callLater(self._seconds, self._ring, unsent)

    def stop(self) -> None:
        """It has been taken, or nobody waits for that any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """The connection is lost: watch never again, and be in no circle with it."""
        self.stop()
        self._transport = self._on_stall = None

    def _ring(self, before: int) -> None:
        self._timer = None
        if _unsent_bytes(self._transport) < before:
            self.start()
        elif self._on_stall is not None:
            self._on_stall()


def _unsent_bytes(transport: Any) -> int:
    """Return how much was written to *transport* and lies in this process still.

    Twisted has no public name for it.
    """
    tcp = _tcp_of(transport)
    written = len(getattr(tcp, "dataBuffer", b"")) - getattr(tcp, "offset", 0)
    return int(written + getattr(tcp, "_tempDataLen", 0))


def _tcp_of(transport: Any) -> Any:
    """Return the TCP transport below TLS, where the encrypted bytes lie, or itself."""
    return getattr(transport, "transport", transport)
