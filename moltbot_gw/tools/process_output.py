"""What a command prints: the end of it is kept, however much there is."""

from __future__ import annotations

import codecs

MAX_OUTPUT_CHARS = 200_000
_MAX_PIECES = 1024


class Output:
    """The last *max_chars* characters; at most twice as many are held meanwhile.

    Bytes are read as UTF-8, with U+FFFD for what is none; terminal codes stay.
    """

    def __init__(self, max_chars: int = MAX_OUTPUT_CHARS) -> None:
        self._max_chars = max_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces: list[str] = []
        self._held = 0
        self.total = 0
        """How many characters have come, those included that are not kept."""

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Take what was printed, cut anywhere; *final* when nothing more can come."""
        text = self._decoder.decode(data, final)
        if not text:
            return
        self._pieces.append(text)
        self._held += len(text)
        self.total += len(text)
        if self._held > 2 * self._max_chars or len(self._pieces) > _MAX_PIECES:
            self._trim()

    @property
    def text(self) -> str:
        """What is kept."""
        self._trim()
        return "".join(self._pieces)

    def tail(self, chars: int) -> str:
        """Return the last *chars* characters at most."""
        return self.text[-chars:]

    def since(self, position: int) -> str:
        """Return what came after the first *position* characters and is kept."""
        new = self.total - position
        return self.text[-new:] if new else ""

    def _trim(self) -> None:
        text = "".join(self._pieces)[-self._max_chars :]
        self._pieces = [text] if text else []
        self._held = len(text)
