"""Log events as Twisted makes them."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher


def event(text: str = "words", **members: Any) -> LogEvent:
    """Return an event of ours at level info, a fixed time, with *members*."""
    return {
        "log_format": text,
        "log_level": LogLevel.info,
        "log_namespace": "moltbot_gw.http.site",
        "log_time": 1_700_000_000.4567,
        **members,
    }


def logged(namespace: str = "moltbot_gw.agents.service") -> tuple[Logger, list[Any]]:
    """Return a logger, and the list of the events that it emits."""
    events: list[Any] = []
    observer: Any = events.append
    return Logger(namespace, observer=LogPublisher(observer)), events
