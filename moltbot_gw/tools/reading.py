"""A few lines of a file that may be huge, as text for a model."""

from __future__ import annotations

import codecs
import os
from typing import BinaryIO

import attrs

from moltbot_gw.tooling import ToolFailed

MAX_LINES = 2000
MAX_BYTES = 50 * 1024
"""Of text, in one answer."""

MAX_SCAN_BYTES = 64 * 1024 * 1024
"""As far lines are counted."""

_BLOCK = 64 * 1024
BOM = "\ufeff"


@attrs.frozen(kw_only=True)
class Window:
    """Whole lines of a file, or the beginning of one that is too long.

    *first* and *last* are numbers from 1, both included; an empty file has 1 and 0.
    *total* is None for a file with more than ``MAX_SCAN_BYTES``.
    """

    text: str
    first: int
    last: int
    total: int | None
    is_cut: bool
    is_utf8: bool

    @property
    def has_more(self) -> bool:
        """Say whether lines follow."""
        return self.total is None or self.last < self.total


def read_window(file: BinaryIO, first: int, most_lines: int) -> Window:
    """Return at most *most_lines* lines of *file* from line *first*.

    It is read from its present place, its beginning.  Raises ``ToolFailed``.
    """
    skipped = _skip_lines(file, first - 1)
    start = file.tell()
    # One byte more shows whether the last line is whole.
    block = file.read(MAX_BYTES + 1)
    if first > 1 and (skipped < first - 1 or not block):
        raise ToolFailed(_beyond(file, first, skipped, start))
    refuse_binary(block)
    data = _whole_lines(block, most_lines)
    is_cut = len(block) > MAX_BYTES and not data
    if is_cut:
        data = block[:MAX_BYTES]
    last = first - 1 + max(_count_lines(data), int(is_cut))
    file.seek(start + len(data))
    if is_cut:
        _skip_lines(file, 1)
    text, is_utf8 = _decode(data, is_whole=not is_cut)
    return Window(
        text=text.removeprefix(BOM) if first == 1 else text,
        first=first,
        last=last,
        total=_count_rest(file, last),
        is_cut=is_cut,
        is_utf8=is_utf8,
    )


def refuse_binary(data: bytes) -> None:
    """Raise ``ToolFailed`` if *data* is no text."""
    if b"\0" in data:
        raise ToolFailed("path: the file is binary; this tool knows text only.")


def _beyond(file: BinaryIO, first: int, skipped: int, size: int) -> str:
    """Say why there is no line *first*, when *skipped* lines fill *size* bytes."""
    file.seek(size)
    if file.read(1):
        return f"offset: line {first} lies too far behind; use a command instead."
    file.seek(max(0, size - 1))
    lines = skipped + (file.read(1) not in (b"", b"\n"))
    return f"offset: {first} is behind the end; the file has {lines} lines."


def _skip_lines(file: BinaryIO, number: int) -> int:
    """Move behind *number* line ends; return how many there were."""
    found = 0
    while found < number and file.tell() < MAX_SCAN_BYTES:
        block = file.read(_BLOCK)
        if not block:
            break
        ends = block.count(b"\n")
        if found + ends < number:
            found += ends
            continue
        end = -1
        for _ in range(number - found):
            end = block.index(b"\n", end + 1)
        file.seek(end + 1 - len(block), os.SEEK_CUR)
        found = number
    return found


def _whole_lines(block: bytes, most: int) -> bytes:
    """Return up to *most* lines that begin *block* and are complete in it."""
    end = 0
    for _ in range(most):
        next_end = block.find(b"\n", end, MAX_BYTES) + 1
        if not next_end:
            return block if len(block) <= MAX_BYTES else block[:end]
        end = next_end
    return block[:end]


def _count_lines(data: bytes) -> int:
    return data.count(b"\n") + (data[-1:] not in (b"", b"\n"))


def _count_rest(file: BinaryIO, before: int) -> int | None:
    """Return *before* and the number of lines from here to the end."""
    last = b"\n"
    while block := file.read(_BLOCK):
        before += block.count(b"\n")
        last = block[-1:]
        if file.tell() > MAX_SCAN_BYTES:
            return None
    return before + (last != b"\n")


def _decode(data: bytes, *, is_whole: bool) -> tuple[str, bool]:
    """Return the text of *data*, and whether it was UTF-8.

    What is not whole may end inside a character, which is left out.
    """
    try:
        return _text(data, "strict", is_whole=is_whole), True
    except UnicodeDecodeError:
        return _text(data, "replace", is_whole=is_whole), False


def _text(data: bytes, errors: str, *, is_whole: bool) -> str:
    return codecs.getincrementaldecoder("utf-8")(errors).decode(data, final=is_whole)
