"""Where the log goes: what twistd's options say, and stderr where they say nothing."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from twisted.logger import (
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    formatTime,
)
from twisted.python.logfile import LogFile as TwistedLogFile
from zope.interface import implementer

from moltbot_gw.logs.console import CLOSE_SECONDS, Console
from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.plain import Cleaned
from moltbot_gw.logs.rules import LogRules
from moltbot_gw.logs.scribe import SLOW_DISK, Entry, Scribe, loss
from moltbot_gw.logs.styles import Style
from moltbot_gw.logs.writer import LineWriter

STDOUT = 1
STDERR = 2

MAX_FILE_BYTES = 1_000_000
MOST_OLD_FILES = 64
"""Of a file that twistd was named, beside the one that is written."""


def find_log_target(
    options: Mapping[str, Any],
    rules: LogRules,
    style: Style | None,
    environ: Mapping[str, str],
) -> ILogObserver | None:
    """Return what writes the log, by *options* of twistd; None: twistd decides.

    In the foreground stderr (``--logfile=-``: stdout), otherwise ``--logfile`` or
    ``twistd.log``; ``--syslog``.  Only a ``--logger`` of the operator's own sees the
    events as they are.
    """
    named = options.get("logfile")
    if options.get("logger") or (named == "-" and not options.get("nodaemon")):
        return None
    if options.get("syslog"):
        return Cleaned(
            _syslog(options.get("prefix") or ""),
            scribe=rules.scribe,
            levels=rules.console,
        )
    if options.get("nodaemon") and named in (None, "", "-"):
        return Console(
            descriptor=STDOUT if named == "-" else STDERR,
            style=style,
            scribe=rules.scribe,
            levels=rules.console,
            environ=environ,
        )
    return TwistdFile(
        _file(named or "twistd.log", forks=not options.get("nodaemon")),
        scribe=rules.scribe,
        levels=rules.console,
    )


def _syslog(prefix: str) -> ILogObserver:
    from twisted.python.syslog import SyslogObserver

    emit: Any = SyslogObserver(prefix).emit
    return LegacyLogObserverWrapper(emit)


def _file(path: str, *, forks: bool) -> PatientFile:
    """Return what twistd writes its own file with; SIGUSR1 begins another.

    A full one is followed by another as well; twistd itself would keep them all.
    """
    file = TwistedLogFile.fromFullPath(
        path, rotateLength=MAX_FILE_BYTES, maxRotatedFiles=MOST_OLD_FILES
    )
    if not signal.getsignal(signal.SIGUSR1):

        def rotate(number: int, frame: object) -> None:
            from twisted.internet import reactor

            reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

        signal.signal(signal.SIGUSR1, rotate)
    return PatientFile(file, forks=forks)


class LineFile(Protocol):
    """A log file."""

    def write(self, text: str) -> object:
        """Take whole lines."""


@implementer(ILogObserver)
class TwistdFile:
    """Writes events to *file*, in lines as twistd's own."""

    def __init__(self, file: LineFile, *, scribe: Scribe, levels: Levels) -> None:
        self._file = file
        self._scribe = scribe
        self._levels = levels

    def __call__(self, event: LogEvent) -> None:
        """Take a log event, from any thread."""
        if self._levels.shows(event):
            self._file.write(_classic(self._scribe.entry(event)))


class PatientFile:
    """A log file of twistd's, which a thread writes.

    The disk may be busy for half a second, and with the file as it is the reactor would
    wait for it at each line.  A thread does not survive the fork of a daemon, before
    which the log begins: so with *forks* lines are written at once until then.
    """

    def __init__(self, file: TwistedLogFile, *, forks: bool) -> None:
        self._file = file
        self._writer: LineWriter | None = None
        if forks:
            os.register_at_fork(after_in_child=self._begin)
        else:
            self._begin()

    def write(self, text: str) -> None:
        """Take whole lines, from any thread."""
        data = text.encode("utf-8", "replace")
        if self._writer is None:
            self._put(data)
        else:
            self._writer.write(data)

    def close(self) -> None:
        """Write what waits, and nothing after it."""
        atexit.unregister(self.close)
        if self._writer is not None:
            self._writer.close(CLOSE_SECONDS)

    def _begin(self) -> None:
        # A daemon forks twice, and each program that it runs is a fork as well.
        if self._writer is None:
            self._writer = LineWriter(self._put, dropped=_tell_dropped)
            atexit.register(self.close)

    def _put(self, data: bytes) -> None:
        self._file.write(data.decode("utf-8"))


def _tell_dropped(count: int) -> bytes:
    return _classic(loss(__name__, count, SLOW_DISK)).encode()


def _classic(entry: Entry) -> str:
    """Return what ``formatEventAsClassicLogText`` does, in a tenth of its time."""
    text = "\n\t".join((entry.text, *entry.trace))
    part = f"{entry.namespace}#{entry.level.name}"
    return f"{_local_time(int(entry.time))} [{part}] {text}\n"


@lru_cache(2)  # lines come in the order of their times
def _local_time(second: int) -> str:
    return formatTime(second)
