"""What ``read``, ``write`` and ``edit`` do, in a thread: from a jail to a result."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

from moltbot_gw.messages import ImagePart, TextPart
from moltbot_gw.tooling import ToolFailed, ToolResult
from moltbot_gw.tools.editing import replaced
from moltbot_gw.tools.jail import Jail
from moltbot_gw.tools.paths import shown
from moltbot_gw.tools.reading import MAX_BYTES, Window, read_window, refuse_binary
from moltbot_gw.tools.storage import Locks, open_file, replace_file
from moltbot_gw.wire.pictures import START_BYTES, picture_type, picture_url

MAX_WRITE_BYTES = 10 * 1024 * 1024
"""Largest file that is written or edited."""

MAX_PICTURE_BYTES = 5 * 1024 * 1024


def read_file(jail: Jail, path: str, first: int, most_lines: int) -> ToolResult:
    """Return lines of the file *path*, or the picture that it is.

    Raises ``ToolFailed`` and ``OSError``, as all of these.
    """
    with jail.place_of(path) as place, open_file(place) as file:
        start = file.read(START_BYTES)
        file.seek(0)
        mime = picture_type(start)
        if mime is not None:
            return _picture(path, mime, file)
        window = read_window(file, first, most_lines)
    return ToolResult(
        content=_with_notes(window),
        details={
            "path": path,
            "firstLine": window.first,
            "lastLine": window.last,
            "totalLines": window.total,
        },
    )


def write_file(
    jail: Jail, path: str, data: bytes, locks: Locks, check: Callable[[], None]
) -> ToolResult:
    """Make or replace the file *path*, unless *check* raises before it is there."""
    _check_size(len(data))
    with jail.place_of(path, make=True) as place, locks.hold(place):
        is_new = replace_file(place, data, check)
    return ToolResult(
        content=f"{'Made' if is_new else 'Replaced'} {shown(path)}: {len(data)} bytes.",
        details={"path": path, "bytes": len(data), "created": is_new},
    )


def edit_file(
    jail: Jail,
    path: str,
    change: tuple[str, str],
    locks: Locks,
    check: Callable[[], None],
) -> ToolResult:
    """Replace the first of *change* in the file *path* by the second.

    Bytes that are no UTF-8 stay as they are.
    """
    with jail.place_of(path) as place, locks.hold(place):
        with open_file(place) as file:
            _check_size(os.fstat(file.fileno()).st_size)
            before = file.read(MAX_WRITE_BYTES)
        refuse_binary(before)
        text, line = replaced(before.decode("utf-8", "surrogateescape"), *change)
        after = text.encode("utf-8", "surrogateescape")
        _check_size(len(after))
        replace_file(place, after, check)
    return ToolResult(
        content=f"Replaced the passage in {shown(path)}, line {line}.",
        details={"path": path, "firstChangedLine": line},
    )


def _check_size(size: int) -> None:
    if size > MAX_WRITE_BYTES:
        raise ToolFailed(
            f"path: the file would have {size} bytes; this tool changes files of up "
            f"to {MAX_WRITE_BYTES}."
        )


def _picture(path: str, mime: str, file: BinaryIO) -> ToolResult:
    data = file.read(MAX_PICTURE_BYTES + 1)
    if len(data) > MAX_PICTURE_BYTES:
        raise ToolFailed(
            f"path: the picture is larger than {MAX_PICTURE_BYTES} bytes; make it "
            "smaller first."
        )
    text = TextPart(f"{shown(path)} is a picture ({mime}, {len(data)} bytes).")
    return ToolResult(
        content=(text, ImagePart(picture_url(mime, data))),
        details={"path": path, "mimeType": mime, "bytes": len(data)},
    )


def _with_notes(window: Window) -> str:
    """Return the text, and in brackets what a reader must know of it."""
    notes = []
    if window.total == 0:
        notes.append("The file is empty.")
    if not window.is_utf8:
        notes.append("Bytes that are no UTF-8 are shown as \ufffd.")
    if window.is_cut:
        notes.append(f"Line {window.first} has more than {MAX_BYTES} bytes and is cut.")
    if window.has_more:
        total = "more" if window.total is None else window.total
        notes.append(
            f"Lines {window.first} to {window.last} of {total}; go on with "
            f"offset={window.last + 1}."
        )
    if not notes:
        return window.text
    gap = "" if not window.text else "\n" if window.text.endswith("\n") else "\n\n"
    return f"{window.text}{gap}[{' '.join(notes)}]"
