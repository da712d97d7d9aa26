"""How a line of the console looks: for people, for grep, for machines, for journald."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec
from twisted.logger import LogLevel

from moltbot_gw.logs.scribe import Entry, Scalar

Style = Literal["pretty", "compact", "json"]
Render = Callable[[Entry, Mapping[str, Scalar]], list[str]]

_WORDS: dict[Any, str] = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warn",
    LogLevel.error: "error",
    LogLevel.critical: "fatal",
}
# Source: ECMA-48, select graphic rendition.
_COLOURS: dict[Any, str] = {
    LogLevel.debug: "2",
    LogLevel.warn: "33",
    LogLevel.error: "31",
    LogLevel.critical: "1;31",
}
# Source: sd-daemon(3), after syslog(3).
_PRIORITIES: dict[Any, int] = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}
_encode = msgspec.json.Encoder().encode


def iso_time(seconds: float) -> str:
    """Return a Unix time in UTC, to the millisecond, as JavaScript writes it."""
    second, micros = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_utc(second)}.{micros // 1000:03d}Z"


@lru_cache(2)  # lines come in the order of their times
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def render_pretty(entry: Entry, fields: Mapping[str, Scalar]) -> list[str]:
    """Return the lines for a terminal: the time of day, colours where it is bad."""
    clock = time.strftime("%H:%M:%S", time.localtime(entry.time))
    colour = _COLOURS.get(entry.level)
    head = f"{clock} {_WORDS.get(entry.level, 'info'):5} "
    text = f"[{entry.subsystem}] {entry.text}"
    if colour:
        text = f"\x1b[{colour}m{text}\x1b[0m"
    return [head + text, *_indented(entry)]


def render_compact(entry: Entry, fields: Mapping[str, Scalar]) -> list[str]:
    """Return the lines without colours, the whole time in UTC."""
    level = _WORDS.get(entry.level, "info")
    head = f"{iso_time(entry.time)} {level} [{entry.subsystem}] "
    return [head + entry.text, *_indented(entry)]


def render_json(entry: Entry, fields: Mapping[str, Scalar]) -> list[str]:
    """Return one object: time, level, subsystem, message, trace, then the fields."""
    line: dict[str, Any] = {
        "time": iso_time(entry.time),
        "level": _WORDS.get(entry.level, "info"),
        "subsystem": entry.subsystem,
        "message": entry.text,
    }
    if entry.trace:
        line["trace"] = entry.trace
    return [_encode(line | dict(fields)).decode()]


_STYLES: dict[str, Render] = {
    "pretty": render_pretty,
    "compact": render_compact,
    "json": render_json,
}


def renderer_of(style: Style) -> Render:
    """Return what makes lines in *style*."""
    return _STYLES[style]


def bytes_of(lines: list[str], level: Any, *, for_journal: bool) -> bytes:
    """Return *lines* as they are written; for the journal each says its priority."""
    mark = f"<{_PRIORITIES.get(level, 6)}>" if for_journal else ""
    return "".join(f"{mark}{line}\n" for line in lines).encode("utf-8")


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Say whether what is written to *descriptor* goes to systemd's journal.

    Source: systemd.exec(5), ``JOURNAL_STREAM``.  A process whose output was redirected
    inherits the variable all the same, so device and inode are compared.
    """
    named = environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


def _indented(entry: Entry) -> list[str]:
    return [f"    {line}" for line in entry.trace]
