"""Opening the store's file: refuse what is not ours, bring what is ours up to date."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from twisted.logger import Logger

from moltbot_gw.sessions.faults import Unusable

_log = Logger()

_APPLICATION_ID = 1835165559  # "mbgw"
_OLDEST_SQLITE = (3, 37)  # STRICT tables

Identity = tuple[int, int]
"""Device and inode of a file."""


def open_writer(path: Path) -> sqlite3.Connection:
    """Return the connection that writes; make file and folder if there are none.

    Raises ``Unusable``, ``sqlite3.Error`` or ``OSError``; a file that is damaged or not
    ours is then as it was before.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise Unusable(
            "SQLite 3.37 or later is needed", f"SQLite is {sqlite3.sqlite_version}"
        )
    _make_private(path)
    with closing(_connect(path, "ro")) as inspector:
        version = _inspect(inspector)
    connection = _connect(path, "rw")
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=1000")
        connection.execute("PRAGMA foreign_keys=ON")
        for script in _scripts()[version:]:
            connection.executescript(script)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads; the writer must have opened the file."""
    connection = _connect(path, "rw")
    connection.execute("PRAGMA query_only=1")
    # In KiB.  What it reads once is seldom read again, and the system caches it too.
    connection.execute("PRAGMA cache_size=-512")
    return connection


def identity(path: Path) -> Identity | None:
    """Return which file *path* leads to, None if to none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open an existing file; each statement is its own transaction unless we say so."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=5.0,
        isolation_level=None,
    )
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def _make_private(path: Path) -> None:
    """Make sure that there is a file, and that only its owner can read it.

    Never opens a file that exists: closing it again would drop the locks that SQLite
    holds for this process (https://sqlite.org/howtocorrupt.html, section 2.2).
    """
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700)
    if path.exists():
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    folder_fd = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)
    _log.info("made an empty session store, {path}", path=str(path))


def _inspect(inspector: sqlite3.Connection) -> int:
    """Return the version of the schema, 0 for an empty file; refuse all but our own.

    *inspector* is read-only, so that its closing moves nothing from the WAL into a
    file that will be refused.
    """
    found = inspector.execute("PRAGMA application_id").fetchone()[0]
    version: int = inspector.execute("PRAGMA user_version").fetchone()[0]
    tables = inspector.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if (found, version, tables) == (0, 0, 0):
        return 0
    if found != _APPLICATION_ID:
        raise Unusable(
            "its file belongs to another program",
            f"application_id is {found}, with {tables} tables and indexes",
        )
    newest = len(_scripts())
    if version > newest:
        raise Unusable(
            "it was written by a newer version of this program",
            f"schema version is {version}, this program knows {newest}",
        )
    answer = inspector.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise Unusable("it is damaged", f"quick_check says: {answer}")
    return version


def _scripts() -> list[str]:
    """Return the schema files in their order; the first makes version 1."""
    folder = files("moltbot_gw.sessions") / "schema"
    found = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return [
        file.read_text("utf-8") for file in sorted(found, key=lambda file: file.name)
    ]
