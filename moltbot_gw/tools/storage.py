"""Regular files at a place: opened without a trap, replaced whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import BinaryIO

from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.jail import Place, identity

LOCK_PATIENCE = 30.0
"""Seconds that a change waits for others of the same file."""

_CALM = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""A pipe does not block, a terminal takes nothing over, a link is not followed."""


class Locks:
    """One change of a file at a time, whatever names lead to it.

    A fixed number of locks is shared by all files: nothing grows, and two files that
    share one only wait for each other.
    """

    def __init__(self, number: int = 64) -> None:
        self._locks = tuple(Lock() for _ in range(number))

    @contextmanager
    def hold(self, place: Place) -> Iterator[None]:
        """Keep other changes of the file at *place* out; blocks, in a thread."""
        key = (identity(os.fstat(place.folder)), place.name)
        lock = self._locks[hash(key) % len(self._locks)]
        if not lock.acquire(timeout=LOCK_PATIENCE):
            raise ToolFailed("path: other calls are changing this file; try again.")
        try:
            yield
        finally:
            lock.release()


@contextmanager
def open_file(place: Place) -> Iterator[BinaryIO]:
    """Open the regular file at *place* to read it; raise ``ToolFailed``, ``OSError``.

    One with several names is refused: the others may be outside of the roots, and
    whoever made this one (unpacking an archive is enough) need not have read it.
    """
    _find_regular(place)
    descriptor = os.open(place.name, os.O_RDONLY | _CALM, dir_fd=place.folder)
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        _check(place, info)
        if info.st_nlink > 1:
            raise ToolFailed(
                "path: the file has several names (hard links), and the others may be "
                "outside of the workspace; copy it first."
            )
        yield file


def replace_file(place: Place, data: bytes, check: Callable[[], None]) -> bool:
    """Put a file with *data* at *place*; say whether there was none before.

    It keeps the permissions of the one before it; other names of that one keep the old
    content.  *check* is called at the last moment and may raise; then, and after
    ``ToolFailed`` or ``OSError``, all is as it was.
    """
    old = _find_regular(place)
    if old is not None:
        # A file that may not be written is not replaced either.
        os.close(os.open(place.name, os.O_WRONLY | _CALM, dir_fd=place.folder))
    name = f".moltbot-{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CALM
    mode = 0o666 if old is None else 0o600
    descriptor = os.open(name, flags, mode, dir_fd=place.folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if old is not None:
                _keep_owner(descriptor, old)
        check()
        os.rename(name, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=place.folder)
        raise
    return old is None


def _find_regular(place: Place) -> os.stat_result | None:
    """Look before opening: a device may do something when it is opened."""
    try:
        info = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _check(place, info)
    return info


def _check(place: Place, info: os.stat_result) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise ToolFailed("path: it is a folder; name a file in it.")
    if not stat.S_ISREG(info.st_mode):
        raise ToolFailed("path: it is no regular file.")
    if place.is_forbidden(info):
        raise ToolFailed("path: this file belongs to the gateway and is not served.")


def _keep_owner(descriptor: int, old: os.stat_result) -> None:
    mode = old.st_mode & 0o777
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except PermissionError:
        # The group is another one now; what the old one might do is not for it.
        mode &= ~0o070
    os.fchmod(descriptor, mode)
