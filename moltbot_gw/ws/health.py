"""How the gateway is, as one summary that clients keep a copy of.

Source: upstream ``src/commands/health.ts``, ``src/gateway/server/health-state.ts``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from moltbot_gw.agents.service import AgentService
from moltbot_gw.errors import GatewayError
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.reloadstatus import ReloadStatus
from moltbot_gw.stored import AgentSessions, OverviewQuery
from moltbot_gw.ws.rows import recent_row
from moltbot_gw.ws.slots import Slots

_log = Logger()

KEEP_SECONDS = 60.0
"""How long a summary is good enough for a client."""

REST_SECONDS = 1.0
"""The least time between two summaries."""

RECENT = 5
ACK_MAX_CHARS = 300
HIDDEN_KEYS = frozenset({"global", "unknown"})


class Health:
    """Makes the summary and remembers the last one.

    *broadcast* is called with ``"health"`` and each summary that was made; *version*
    goes up before.  *store_path* is only shown, *config* how the configuration is.
    """

    def __init__(
        self,
        *,
        store: ISessionStore,
        agents: AgentService,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        store_path: str,
        broadcast: Callable[[str, Any], None],
        config: ReloadStatus,
    ) -> None:
        self._store = store
        self._agents = agents
        self._clock = clock
        self._unix_time = unix_time
        self._store_path = store_path
        self._broadcast = broadcast
        self._config = config
        self._making = Slots(1)
        self._made_at: float | None = None
        self.version = 1
        self.cached: dict[str, Any] = {}

    async def snapshot(self) -> dict[str, Any]:
        """Return the last summary, and make a fresh one for who asks next.

        One older than ``KEEP_SECONDS`` is replaced first.
        """
        if self._is_older_than(KEEP_SECONDS):
            return await self.refresh()
        known = self.cached
        if not self._making.are_taken:
            Deferred.fromCoroutine(self.refresh()).addErrback(_log_failure)
        return known

    async def refresh(self) -> dict[str, Any]:
        """Make a summary, tell everybody, return it; at most one a ``REST_SECONDS``.

        Raises ``StoreFailed``; the last summary stays then.
        """
        await self._making.take()
        try:
            if self._is_older_than(REST_SECONDS):
                self.cached = await self._make()
                self._made_at = self._clock.seconds()
                self.version += 1
                self._broadcast("health", self.cached)
            return self.cached
        finally:
            self._making.give_back()

    def outdated(self) -> None:
        """What the last summary says is no longer true: make another now."""
        self._made_at = None
        Deferred.fromCoroutine(self.refresh()).addErrback(_log_failure)

    def _is_older_than(self, seconds: float) -> bool:
        made_at = self._made_at
        return made_at is None or self._clock.seconds() - made_at >= seconds

    async def _make(self) -> dict[str, Any]:
        began = self._clock.seconds()
        sessions = await overview(self._store, RECENT)
        now_ms = int(self._unix_time() * 1000)
        roster = self._agents.roster
        default_id = roster.default_id
        agents = [
            {
                "agentId": agent.id,
                **({"name": agent.name} if agent.name else {}),
                "isDefault": agent.id == default_id,
                "heartbeat": _no_heartbeat(),
                "sessions": self._sessions(sessions[agent.id], now_ms),
            }
            for agent in roster.agents.values()
        ]
        return {
            "ok": True,
            "ts": now_ms,
            "durationMs": int((self._clock.seconds() - began) * 1000),
            "config": self._config.to_wire(),
            "channels": {},
            "channelOrder": [],
            "channelLabels": {},
            "heartbeatSeconds": 0,
            "defaultAgentId": default_id,
            "agents": agents,
            "sessions": self._sessions(sessions[default_id], now_ms),
        }

    def _sessions(self, own: AgentSessions, now_ms: int) -> dict[str, Any]:
        recent = [recent_row(summary, now_ms) for summary in own.recent]
        return {
            "path": self._store_path,
            "count": own.count,
            "recent": msgspec.to_builtins(recent),
        }


class _ByAgent(dict[str, AgentSessions]):
    def __missing__(self, agent_id: str) -> AgentSessions:
        return AgentSessions(agent_id=agent_id, count=0, recent=())


async def overview(store: ISessionStore, recent: int) -> Mapping[str, AgentSessions]:
    """Return the sessions of each agent, of one that has none, too.

    Raises ``StoreFailed``.
    """
    found = await store.overview(OverviewQuery(recent=recent, hidden=HIDDEN_KEYS))
    return _ByAgent((own.agent_id, own) for own in found)


def _no_heartbeat() -> dict[str, Any]:
    return {
        "enabled": False,
        "every": "disabled",
        "everyMs": None,
        "prompt": "",
        "target": "last",
        "ackMaxChars": ACK_MAX_CHARS,
    }


def _log_failure(failure: Failure) -> None:
    if failure.check(GatewayError):
        _log.warn("no fresh health: {error}", error=failure.getErrorMessage())
    else:
        _log.failure("no fresh health", failure)
