"""The body of an answer: counted, unpacked, kept in memory."""

from __future__ import annotations

import zlib

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from moltbot_gw.fetching.values import FetchError, FetchFailed

_GZIP = 16 + zlib.MAX_WBITS


class Unpacking:
    """Keeps a body of at most *max_bytes*, as it is sent and as it unpacks.

    *encoding* is the value of ``Content-Encoding``; ``gzip`` is all that we ask for.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise FetchFailed("The answer is compressed in a way nobody asked for.")
        self._packed = encoding.endswith("gzip")
        self._unzip = zlib.decompressobj(_GZIP)
        self._max = max_bytes
        self._taken = 0
        self._kept = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next piece; raise ``FetchFailed`` if it is too much or damaged."""
        self._taken += len(data)
        if self._taken > self._max:
            raise too_large(self._max)
        if not self._packed:
            self._kept += data
            return
        try:
            self._unpack(data)
        except zlib.error:
            raise FetchFailed("The answer is compressed, and damaged.") from None

    def _unpack(self, data: bytes) -> None:
        while data:
            if self._unzip.eof:  # a file of gzip may have several members
                self._unzip = zlib.decompressobj(_GZIP)
            room = self._max - len(self._kept)
            self._kept += self._unzip.decompress(data, room + 1)
            if len(self._kept) > self._max:
                raise too_large(self._max)
            data = self._unzip.unused_data

    def whole(self) -> bytes:
        """Return all of it; raise ``FetchFailed`` if the packed part has no end."""
        if self._packed and self._taken and not self._unzip.eof:
            raise FetchFailed("The answer is compressed, and cut off.")
        return bytes(self._kept)


class BodyReader(Protocol):
    """Reads one body into *unpacking*; *done* fires with all of it."""

    def __init__(self, unpacking: Unpacking) -> None:
        self._unpacking = unpacking
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        try:
            self._unpacking.feed(data)
        except FetchError:
            self.done.errback()

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self.done.called:
            return
        assert reason is not None
        # A body without a length ends with its connection (PotentialDataLoss): nobody
        # can tell whether that is all, and pages of old servers come so.
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.done.errback(FetchFailed("The answer was cut off."))
            return
        try:
            self.done.callback(self._unpacking.whole())
        except FetchError:
            self.done.errback()


def too_large(max_bytes: int) -> FetchFailed:
    return FetchFailed(f"The answer is larger than {max_bytes} bytes.")
