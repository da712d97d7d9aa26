"""Session keys: what clients may ask for, and the one spelling that the store knows."""

from __future__ import annotations

import re
from urllib.parse import quote

MAX_KEY_CHARS = 512

_RESERVED = re.compile(r"(?:agent:[^:]*:)?[: ]*(?:subagent|cron|acp):", re.IGNORECASE)
_AGENT_KEY = re.compile(r"agent:([a-z0-9][a-z0-9_-]{0,63}):(.+)", re.I | re.DOTALL)
_UNESCAPED = "!#$&'()*+,/:;=?@[]~% "


class BadSessionKey(ValueError):
    """A client may not use this key; the text says why."""


def check_key(key: str) -> None:
    """Raise ``BadSessionKey`` unless a client may name *key*."""
    if not key or len(key) > MAX_KEY_CHARS:
        raise BadSessionKey(f"use 1 to {MAX_KEY_CHARS} characters")
    if not key.isprintable():
        raise BadSessionKey("use printable characters only")
    if _RESERVED.match(key):
        raise BadSessionKey("subagent:, cron: and acp: are reserved for the gateway")


def split_key(key: str) -> tuple[str | None, str]:
    """Return the agent id in *key*, if it has one, and what follows it."""
    match = _AGENT_KEY.fullmatch(key)
    return (match[1].lower(), match[2]) if match else (None, key)


def store_key(key: str, agent_id: str, *, global_scope: bool = False) -> str:
    """Return the spelling of *key* under which the store keeps the session.

    A bare key belongs to *agent_id*; in the global scope each agent's main session is
    the one called ``global``.
    """
    if key in ("global", "unknown"):
        return key
    owner, rest = split_key(key)
    if global_scope and rest == "main":
        return "global"
    return f"agent:{agent_id if owner is None else owner}:{rest}"


def user_key(agent_id: str, user: str) -> str:
    """Return the key of the lasting session that ``user`` of a completion names.

    What is not printable ASCII is escaped (``%c3%a9``), so that the key can be sent in
    a header, there and back.
    """
    return (
        f"agent:{agent_id}:openai-user:{quote(user.lower(), safe=_UNESCAPED)}".lower()
    )


def anonymous_key(agent_id: str, uuid: str) -> str:
    """Return the key of a session for one completion."""
    return f"agent:{agent_id}:openai:{uuid}"
