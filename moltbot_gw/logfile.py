"""The log as a file that ``logs.tail`` and the original's pages can read.

One JSON object a line, in the original's shape: ``"0"`` a JSON text that names the
part of the program, ``"1"`` the message, ``_meta`` with level and date, and ``time``.
Lines are gathered for a moment and written together; the file is of the day, bounded,
and those of other days are removed.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from threading import get_ident
from typing import IO, Any

import msgspec
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.scribe import Entry, Scribe
from moltbot_gw.logs.styles import iso_time

FLUSH_SECONDS = 0.25
MAX_WAITING = 1024
"""Lines that wait to be written; with one more they are written at once."""

MAX_FILE_BYTES = 32 * 1024 * 1024
"""A larger file is begun anew; one older one is kept beside it."""

KEEP_SECONDS = 24 * 3600.0
"""How long the file of another day stays after its last line."""

_DATED = re.compile(r"moltbot-\d{4}-\d{2}-\d{2}\.log(?:\.1)?")
_LEVELS = {
    LogLevel.debug: "DEBUG",
    LogLevel.info: "INFO",
    LogLevel.warn: "WARN",
    LogLevel.error: "ERROR",
    LogLevel.critical: "FATAL",
}
_encode = msgspec.json.Encoder().encode


@implementer(ILogObserver)
class LogFile:
    """Writes what *levels* shows, as *scribe* tells it, to a file.

    The file is *path*, or one of the day in *folder*.  It is 0600; a folder that is
    made for it 0700.  What cannot be written is given up: the log must stop nothing.
    *clock* is the reactor, for the time and for lines of other threads than the one
    this is made in.
    """

    def __init__(
        self,
        *,
        path: Path | None,
        folder: Path,
        scribe: Scribe,
        levels: Levels,
        clock: Any,
    ) -> None:
        self._path = path
        self._folder = folder
        self._scribe = scribe
        self._levels = levels
        self._clock = clock
        self._lines: list[bytes] = []
        self._timer: IDelayedCall | None = None
        self._thread = get_ident()

    def __call__(self, event: LogEvent) -> None:
        """Take a log event, from any thread."""
        if not self._levels.shows(event):
            return
        if get_ident() != self._thread:
            self._clock.callFromThread(self, event)
            return
        self._lines.append(_line(self._scribe.entry(event)))
        if len(self._lines) > MAX_WAITING:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self.flush)

    def move(self, path: Path | None) -> None:
        """Write elsewhere from now on."""
        self.flush()
        self._path = path

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            with self._open() as file:
                file.write(b"".join(lines))
        except OSError:
            pass  # to log it would only come back here

    def find(self) -> Path | None:
        """Return the newest file that there is; raise ``OSError``."""
        if self._path is not None:
            return self._path if self._path.is_file() else None
        today = self._today()
        if today.is_file():
            return today
        days = (path for path in self._dated() if path.suffix == ".log")
        return max(days, default=None, key=lambda path: path.name)

    def _open(self) -> IO[bytes]:
        path = self._path or self._today()
        if not path.exists():
            _make_folder(path.parent)
            if self._path is None:
                self._remove_old()
        elif path.stat().st_size > MAX_FILE_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        # A pipe that nobody reads must not stop us.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        return open(os.open(path, flags, 0o600), "ab")

    def _remove_old(self) -> None:
        for old in self._dated():
            if time.time() - old.stat().st_mtime > KEEP_SECONDS:
                old.unlink(missing_ok=True)

    def _today(self) -> Path:
        return self._folder / time.strftime("moltbot-%Y-%m-%d.log")

    def _dated(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [p for p in self._folder.iterdir() if _DATED.fullmatch(p.name)]


def _make_folder(folder: Path) -> None:
    # mkdir(parents=True) would give the parents the mode of the umask.
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)


def _line(entry: Entry) -> bytes:
    when = iso_time(entry.time)
    line = {
        "0": _encode({"subsystem": entry.subsystem}).decode(),
        "1": "\n".join((entry.text, *entry.trace)),
        "_meta": {
            "name": entry.namespace,
            "logLevelName": _LEVELS.get(entry.level, "INFO"),
            "date": when,
        },
        "time": when,
    }
    return _encode(line) + b"\n"
