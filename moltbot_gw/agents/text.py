"""The words of a run, kept once, small, and readable from any place."""

from __future__ import annotations

import zlib
from sys import getsizeof

import msgspec

BLOCK_CHARS = 16 * 1024
"""Characters in one sealed block, and the most that one ``read`` returns."""

_SEAL_AT = 3 * BLOCK_CHARS
# Kernel buffers of a client that stops reading still swallow megabytes before anybody
# is paused, and a session needs the whole text at the end.  Level 1 costs about a
# millisecond a block, and only answers longer than _SEAL_AT ever pay it.
_LEVEL = 1


class PackedText(msgspec.Struct, frozen=True, gc=False):
    """The text of a ``TextSegment`` that does not grow any more."""

    blocks: tuple[bytes, ...]
    tail: str

    @property
    def footprint(self) -> int:
        """How many bytes of memory it takes."""
        return sum(map(getsizeof, (*self.blocks, self.tail)))


_NOTHING = PackedText((), "")


class TextSegment:
    """Text that grows at its end and is read from any offset.

    What must hold: no copy per reader, no memory for reading late, reading at the end
    costs only the unread pieces.  Recent text lies as the pieces that came; older text
    is sealed into compressed blocks of exactly ``BLOCK_CHARS`` characters, so that an
    offset names its block.  Rejected: a temporary file (another descriptor per run, and
    a disk that can be full), a list of all pieces (a hundred bytes for each token).
    """

    def __init__(self, packed: PackedText = _NOTHING) -> None:
        """Begin with what was *packed*, if anything."""
        self._blocks = list(packed.blocks)
        self._pieces = [packed.tail] if packed.tail else []
        self._tail_chars = len(packed.tail)
        self._length = len(packed.blocks) * BLOCK_CHARS + len(packed.tail)

    def __len__(self) -> int:
        """Return how many characters there are."""
        return self._length

    def append(self, text: str) -> None:
        """Add *text* at the end."""
        self._pieces.append(text)
        self._length += len(text)
        self._tail_chars += len(text)
        if self._tail_chars >= _SEAL_AT:
            self._seal()

    def read(self, offset: int, max_chars: int) -> str:
        """Return what stands at *offset*, at most *max_chars* characters of it.

        May return less than there is; empty exactly when *offset* is the end.
        """
        sealed = len(self._blocks) * BLOCK_CHARS
        if offset < sealed:
            index, start = divmod(offset, BLOCK_CHARS)
            block = zlib.decompress(self._blocks[index]).decode("utf-8")
            return block[start : start + max_chars]
        unread = self._length - offset
        if self._pieces and unread == len(self._pieces[-1]) <= max_chars:
            return self._pieces[-1]
        return self._read_tail(unread, max_chars)

    def whole(self) -> str:
        """Return all of it; as large as it is, so only for the end of a run."""
        blocks = [zlib.decompress(block).decode("utf-8") for block in self._blocks]
        return "".join(blocks + self._pieces)

    def packed(self) -> PackedText:
        """Return it for keeping; what is compressed is shared."""
        return PackedText(tuple(self._blocks), "".join(self._pieces))

    def _read_tail(self, unread: int, max_chars: int) -> str:
        first, size = len(self._pieces), 0
        while size < unread:
            first -= 1
            size += len(self._pieces[first])
        text = "".join(self._pieces[first:])
        start = size - unread
        return text[start : start + max_chars]

    def _seal(self) -> None:
        text = "".join(self._pieces)
        start = 0
        while len(text) - start > 2 * BLOCK_CHARS:
            block = text[start : start + BLOCK_CHARS].encode("utf-8")
            self._blocks.append(zlib.compress(block, _LEVEL))
            start += BLOCK_CHARS
        self._pieces = [text[start:]]
        self._tail_chars = len(text) - start
