"""What all clients keep a copy of: presence and health, and who asks to be let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from moltbot_gw import __version__
from moltbot_gw.agents.service import AgentService
from moltbot_gw.devices.pairing import PendingView, Resolved
from moltbot_gw.errors import StoreFailed
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.reloadstatus import ReloadStatus
from moltbot_gw.wire.frames import StateVersion
from moltbot_gw.ws.calls import Caller
from moltbot_gw.ws.handshake import Admission
from moltbot_gw.ws.health import Health
from moltbot_gw.ws.hub import Hub
from moltbot_gw.ws.methods.devices import resolved_event
from moltbot_gw.ws.presence import Presence
from moltbot_gw.ws.system_events import SystemEvents


class States:
    """What all clients keep a copy of, and who is told when it changes."""

    def __init__(
        self,
        *,
        hub: Hub,
        agents: AgentService,
        store: ISessionStore,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        store_path: str,
        host: str,
        system_events: SystemEvents,
        status: ReloadStatus,
    ) -> None:
        self._hub = hub
        self.system_events = system_events
        self.presence = Presence(unix_time=unix_time, version=__version__, host=host)
        self.health = Health(
            store=store,
            agents=agents,
            clock=clock,
            unix_time=unix_time,
            store_path=store_path,
            broadcast=self.tell,
            config=status,
        )
        hub.on_gone = self._gone

    def versions(self) -> StateVersion:
        """Return the counters of presence and health."""
        return StateVersion(presence=self.presence.version, health=self.health.version)

    def tell(self, name: str, payload: Any) -> None:
        """Tell everybody a state that is counted."""
        self._hub.broadcast(name, payload, version=self.versions())

    def admitted(self, admission: Admission) -> None:
        """A client has been let in; it is told itself in its hello."""
        self.presence.connected(admission.caller)
        if admission.resolved is not None:
            self.pairing_resolved(admission.resolved)
        refreshing = Deferred.fromCoroutine(self.health.refresh())
        # What is wrong with the store is in the log already.
        refreshing.addErrback(lambda failure: failure.trap(StoreFailed))

    def pairing_asked(self, pending: PendingView) -> None:
        """Somebody has to approve a device."""
        self._hub.broadcast(
            "device.pair.requested",
            pending,
            key=f"device.pair.requested:{pending.request_id}",
            right="pairing",
        )

    def pairing_resolved(self, resolved: Resolved) -> None:
        """Somebody has."""
        self._hub.broadcast(
            "device.pair.resolved",
            resolved_event(resolved),
            key=f"device.pair.resolved:{resolved.request_id}",
            right="pairing",
        )

    def _gone(self, caller: Caller) -> None:
        if self.presence.disconnected(caller):
            self.tell("presence", {"presence": self.presence.entries()})
