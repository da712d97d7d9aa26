"""The gateway itself: how it is, who is here, what is new.

Heartbeats are not run: they can be switched and asked about, to no effect.

Source: upstream ``src/gateway/server-methods/{health,system}.ts``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Literal

from moltbot_gw.agents.service import AgentService
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.stored import AgentSessions, SessionSummary
from moltbot_gw.ws.calls import AnyParams, Call, Method, Params, invalid
from moltbot_gw.ws.health import Health, overview
from moltbot_gw.ws.methods.loose import LooseParams, Text1, number_in, text_in, texts_in
from moltbot_gw.ws.presence import Presence, Report
from moltbot_gw.ws.rows import StatusRow, status_row
from moltbot_gw.ws.system_events import SystemEvents
from moltbot_gw.ws.targets import Targets

RECENT = 10


class HealthParams(LooseParams, frozen=True, kw_only=True):
    """*probe* asks for a fresh summary."""

    probe: Any = None


class SystemEventParams(LooseParams, frozen=True, kw_only=True):
    """A report; what has the wrong type counts as unsaid."""

    text: Any = None
    device_id: Any = None
    instance_id: Any = None
    host: Any = None
    ip: Any = None
    mode: Any = None
    version: Any = None
    platform: Any = None
    device_family: Any = None
    model_identifier: Any = None
    last_input_seconds: Any = None
    reason: Any = None
    roles: Any = None
    scopes: Any = None
    tags: Any = None


class SetHeartbeatsParams(LooseParams, frozen=True, kw_only=True):
    """Whether heartbeats are wanted."""

    enabled: Any = None


class WakeParams(Params, frozen=True, kw_only=True):
    """News for the default agent."""

    mode: Literal["now", "next-heartbeat"]
    text: Text1


class SystemMethods:
    """The handlers; *broadcast* tells a state to all clients, with the versions."""

    def __init__(
        self,
        *,
        store: ISessionStore,
        agents: AgentService,
        targets: Targets,
        presence: Presence,
        health: Health,
        events: SystemEvents,
        unix_time: Callable[[], float],
        store_path: str,
        broadcast: Callable[[str, Any], None],
    ) -> None:
        self._store = store
        self._agents = agents
        self._targets = targets
        self._presence = presence
        self._health = health
        self._events = events
        self._unix_time = unix_time
        self._store_path = store_path
        self._broadcast = broadcast

    async def health(self, call: Call, params: HealthParams) -> Any:
        """Sum up how the gateway is doing."""
        if params.probe is True:
            return await self._health.refresh()
        return await self._health.snapshot()

    async def status(self, call: Call, params: AnyParams) -> Any:
        """Show the sessions and the default model."""
        sessions = await overview(self._store, RECENT)
        recent = chain.from_iterable(own.recent for own in sessions.values())
        newest = sorted(recent, key=lambda one: (-one.updated_at_ms, one.session_key))
        roster = self._agents.roster
        own = roster.agents[roster.default_id].model
        return {
            "heartbeat": {
                "defaultAgentId": roster.default_id,
                "agents": [_no_heartbeat(agent_id) for agent_id in self._agent_ids()],
            },
            "channelSummary": [],
            "queuedSystemEvents": self._events.peek(self._targets.main_key()),
            "sessions": {
                "paths": [self._store_path],
                "count": sum(own.count for own in sessions.values()),
                "defaults": {"model": own.model, "contextTokens": own.context_window},
                "recent": self._rows(newest),
                "byAgent": [
                    self._by_agent(sessions[agent_id]) for agent_id in self._agent_ids()
                ],
            },
        }

    async def system_presence(self, call: Call, params: AnyParams) -> Any:
        """List who is connected."""
        return self._presence.entries()

    async def system_event(self, call: Call, params: SystemEventParams) -> Any:
        """Tell who is here, or what an agent shall hear of in its next turn."""
        text = text_in(params.text)
        if text is None:
            raise invalid("text required")
        changed = self._presence.update(text, _report(params))
        news = _summary(changed) if text.startswith("Node:") else text
        self._events.add(self._targets.main_key(), news)
        self._broadcast("presence", {"presence": self._presence.entries()})
        return {"ok": True}

    async def last_heartbeat(self, call: Call, params: AnyParams) -> Any:
        """Show the last heartbeat; there is none."""
        return None

    async def set_heartbeats(self, call: Call, params: SetHeartbeatsParams) -> Any:
        """Take note that heartbeats are wanted; there are none."""
        if not isinstance(params.enabled, bool):
            raise invalid("invalid set-heartbeats params: enabled (boolean) required")
        return {"ok": True, "enabled": params.enabled}

    async def wake(self, call: Call, params: WakeParams) -> Any:
        """Tell the default agent something in its next turn."""
        self._events.add(self._targets.main_key(), params.text)
        return {"ok": True}

    async def connect(self, call: Call, params: AnyParams) -> Any:
        """Refuse to be called twice."""
        raise invalid("connect is only valid as the first request")

    def _agent_ids(self) -> list[str]:
        roster = self._agents.roster
        others = sorted(set(roster.agents) - {roster.default_id})
        return [roster.default_id, *others]

    def _by_agent(self, own: AgentSessions) -> dict[str, Any]:
        return {
            "agentId": own.agent_id,
            "path": self._store_path,
            "count": own.count,
            "recent": self._rows(own.recent),
        }

    def _rows(self, sessions: Sequence[SessionSummary]) -> list[StatusRow]:
        now_ms = int(self._unix_time() * 1000)
        roster = self._agents.roster
        rows = []
        for summary in sessions[:RECENT]:
            agent = roster.agents.get(summary.agent_id)
            own = agent.model if agent else None
            rows.append(status_row(summary, own, roster.catalog, now_ms))
        return rows


def methods(
    *,
    store: ISessionStore,
    agents: AgentService,
    targets: Targets,
    presence: Presence,
    health: Health,
    events: SystemEvents,
    unix_time: Callable[[], float],
    store_path: str,
    broadcast: Callable[[str, Any], None],
) -> list[Method]:
    """Return the methods of this module; see ``SystemMethods``."""
    does = SystemMethods(
        store=store,
        agents=agents,
        targets=targets,
        presence=presence,
        health=health,
        events=events,
        unix_time=unix_time,
        store_path=store_path,
        broadcast=broadcast,
    )
    return [
        Method("health", "read", HealthParams, does.health),
        Method("status", "read", AnyParams, does.status),
        Method("last-heartbeat", "read", AnyParams, does.last_heartbeat),
        Method("set-heartbeats", "admin", SetHeartbeatsParams, does.set_heartbeats),
        Method("wake", "write", WakeParams, does.wake),
        Method("system-presence", "read", AnyParams, does.system_presence),
        Method("system-event", "admin", SystemEventParams, does.system_event),
        Method("connect", "admin", AnyParams, does.connect, advertised=False),
    ]


def _no_heartbeat(agent_id: str) -> dict[str, Any]:
    return {
        "agentId": agent_id,
        "enabled": False,
        "every": "disabled",
        "everyMs": None,
    }


def _report(params: SystemEventParams) -> Report:
    return Report(
        host=text_in(params.host),
        ip=text_in(params.ip),
        version=text_in(params.version),
        platform=text_in(params.platform),
        device_family=text_in(params.device_family),
        model_identifier=text_in(params.model_identifier),
        mode=text_in(params.mode),
        last_input_seconds=number_in(params.last_input_seconds),
        reason=text_in(params.reason),
        device_id=text_in(params.device_id),
        instance_id=text_in(params.instance_id),
        roles=texts_in(params.roles),
        scopes=texts_in(params.scopes),
        tags=texts_in(params.tags),
    )


def _summary(changed: dict[str, str]) -> str:
    """Return what a presence line has changed; empty if nothing."""
    if not changed:
        return ""
    host = changed.get("host")
    parts = [f"Node: {host}" if host else "Node"]
    parts += [f"{name} {value}" for name, value in changed.items() if name != "host"]
    return " · ".join(parts)
