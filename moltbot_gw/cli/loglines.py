"""The lines of a gateway's log: the original's JSON, and what twistd writes."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

_TWISTED = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*) \[(?P<name>[^#\]]*)#?(?P<level>\w*)\]"
    r" (?P<message>.*)",
    re.DOTALL,
)


@attrs.frozen(kw_only=True)
class LogLine:
    """One line; without a *message* nothing was understood but the text itself."""

    raw: str
    time: str | None = None
    level: str | None = None
    subsystem: str | None = None
    message: str | None = None

    def text(self, pretty: bool) -> str:
        """Return the line for people; *pretty* shows the time of day only."""
        if self.message is None:
            return self.raw
        time = self.time or ""
        if pretty and len(time) >= 19:
            time = time[11:19]
        parts = (time, self.level or "", self.subsystem or "", self.message)
        return " ".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """Return the line for scripts."""
        if self.message is None:
            return {"type": "raw", "raw": self.raw}
        names = ("time", "level", "subsystem")
        known = {name: getattr(self, name) for name in names}
        found = {name: value for name, value in known.items() if value}
        return {"type": "log", **found, "message": self.message, "raw": self.raw}


def parse_line(raw: str) -> LogLine:
    """Return *raw* taken apart, as far as it is understood."""
    match = _TWISTED.fullmatch(raw)
    if match is not None:
        return LogLine(
            raw=raw,
            time=match["time"],
            level=match["level"] or None,
            subsystem=match["name"] or None,
            message=match["message"],
        )
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return LogLine(raw=raw)
    return _from_record(raw, record) if isinstance(record, dict) else LogLine(raw=raw)


def _from_record(raw: str, record: dict[str, Any]) -> LogLine:
    meta = record.get("_meta")
    meta = meta if isinstance(meta, dict) else {}
    numbered = sorted((name for name in record if name.isdecimal()), key=int)
    words = [record[name] for name in numbered]
    subsystem = _subsystem(words[0]) if words else None
    said = words[1:] if subsystem is not None else words
    if not said and not meta:
        return LogLine(raw=raw)
    level = meta.get("logLevelName")
    time = record.get("time") or meta.get("date")
    return LogLine(
        raw=raw,
        time=time if isinstance(time, str) else None,
        level=level.lower() if isinstance(level, str) else None,
        subsystem=subsystem,
        message=" ".join(_word(word) for word in said),
    )


def _subsystem(word: Any) -> str | None:
    """Return the subsystem, which the original writes as JSON in a string."""
    if not isinstance(word, str) or not word.startswith("{"):
        return None
    try:
        found = json.loads(word).get("subsystem")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def _word(word: Any) -> str:
    return word if isinstance(word, str) else json.dumps(word, ensure_ascii=False)
