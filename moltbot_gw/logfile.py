"""The log as a file that ``logs.tail`` and the original's pages can read.

One JSON object a line, in the original's shape: ``"0"`` a JSON text that names the
part of the program, ``"1"`` the message, ``_meta`` with level and date, and ``time``.
Lines are gathered for a moment and written together, in a thread, because a disk that
is busy may take half a second for it; the file is of the day, bounded, and those of
other days are removed.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock, get_ident
from typing import IO, Any

import msgspec
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from moltbot_gw.interfaces import RunInThread
from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.scribe import SLOW_DISK, Entry, Scribe, loss
from moltbot_gw.logs.styles import iso_time

FLUSH_SECONDS = 0.25
MAX_WAITING = 1024
"""Lines that wait to be written; with one more they are written at once."""

MOST_WAITING = 16 * MAX_WAITING
"""Lines that wait for a disk that hangs; those that come beyond it are dropped."""

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
        run_in_thread: RunInThread,
    ) -> None:
        self._path = path
        self._folder = folder
        self._scribe = scribe
        self._levels = levels
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._lines: list[bytes] = []
        self._dropped = 0
        self._timer: IDelayedCall | None = None
        self._thread = get_ident()
        self._is_writing = False
        self._one_at_a_time = Lock()

    def __call__(self, event: LogEvent) -> None:
        """Take a log event, from any thread."""
        if not self._levels.shows(event):
            return
        if get_ident() != self._thread:
            self._clock.callFromThread(self, event)
            return
        if len(self._lines) >= MOST_WAITING:
            self._dropped += 1
            return
        self._lines.append(_line(self._scribe.entry(event)))
        if len(self._lines) > MAX_WAITING:
            self._begin()
        else:
            self._set_timer()

    def move(self, path: Path | None) -> None:
        """Write elsewhere from now on."""
        lines = self._take()
        if lines:
            self._run_in_thread(partial(self._write, lines, self._path))
        self._path = path

    def flush(self) -> None:
        """Write what waits, before this returns: for the end."""
        lines = self._take()
        if lines:
            self._write(lines, self._path)

    def _set_timer(self) -> None:
        if self._timer is None and not self._is_writing:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self._begin)

    def _begin(self) -> None:
        """Write what waits, unless the thread is at it still."""
        if self._is_writing:
            return
        lines = self._take()
        self._is_writing = True
        writing = self._run_in_thread(partial(self._write, lines, self._path))
        # Whatever went wrong: to log it would only come back here.
        writing.addBoth(self._written)

    def _written(self, _: object) -> None:
        self._is_writing = False
        if self._lines:
            self._set_timer()

    def _take(self) -> list[bytes]:
        """Return what waits; no timer is left for it."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        lines, self._lines = self._lines, []
        dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(_line(loss(__name__, dropped, SLOW_DISK)))
        return lines

    def _write(self, lines: list[bytes], path: Path | None) -> None:
        """Write *lines*; in whatever thread, and behind those of other threads."""
        with self._one_at_a_time, suppress(OSError), self._open(path) as file:
            file.write(b"".join(lines))

    def find(self) -> Path | None:
        """Return the newest file that there is; raise ``OSError``."""
        if self._path is not None:
            return self._path if self._path.is_file() else None
        today = self._today()
        if today.is_file():
            return today
        days = (path for path in self._dated() if path.suffix == ".log")
        return max(days, default=None, key=lambda path: path.name)

    def _open(self, named: Path | None) -> IO[bytes]:
        path = named or self._today()
        if not path.exists():
            _make_folder(path.parent)
            if named is None:
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
    before, between = _around(entry.namespace, entry.subsystem, entry.level)
    text = "\n".join((entry.text, *entry.trace))
    when = _encode(iso_time(entry.time))
    return b'%s%s%s%s},"time":%s}\n' % (before, _encode(text), between, when, when)


@lru_cache(512)  # few parts of the program log much
def _around(namespace: str, subsystem: str, level: Any) -> tuple[bytes, bytes]:
    """Return what stands in a line before its text, and between that and its time."""
    part = _encode(_encode({"subsystem": subsystem}).decode())
    name, word = _encode(namespace), _encode(_LEVELS.get(level, "INFO"))
    before = b'{"0":%s,"1":' % part
    return before, b',"_meta":{"name":%s,"logLevelName":%s,"date":' % (name, word)
