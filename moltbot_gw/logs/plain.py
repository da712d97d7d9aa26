"""For a log that Twisted itself writes, syslog's: the same events, made safe first."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.scribe import Entry, Scribe


def event_of(entry: Entry) -> LogEvent:
    """Return an event that is *entry*, without anything behind its texts."""
    return {
        "log_time": entry.time,
        "log_level": entry.level,
        "log_namespace": entry.namespace,
        "log_format": "{text}",
        "text": "\n\t".join((entry.text, *entry.trace)),
    }


@implementer(ILogObserver)
class Cleaned:
    """Passes on to *observer* what is shown, as texts without anything behind them."""

    def __init__(
        self, observer: ILogObserver, *, scribe: Scribe, levels: Levels
    ) -> None:
        self._observer = observer
        self._scribe = scribe
        self._levels = levels

    def __call__(self, event: LogEvent) -> None:
        """Take a log event, from any thread."""
        if self._levels.shows(event):
            self._observer(event_of(self._scribe.entry(event)))
