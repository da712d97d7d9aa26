"""The access log: one line a request, the lines of a moment written together."""

from __future__ import annotations

from time import time
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogEvent, Logger, LogLevel

_log = Logger()

LATE_SECONDS = 0.1
"""How late a line comes in a running gateway."""

_MOST_WAITING = 256


class AccessLog:
    """Keeps lines for a moment and writes them one after the other.

    A line passes through a dozen functions of the logging system.  Alone, between two
    requests, it finds none of them in the processor's caches and costs three times
    what it costs behind another line: a tenth of a whole request.  A line comes at
    most *late_seconds* late; 0 writes each at once.
    """

    def __init__(self, clock: IReactorTime, late_seconds: float = LATE_SECONDS) -> None:
        self._clock = clock
        self._late_seconds = late_seconds
        self._waiting: list[LogEvent] = []
        self._timer: IDelayedCall | None = None

    def note(self, line: str, **fields: Any) -> None:
        """Write *line* soon; *fields* go beside it, for logs in JSON."""
        # What ``Logger.info`` would make of it later, at another time.
        self._waiting.append(
            {
                "log_logger": _log,
                "log_level": LogLevel.info,
                "log_namespace": _log.namespace,
                "log_source": None,
                # One field to format; the others are there for JSON logs.
                "log_format": "{line}",
                "log_time": time(),
                "line": line,
                **fields,
            }
        )
        if not self._late_seconds or len(self._waiting) >= _MOST_WAITING:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(self._late_seconds, self._ring)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            _log.observer(event)

    def _ring(self) -> None:
        self._timer = None
        self.flush()
