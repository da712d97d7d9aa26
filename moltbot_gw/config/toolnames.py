"""The names that lists of tools are made of: tools, groups, profiles, wildcards.

All tools of the original are known here, also those that this gateway does not serve:
a configuration may name them.

Source: upstream ``src/agents/tool-policy.ts``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

_FS = ("read", "write", "edit", "apply_patch")
_RUNTIME = ("exec", "process")
_WEB = ("web_search", "web_fetch")
_MEMORY = ("memory_search", "memory_get")
_SESSIONS = (
    "sessions_list",
    "sessions_history",
    "sessions_send",
    "sessions_spawn",
    "session_status",
)
_UI = ("browser", "canvas")
_AUTOMATION = ("cron", "gateway")
_OTHERS = ("agents_list", "image", "message", "nodes")

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "group:fs": _FS,
        "group:runtime": _RUNTIME,
        "group:web": _WEB,
        "group:memory": _MEMORY,
        "group:sessions": _SESSIONS,
        "group:ui": _UI,
        "group:automation": _AUTOMATION,
        "group:messaging": ("message",),
        "group:nodes": ("nodes",),
        "group:moltbot": (
            *_UI,
            *_AUTOMATION,
            *_SESSIONS,
            *_MEMORY,
            *_WEB,
            *_OTHERS,
        ),
        "group:plugins": (),
    }
)
"""What each group stands for; there are no plugins here."""

TOOLS = (*_FS, *_RUNTIME, *GROUPS["group:moltbot"], "tts")
"""All tools that the original has of its own."""

PROFILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "minimal": ("session_status",),
        "coding": (
            "group:fs",
            "group:runtime",
            "group:sessions",
            "group:memory",
            "image",
        ),
        "messaging": (
            "group:messaging",
            "sessions_list",
            "sessions_history",
            "sessions_send",
            "session_status",
        ),
        "full": ("*",),
    }
)
"""The list that each profile allows."""

SUBAGENTS_LACK = (
    "sessions_list",
    "sessions_history",
    "sessions_send",
    "sessions_spawn",
    "gateway",
    "agents_list",
    "session_status",
    "cron",
    "memory_search",
    "memory_get",
)
"""What agents that agents start never have."""

_ALIASES = {"bash": "exec", "apply-patch": "apply_patch"}


def normal_tool_name(text: str) -> str:
    """Return *text* in the one spelling in which names are compared."""
    name = text.strip().lower()
    return _ALIASES.get(name, name)


class NameList:
    """A list of names, groups and wildcards (``*`` is any run of characters).

    The order, the case and repeats of its entries make no difference; blank ones count
    as not there.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        given = {normal_tool_name(entry) for entry in entries} - {""}
        groups = sorted(given & GROUPS.keys())
        self._entry_of = {name: group for group in groups for name in GROUPS[group]}
        self._entry_of |= {name: name for name in given if "*" not in name}
        self._wildcards = [
            (entry, _pattern(entry)) for entry in sorted(given) if "*" in entry
        ]

    def find(self, name: str) -> str | None:
        """Return the entry that *name* (in the normal spelling) falls under."""
        entry = self._entry_of.get(name)
        if entry is not None:
            return entry
        for wildcard, pattern in self._wildcards:
            if pattern.fullmatch(name):
                return wildcard
        return None

    def find_allowed(self, name: str) -> str | None:
        """Return what allows *name*: ``exec`` allows ``apply_patch`` as well.

        Whoever may run commands can change files anyhow.
        """
        entry = self.find(name)
        if entry is None and name == "apply_patch":
            return self.find("exec")
        return entry

    @property
    def names_a_tool(self) -> bool:
        """Whether any tool of the original falls under it.

        An allowlist of which this is not true is ignored: it would allow nothing.
        """
        return any(self.find(name) for name in TOOLS)


def _pattern(wildcard: str) -> re.Pattern[str]:
    pieces = (re.escape(piece) for piece in re.split(r"\*+", wildcard))
    return re.compile(".*".join(pieces), re.DOTALL)
