"""Small files that only their owner may read, written whole or not at all.

Every function blocks on the disk: call them from a thread, or where nothing else waits.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

_SUFFIX = ".tmp"


def read(path: Path, max_bytes: int) -> bytes | None:
    """Return what is in the file, None if there is none; raise ``OSError``.

    Of a longer file only *max_bytes* come, which no reader of JSON takes for whole.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes)
    except FileNotFoundError:
        return None


def write(path: Path, data: bytes) -> None:
    """Replace the file by one (0600) with *data*, which is on the disk on return.

    Missing folders are made (0700).  After an ``OSError`` the file is as it was.
    """
    _make_folder(path.parent)
    descriptor, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def clear_leftovers(folder: Path) -> None:
    """Remove what writes left that were cut off by a crash; nobody may write there."""
    for leftover in folder.glob(f".*{_SUFFIX}"):
        with suppress(OSError):
            leftover.unlink()


def set_aside(path: Path, now_ms: int) -> Path:
    """Rename a file that makes no sense, so that nothing overwrites it.

    Return its new place; raise ``OSError``.
    """
    aside = path.with_name(f"{path.name}.corrupt-{now_ms}")
    os.replace(path, aside)
    return aside


def _make_folder(folder: Path) -> None:
    # mkdir(parents=True) would give the parents the mode of the umask.
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
