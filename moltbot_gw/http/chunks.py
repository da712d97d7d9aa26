"""Chunked bodies, stricter than Twisted reads them."""

from __future__ import annotations

from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

MAX_CHUNK_SIZE_DIGITS = 8


class StrictChunks(_ChunkedTransferDecoder):
    """Refuses a chunk size line at once where Twisted would wait for its end."""

    def _dataReceived_CHUNK_LENGTH(self) -> bool:
        line = bytes(self._buffer[: MAX_CHUNK_SIZE_DIGITS + 1])
        newline = self._buffer.find(b"\n")
        if newline != -1 and self._buffer[newline - 1 : newline] != b"\r":
            raise _MalformedChunkedDataError("a bare LF ends the chunk size")
        digits = line.partition(b";")[0].partition(b"\r")[0]
        if len(digits) > MAX_CHUNK_SIZE_DIGITS:
            raise _MalformedChunkedDataError("the chunk size is too long")
        return bool(super()._dataReceived_CHUNK_LENGTH())
