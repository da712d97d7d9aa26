"""A conversation's messages as text for reading (shapes: ``agent-runs``, section 4)."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

_MAX_CALL_CHARS = 200


def transcript_text(messages: list[Any]) -> str:
    """Return *messages* one below the other, each under its role and time."""
    return "\n\n".join(_message(one) for one in messages if isinstance(one, dict))


def _message(message: dict[str, Any]) -> str:
    stamp = _time(message.get("timestamp"))
    role = str(message.get("role", "?"))
    if message.get("toolName"):
        role = f"{role} {message['toolName']}"
    heading = f"{role} · {stamp}" if stamp else role
    body = "\n".join(part for part in _parts(message.get("content")) if part)
    error = message.get("errorMessage")
    lines = [heading, body.rstrip(), f"[error: {error}]" if error else ""]
    return "\n".join(line for line in lines if line)


def _parts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [_part(one) for one in content or [] if isinstance(one, dict)]


def _part(part: dict[str, Any]) -> str:
    kind = part.get("type")
    if kind == "text":
        return str(part.get("text", ""))
    if kind == "toolCall":
        words = json.dumps(part.get("arguments", {}), ensure_ascii=False)
        cut = "..." if len(words) > _MAX_CALL_CHARS else ""
        return f"[call {part.get('name', '?')} {words[:_MAX_CALL_CHARS]}{cut}]"
    return f"[{kind or 'unknown'}]"


def _time(stamp: Any) -> str:
    if isinstance(stamp, str):
        return stamp
    if not isinstance(stamp, (int, float)):
        return ""
    try:
        moment = datetime.fromtimestamp(stamp / 1000, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return ""
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
