"""The log on stderr, where nobody who does not read it holds the gateway up."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from functools import partial

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.scribe import Scribe, loss
from moltbot_gw.logs.styles import Style, bytes_of, is_journal, renderer_of
from moltbot_gw.logs.writer import LineWriter, write_all

CLOSE_SECONDS = 2.0
"""How long the last lines may take when the process ends."""


@implementer(ILogObserver)
class Console:
    """Shows events at *descriptor* (2 for stderr) in *style*.

    Without a style: for people on a terminal, JSON otherwise.  *environ* tells of the
    journal.
    """

    def __init__(
        self,
        *,
        descriptor: int,
        style: Style | None,
        scribe: Scribe,
        levels: Levels,
        environ: Mapping[str, str],
    ) -> None:
        self._descriptor = descriptor
        self._scribe = scribe
        self._levels = levels
        self._for_journal = is_journal(descriptor, environ)
        sink = partial(write_all, descriptor)
        self._writer = LineWriter(sink, dropped=self._dropped)
        self.change(style)
        # Whatever ends the process, short of a signal that kills it.
        atexit.register(self.close)

    def change(self, style: Style | None) -> None:
        """Write in another style from now on."""
        if style is None:
            style = "pretty" if os.isatty(self._descriptor) else "json"
        self._wants_fields = style == "json"
        self._render = renderer_of(style)

    def __call__(self, event: LogEvent) -> None:
        """Take a log event, from any thread."""
        if self._levels.shows(event):
            fields = self._scribe.fields(event) if self._wants_fields else {}
            entry = self._scribe.entry(event)
            lines = self._render(entry, fields)
            self._writer.write(
                bytes_of(lines, entry.level, for_journal=self._for_journal)
            )

    def close(self) -> None:
        """Write what waits, and nothing after it."""
        atexit.unregister(self.close)
        self._writer.close(CLOSE_SECONDS)

    def _dropped(self, count: int) -> bytes:
        entry = loss(__name__, count, "nobody read what was written here")
        lines = self._render(entry, {"dropped": count})
        return bytes_of(lines, entry.level, for_journal=self._for_journal)
