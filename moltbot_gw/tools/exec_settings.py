"""What the configuration says of commands, for one agent, with all defaults."""

from __future__ import annotations

from typing import Any

import attrs

from moltbot_gw.agents.allowlist import Ask, Security
from moltbot_gw.config import Config, normalize_agent_id

HOST = "gateway"
"""Where commands run; there is no sandbox and no node here."""

MAX_KEEP_SECONDS = 3 * 3600.0
MAX_FOREGROUND_SECONDS = 120.0
MAX_SECONDS = 7 * 86_400.0


@attrs.frozen(kw_only=True)
class ExecSettings:
    """``tools.exec`` for one agent; times are in seconds.

    *foreground* is how long a call waits for its command, *timeout* how long a command
    may run, *keep* how long its output can be read after that.
    """

    host: str = HOST
    security: Security = "allowlist"
    ask: Ask = "on-miss"
    prepend: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    foreground: float = 10.0
    timeout: float = 1800.0
    keep: float = 1800.0
    notifies: bool = True


def exec_settings(config: Config, agent_id: str) -> ExecSettings:
    """Return the settings of an agent: each key its own, else the one for all."""
    everybody = config.tools.exec if config.tools else None
    own = None
    for entry in config.agents.list:
        if normalize_agent_id(entry.id) == agent_id and entry.tools:
            own = entry.tools.exec

    def pick(name: str, default: Any) -> Any:
        for section in (own, everybody):
            value = getattr(section, name, None)
            if value is not None:
                return value
        return default

    usual = ExecSettings()
    return ExecSettings(
        host=pick("host", usual.host),
        security=pick("security", usual.security),
        ask=pick("ask", usual.ask),
        prepend=tuple(pick("path_prepend", usual.prepend)),
        passed=tuple(pick("pass_env", usual.passed)),
        foreground=foreground_seconds(pick("background_ms", usual.foreground * 1000)),
        timeout=min(float(pick("timeout_sec", usual.timeout)), MAX_SECONDS),
        keep=min(pick("cleanup_ms", usual.keep * 1000) / 1000, MAX_KEEP_SECONDS),
        notifies=pick("notify_on_exit", usual.notifies),
    )


def foreground_seconds(milliseconds: float) -> float:
    """Return how long a call waits that is to wait for so many *milliseconds*."""
    return min(max(milliseconds / 1000, 0.01), MAX_FOREGROUND_SECONDS)
