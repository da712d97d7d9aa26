"""Where the log goes: what twistd's options say, and stderr where they say nothing."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    formatEventAsClassicLogText,
    formatTime,
)
from twisted.python.logfile import LogFile as TwistedLogFile

from moltbot_gw.logs.console import Console
from moltbot_gw.logs.plain import Cleaned
from moltbot_gw.logs.rules import LogRules
from moltbot_gw.logs.styles import Style

STDOUT = 1
STDERR = 2


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
        return _cleaned(_syslog(options.get("prefix") or ""), rules)
    if options.get("nodaemon") and named in (None, "", "-"):
        return Console(
            descriptor=STDOUT if named == "-" else STDERR,
            style=style,
            scribe=rules.scribe,
            levels=rules.console,
            environ=environ,
        )
    return _cleaned(_file(named or "twistd.log"), rules)


def _cleaned(observer: ILogObserver, rules: LogRules) -> ILogObserver:
    return Cleaned(observer, scribe=rules.scribe, levels=rules.console)


def _syslog(prefix: str) -> ILogObserver:
    from twisted.python.syslog import SyslogObserver

    emit: Any = SyslogObserver(prefix).emit
    return LegacyLogObserverWrapper(emit)


def _file(path: str) -> ILogObserver:
    """Return what twistd writes its own file with; SIGUSR1 begins another."""
    file = TwistedLogFile.fromFullPath(path)
    if not signal.getsignal(signal.SIGUSR1):

        def rotate(number: int, frame: object) -> None:
            from twisted.internet import reactor

            reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]

        signal.signal(signal.SIGUSR1, rotate)
    written: Any = file  # writes texts, as an observer's file does
    return FileLogObserver(written, _ClassicText())


class _ClassicText:
    """Twisted's own lines; their time has seconds, so it is written once for each."""

    def __init__(self) -> None:
        self._second: int | None = None
        self._spelled = ""

    def __call__(self, event: LogEvent) -> str | None:
        return formatEventAsClassicLogText(event, self._time)

    def _time(self, when: float | None) -> str:
        if when is None:
            return formatTime(when)
        if int(when) != self._second:
            self._second, self._spelled = int(when), formatTime(when)
        return self._spelled
