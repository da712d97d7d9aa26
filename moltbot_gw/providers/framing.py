"""The framing of one answer's body: where it ends, and what in it is the body itself.

What a read brings comes out in one piece, however many chunks it has: providers send
one for each word, a busy reader gets hundreds of them at once, and each piece has a
long way to go.  The chunks are taken apart by Twisted.

Source: RFC 9112, section 6.
"""

from __future__ import annotations

import re

from twisted.web.http import (
    _ChunkedTransferDecoder,
    _IdentityTransferDecoder,
    _MalformedChunkedDataError,
)
from twisted.web.http_headers import Headers

_LENGTH = re.compile(rb"[0-9]{1,15}")
_NO_BODY = frozenset({204, 304})


class BadAnswer(Exception):
    """What the provider sent is not HTTP/1.1, or too long to be believed."""


class Framing:
    """Takes the framing off one body, read by read.

    *length* is that of the body, None if nobody has told.  *error* is what is wrong
    with the framing; nothing more can be read then.
    """

    def __init__(self, length: int | None, *, chunked: bool) -> None:
        self.length = length
        self.ends_by_closing = length is None and not chunked
        self.error: Exception | None = None
        # Lists, not methods of ours: they would close a circle with the decoder.
        self._pieces: list[bytes] = []
        self._rests: list[bytes] = [b""] if length == 0 else []
        self._decoder: _ChunkedTransferDecoder | _IdentityTransferDecoder
        if chunked:
            self._decoder = _ChunkedTransferDecoder(
                self._pieces.append, self._rests.append
            )
        else:
            self._decoder = _IdentityTransferDecoder(
                length, self._pieces.append, self._rests.append
            )

    @property
    def rest(self) -> bytes | None:
        """What came behind the body's end; None before that."""
        return self._rests[0] if self._rests else None

    def feed(self, data: bytes) -> bytes:
        """Return what *data*, not empty, holds of the body; nothing after its end."""
        try:
            self._decoder.dataReceived(data)
        except _MalformedChunkedDataError as error:
            # Its traceback would hold us, too.
            self.error = error.with_traceback(None)
        pieces = self._pieces
        found = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return found


def framing_of(code: int, headers: Headers) -> Framing:
    """Return the framing of an answer with this status; raise ``BadAnswer``."""
    encodings = headers.getRawHeaders(b"Transfer-Encoding", ())
    lengths = set(headers.getRawHeaders(b"Content-Length", ()))
    if code in _NO_BODY:
        return Framing(0, chunked=False)
    if encodings:
        if len(encodings) != 1 or encodings[0].lower() != b"chunked":
            raise BadAnswer("the transfer encoding is not chunked")
        if lengths:
            raise BadAnswer("the body has two lengths")
        return Framing(None, chunked=True)
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise BadAnswer("the content length is malformed")
    return Framing(int(lengths.pop()) if lengths else None, chunked=False)
