"""Write the configuration file: whole or not at all, one writer at a time.

The text goes to a temporary file beside the target, is on the disk before the target
is replaced, and the target never is half of anything.  The previous texts stay as
``.bak``, ``.bak.1`` to ``.bak.4``.  A kernel lock on ``<name>.lock`` keeps the command
line and the gateway apart; it dies with its holder.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .edit import HASH_CHANGED
from .issues import ConfigError
from .reading import hash_of
from .refusal import EditRefused
from .source import find_text

BACKUPS = 5
BUSY = "the configuration is being written by another process; try again"


def write_config(path: Path, text: str, *, expected_hash: str) -> None:
    """Make *text* the content of *path*, 0600, in a folder that is made 0700.

    A symbolic link is followed.  *expected_hash* is that of the text that is to be
    replaced (of the empty text for no file).  Raises `EditRefused` when the file has
    another content by now, when another writer is at work, and when the disk refuses;
    the file then is as it was.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target):
            _replace(target, text, expected_hash)
    except OSError as exc:
        raise EditRefused(f"cannot write the configuration: {exc.strerror}") from None


def _replace(target: Path, text: str, expected_hash: str) -> None:
    try:
        before = find_text(target)
    except ConfigError as exc:
        raise EditRefused("cannot read the configuration", exc.issues) from None
    if hash_of(before) != expected_hash:
        raise EditRefused(HASH_CHANGED)
    _remove_leftovers(target)
    owner = None
    if before is not None:
        owner = target.stat()
        if not stat.S_ISREG(owner.st_mode):
            raise EditRefused("the configuration is not a regular file")
    try:
        new = _written(target, text, owner)
        if before is not None:
            _back_up(target, before, owner)
        os.replace(new, target)
    except BaseException:
        _remove_leftovers(target)
        raise
    with suppress(OSError):  # the file is in its place; some disks cannot sync folders
        _sync_folder(target.parent)


def _back_up(target: Path, text: str, owner: os.stat_result | None) -> None:
    """Keep *text* as the youngest backup and drop the oldest."""
    names = [_beside(target, ".bak")]
    names += [_beside(target, f".bak.{number}") for number in range(1, BACKUPS)]
    copy = _written(target, text, owner)
    for older, younger in zip(reversed(names), reversed(names[:-1]), strict=False):
        with suppress(FileNotFoundError):
            os.replace(younger, older)
    os.replace(copy, names[0])


def _written(target: Path, text: str, owner: os.stat_result | None) -> Path:
    """Return a temporary file with *text*, which is on the disk."""
    path = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        if owner is not None and os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    return path


def _remove_leftovers(target: Path) -> None:
    """Remove what a failure has left; the lock says that nobody else is writing."""
    prefix = f".{target.name}."
    for entry in target.parent.iterdir():
        if entry.name.startswith(prefix) and entry.name.endswith(".tmp"):
            entry.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(_beside(target, ".lock"), flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EditRefused(BUSY) from None
        yield
    finally:
        os.close(descriptor)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)
