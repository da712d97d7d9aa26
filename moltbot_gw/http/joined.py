"""A channel that writes what belongs together in one piece."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers


class JoinedChannel(HTTPChannel):
    """Joins what belongs together before it is written.

    A head is thirty pieces and a chunk four, and Twisted's transports look at each by
    itself, which takes longer than the copying.  Between ``hold`` and ``release``, when
    an answer is whole as it begins, head and body are one piece, too.
    """

    transport: Any  # TCP or TLS
    _held: list[bytes] | None = None

    def hold(self) -> None:
        """Write nothing until ``release``."""
        self._held = []

    def release(self) -> None:
        """Write what was held; harmless when nothing was."""
        held, self._held = self._held, None
        if held:
            self.transport.write(b"".join(held))

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers
    ) -> None:
        lines = [
            b"%b: %b\r\n" % (name, value)
            for name, values in headers.getAllRawHeaders()
            for value in values
        ]
        head = b"%b %b %b\r\n%b\r\n" % (version, code, reason, b"".join(lines))
        self.write(head)

    def write(self, data: bytes) -> None:
        if self._held is None:
            self.transport.write(data)
        else:
            self._held.append(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))
