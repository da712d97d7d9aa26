"""What can be wrong with the storage, told once: to the client, to the log, to us."""

from __future__ import annotations

import errno
import sqlite3

from moltbot_gw.errors import StoreFailed

# Primary result codes, https://sqlite.org/rescode.html; the names came with 3.11.
_BUSY, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 8, 10, 11, 13, 14, 26

_REASONS = {
    _BUSY: "another program has locked it",
    _READONLY: "it is read-only",
    _IOERR: "the disk reports errors",
    _CORRUPT: "it is damaged",
    _FULL: "the disk is full",
    _CANTOPEN: "its file cannot be opened",
    _NOTADB: "it is damaged",
}

# Python 3.10 tells only these texts of sqlite3_errstr().
_TEXTS = {
    "database is locked": _BUSY,
    "readonly database": _READONLY,
    "disk I/O error": _IOERR,
    "malformed": _CORRUPT,
    "disk is full": _FULL,
    "unable to open database file": _CANTOPEN,
    "file is not a database": _NOTADB,
}

_ERRNOS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READONLY,
    errno.EIO: _IOERR,
}

# After these the connection knows nothing useful any more.
_LOST = frozenset({_READONLY, _IOERR, _CORRUPT, _CANTOPEN, _NOTADB})


class Unusable(Exception):
    """The file is not a store that we can use.

    *reason* is for clients and completes "The session store ...: "; *detail* is for
    the log.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class TranscriptDamaged(StoreFailed):
    """The entry *seq* of a stored conversation is not what was written, or is gone."""

    def __init__(self, session_id: str, seq: int) -> None:
        super().__init__(
            "This session's stored conversation is damaged; reset or delete the "
            "session to go on under its key."
        )
        self.session_id = session_id
        self.seq = seq


class SettingsDamaged(StoreFailed):
    """What was set for a session cannot be read any more."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            "What was set for this session is damaged; reset or delete the session to "
            "go on under its key."
        )
        self.session_id = session_id


class SummaryDamaged(StoreFailed):
    """What stands for the older part of a session is not what was written."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            "The summary of this session's older part is damaged; reset or delete the "
            "session to go on under its key."
        )
        self.session_id = session_id


def _code(error: Exception) -> int | None:
    """Return the primary result code that *error* stands for."""
    if isinstance(error, OSError):
        return _ERRNOS.get(error.errno or 0, _CANTOPEN)
    if not isinstance(error, sqlite3.Error):
        return None
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF
    text = str(error)
    return next((code for part, code in _TEXTS.items() if part in text), None)


def is_foreseen(error: Exception) -> bool:
    """Say whether *error* needs no traceback to be understood."""
    return isinstance(error, (StoreFailed, Unusable)) or _code(error) in _REASONS


def loses_connection(error: Exception) -> bool:
    """Say whether the file must be opened again after *error*."""
    return isinstance(error, Unusable) or _code(error) in _LOST


def for_client(error: Exception, *, opening: bool = False) -> StoreFailed:
    """Return what a client may hear of *error*; never a path, never ``str(error)``.

    Always another object: a traceback would keep rows and cursors alive.
    """
    if isinstance(error, StoreFailed):
        return StoreFailed(error.message)
    if isinstance(error, Unusable):
        reason = error.reason
    else:
        reason = _REASONS.get(_code(error) or 0, "an internal error, see the log")
    what = "cannot be opened" if opening else "failed"
    return StoreFailed(f"The session store {what}: {reason}.")


def for_log(error: Exception) -> str:
    """Return one line about *error* for the operator, without any content."""
    if isinstance(error, TranscriptDamaged):
        return f"session {error.session_id} is damaged at entry {error.seq}"
    if isinstance(error, SettingsDamaged):
        return f"the settings of session {error.session_id} are damaged"
    if isinstance(error, SummaryDamaged):
        return f"the summary of session {error.session_id} is damaged"
    return f"{type(error).__name__}: {error}"
