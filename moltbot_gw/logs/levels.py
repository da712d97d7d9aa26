"""Which events are shown: a level for all, and others for parts of the program."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from twisted.logger import LogEvent, LogLevel

NAMES = ("silent", "fatal", "error", "warn", "info", "debug", "trace")
"""The original's levels; each shows what those before it show, and more."""

_RANKS: dict[Any, int] = {
    LogLevel.critical: NAMES.index("fatal"),
    LogLevel.error: NAMES.index("error"),
    LogLevel.warn: NAMES.index("warn"),
    LogLevel.info: NAMES.index("info"),
    LogLevel.debug: NAMES.index("debug"),
}
_MAX_KNOWN = 512


class Levels:
    """Decides by an event's level and namespace whether it is shown."""

    def __init__(self, level: str, parts: Mapping[str, str]) -> None:
        self.change(level, parts)

    def change(self, level: str, parts: Mapping[str, str]) -> None:
        """Show what is at least as bad as *level*, or as that of its own part.

        *parts* maps dotted names to levels; a name counts for all below it, and the
        longest that fits decides.
        """
        self._level = NAMES.index(level)
        self._parts = {name: NAMES.index(word) for name, word in parts.items()}
        self._limit = lru_cache(_MAX_KNOWN)(self._find)

    def shows(self, event: LogEvent) -> bool:
        """Say whether *event* is shown; one without a level never is."""
        rank = _RANKS.get(event.get("log_level"))
        return rank is not None and rank <= self._limit(
            str(event.get("log_namespace", ""))
        )

    def _find(self, namespace: str) -> int:
        while namespace:
            if namespace in self._parts:
                return self._parts[namespace]
            namespace = namespace.rpartition(".")[0]
        return self._level
