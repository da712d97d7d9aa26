"""How a session stands, in a few lines for people and models."""

from __future__ import annotations

import time
from collections.abc import Callable

from moltbot_gw import __version__
from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.thinking import thinking_level
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.stored import SessionSettings, SessionSummary

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class StatusCards:
    """Says how sessions stand."""

    def __init__(
        self,
        *,
        agents: AgentService,
        store: ISessionStore,
        unix_time: Callable[[], float],
    ) -> None:
        self._agents = agents
        self._store = store
        self._unix_time = unix_time

    async def card(self, store_key: str) -> str:
        """Return the lines for a session, of which the store may know nothing yet."""
        agent = self._agents.roster.owner(store_key)
        session = await self._store.find_session(store_key)
        settings = session.settings if session else SessionSettings()
        model = self._agents.setup.model_of(agent, settings)
        return status_card(
            store_key,
            session,
            model,
            thinking=thinking_level(model, settings.thinking_level, agent.thinking),
            running=len(self._agents.runs_of(store_key)),
            now=self._unix_time(),
        )


def status_card(
    session_key: str,
    session: SessionSummary | None,
    model: ModelRef,
    *,
    thinking: str,
    running: int,
    now: float,
) -> str:
    """Return the lines; *model* and *thinking* are what the next run will use.

    *session* is None if nothing was said yet; *now* is in Unix seconds.
    """
    settings = session.settings if session else SessionSettings()
    clock = time.strftime("%A %Y-%m-%d %H:%M %Z", time.localtime(now))
    total = session.total_tokens if session else 0
    lines = [
        f"Moltbot Gateway {__version__}",
        f"Time: {clock}",
        f"Model: {model}" + (" (set for this session)" if settings.model else ""),
        f"Context: {_tokens(total, model.context_window)}",
        f"Session: {session_key}{_age(session, now)}",
        f"Thinking: {thinking}"
        + (f" | Verbose: {settings.verbose_level}" if settings.verbose_level else ""),
    ]
    if session is not None:
        lines.insert(
            4,
            f"Last run: {session.input_tokens} tokens in,"
            f" {session.output_tokens} out"
            + (", cut off" if session.aborted_last_run else ""),
        )
    if running:
        lines.append(f"Running: {running}")
    return "\n".join(lines)


def _tokens(total: int, window: int | None) -> str:
    if not window:
        return f"{total} tokens"
    return f"{total} of {window} tokens ({round(total * 100 / window)} %)"


def _age(session: SessionSummary | None, now: float) -> str:
    if session is None:
        return " (new)"
    seconds = max(0, int(now - session.updated_at_ms / 1000))
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f" (last used {seconds // unit} {name} ago)"
    return " (just used)"
