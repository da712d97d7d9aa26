"""A channel whose heads and chunks are one piece each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers


class JoinedChannel(HTTPChannel):
    """Joins what belongs together before it is written.

    A head is thirty pieces and a chunk four, and Twisted's transports look at each by
    itself, which takes longer than the copying.
    """

    transport: Any  # TCP or TLS

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers
    ) -> None:
        lines = [
            b"%b: %b\r\n" % (name, value)
            for name, values in headers.getAllRawHeaders()
            for value in values
        ]
        head = b"%b %b %b\r\n%b\r\n" % (version, code, reason, b"".join(lines))
        self.transport.write(head)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.transport.write(b"".join(iovec))
