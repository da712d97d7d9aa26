"""The composition root of the WebSocket edge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from moltbot_gw import __version__
from moltbot_gw.agents.allowlist import Allowlist
from moltbot_gw.agents.approvals import Approvals
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.statuscard import StatusCards
from moltbot_gw.auth import AuthLimiter, SharedSecret
from moltbot_gw.config import Assistant
from moltbot_gw.config.file import find_config_file
from moltbot_gw.devices.pairing import PairingStore
from moltbot_gw.interfaces import ISessionStore, RunInThread
from moltbot_gw.keyring import KeyRing
from moltbot_gw.metering import Meters
from moltbot_gw.reloadstatus import ReloadStatus
from moltbot_gw.settings import STORE_FILE, Current, Settings
from moltbot_gw.ws.calls import Method, MethodTable
from moltbot_gw.ws.connection import MAX_PAYLOAD, Connection, Services
from moltbot_gw.ws.greeting import Facts, Greeter
from moltbot_gw.ws.handshake import Demands, Doorkeeper
from moltbot_gw.ws.health import Health
from moltbot_gw.ws.hub import Hub
from moltbot_gw.ws.methods import (
    agent_tools,
    catalogues,
    history,
    logs,
    model_status,
    sessions,
    system,
    unserved,
    usage,
)
from moltbot_gw.ws.methods.agent import AgentMethods
from moltbot_gw.ws.methods.approvals import ApprovalMethods
from moltbot_gw.ws.methods.chat import ChatMethods
from moltbot_gw.ws.methods.commands import Commands
from moltbot_gw.ws.methods.config import ConfigMethods
from moltbot_gw.ws.methods.devices import DeviceMethods
from moltbot_gw.ws.methods.session_tools import SessionTools
from moltbot_gw.ws.resource import UpgradeResource
from moltbot_gw.ws.socket import SocketFactory
from moltbot_gw.ws.states import States
from moltbot_gw.ws.system_events import SystemEvents
from moltbot_gw.ws.targets import Targets

DEVICES_FOLDER = "devices"


@attrs.frozen(eq=False)
class ControlPlane:
    """The edge as the daemon needs it: a resource for the site, and an end."""

    resource: IResource
    hub: Hub
    doorkeeper: Doorkeeper
    health: Health
    sockets: SocketFactory

    @property
    def clients(self) -> int:
        """How many are ready."""
        return self.hub.members

    @property
    def slow_closes(self) -> int:
        """How many were let go because they did not read."""
        return self.sockets.slow_closes

    def take_settings(self, old: Settings, new: Settings) -> None:
        """Go by *new* settings; dismiss who came in by a secret that is no more."""
        self.doorkeeper.demands = _demands(new)
        self.sockets.stall_seconds = new.config.gateway.http.stall_timeout_seconds
        if (old.secret, old.secret_name) != (new.secret, new.secret_name):
            self.hub.dismiss_by_secret()

    def announce_stop(self, reason: str) -> None:
        """Tell all clients that we stop; runs may still end before ``close``."""
        self.hub.announce_stop(reason)

    async def close(self) -> None:
        """Close all clients, and wait until they are gone."""
        await self.hub.close()


def build_control_plane(
    *,
    current: Current,
    status: ReloadStatus,
    agents: AgentService,
    store: ISessionStore,
    limiter: AuthLimiter,
    approvals: Approvals,
    allowlist: Allowlist,
    keys: KeyRing,
    meters: Meters,
    host: str,
    reactor: Any,
    unix_time: Callable[[], float],
    run_in_thread: RunInThread,
    find_log: Callable[[], Path | None],
    system_events: SystemEvents,
) -> ControlPlane:
    """Build the edge on the parts that it shares with the HTTP edge."""
    settings = current.settings
    shared = Shared(
        current=current,
        agents=agents,
        store=store,
        targets=Targets(agents),
        hub=Hub(agents=agents, keys=keys, clock=reactor, unix_time=unix_time),
        clock=reactor,
        unix_time=unix_time,
        run_in_thread=run_in_thread,
    )
    states = States(
        hub=shared.hub,
        agents=agents,
        store=store,
        clock=reactor,
        unix_time=unix_time,
        store_path=shared.store_path,
        host=host,
        system_events=system_events,
        status=status,
    )
    folder = settings.state / DEVICES_FOLDER
    pairing = PairingStore(folder, unix_time=unix_time, run_in_thread=run_in_thread)
    approval_methods = ApprovalMethods(
        approvals=approvals, allowlist=allowlist, hub=shared.hub, unix_time=unix_time
    )
    served = _served(shared, states, pairing, find_log)
    table = MethodTable([*served, *approval_methods.methods(), *_unserved(shared)])
    doorkeeper = Doorkeeper(
        demands=_demands(settings),
        keys=keys,
        limiter=limiter,
        pairing=pairing,
        unix_time=unix_time,
        on_pairing_asked=states.pairing_asked,
    )
    return _open(shared, states, table, doorkeeper, meters, host)


def _open(
    shared: Shared,
    states: States,
    table: MethodTable,
    doorkeeper: Doorkeeper,
    meters: Meters,
    host: str,
) -> ControlPlane:
    """Return the edge, which each connection finds as it is then."""
    current, settings = shared.current, shared.current.settings
    services = Services(
        clock=shared.clock,
        unix_time=shared.unix_time,
        hub=shared.hub,
        doorkeeper=doorkeeper,
        methods=table,
        greet=_build_greeter(shared, states, table, host),
        admitted=states.admitted,
        max_in_flight=lambda: (
            current.settings.config.gateway.limits.max_requests_in_flight
        ),
        meters=meters,
    )
    factory = SocketFactory(
        clock=shared.clock,
        max_bytes=MAX_PAYLOAD,
        stall_seconds=settings.config.gateway.http.stall_timeout_seconds,
    )
    resource = UpgradeResource(
        factory, lambda socket, peer: Connection(services, socket, peer)
    )
    return ControlPlane(resource, shared.hub, doorkeeper, states.health, factory)


def _unserved(shared: Shared) -> list[Method]:
    """Return the methods that have little to say, and those of models' health."""
    return [
        *model_status.methods(agents=shared.agents, unix_time=shared.unix_time),
        *unserved.methods(
            hub=shared.hub,
            unix_time=shared.unix_time,
            state=shared.current.settings.state,
            workspace=lambda: _default_workspace(shared.agents),
        ),
    ]


def _default_workspace(agents: AgentService) -> Path:
    roster = agents.roster
    return roster.agents[roster.default_id].workspace


def _demands(settings: Settings) -> Demands:
    return Demands(
        secret=SharedSecret(settings.secret.reveal()),
        kind=settings.secret_name,
        control_ui=settings.config.gateway.control_ui,
    )


@attrs.frozen(kw_only=True, eq=False)
class Shared:
    """What nearly every part of the edge is built on."""

    current: Current
    agents: AgentService
    store: ISessionStore
    targets: Targets
    hub: Hub
    clock: IReactorTime
    unix_time: Callable[[], float]
    run_in_thread: RunInThread

    @property
    def store_path(self) -> str:
        """The store's file, for people."""
        return str(self.current.settings.state / STORE_FILE)


def _served(
    shared: Shared,
    states: States,
    pairing: PairingStore,
    find_log: Callable[[], Path | None],
) -> list[Method]:
    """Return the methods that do something, in the order that clients are told."""
    current, agents, store = shared.current, shared.agents, shared.store
    settings = current.settings
    tools = SessionTools(
        store=store,
        agents=agents,
        targets=shared.targets,
        clock=shared.clock,
        unix_time=shared.unix_time,
        store_path=shared.store_path,
    )
    config_methods = ConfigMethods(
        file=find_config_file(settings.environ, settings.home, settings.config_path),
        run_in_thread=shared.run_in_thread,
    )
    device_methods = DeviceMethods(
        pairing=pairing, tell=states.pairing_resolved, dismiss=shared.hub.dismiss
    )
    return [
        *system.methods(
            store=store,
            agents=agents,
            targets=shared.targets,
            presence=states.presence,
            health=states.health,
            events=states.system_events,
            unix_time=shared.unix_time,
            store_path=shared.store_path,
            broadcast=states.tell,
        ),
        *logs.methods(find_file=find_log, run_in_thread=shared.run_in_thread),
        *usage.methods(
            store=store,
            agents=agents,
            clock=shared.clock,
            unix_time=shared.unix_time,
        ),
        *config_methods.methods(),
        *catalogues.methods(
            agents=agents,
            targets=shared.targets,
            find_assistant=lambda: _assistant(current.settings),
            run_in_thread=shared.run_in_thread,
        ),
        *agent_tools.methods(agents=agents, targets=shared.targets),
        *sessions.methods(tools=tools),
        *device_methods.methods(),
        *history.methods(tools=tools, hub=shared.hub),
        *_run_methods(shared, states),
    ]


def _run_methods(shared: Shared, states: States) -> list[Method]:
    """Return the methods that start runs and stop them."""
    run_methods = AgentMethods(
        agents=shared.agents,
        store=shared.store,
        targets=shared.targets,
        clock=shared.clock,
        unix_time=shared.unix_time,
    )
    current = shared.current
    commands = Commands(
        store=shared.store,
        cards=StatusCards(
            agents=shared.agents, store=shared.store, unix_time=shared.unix_time
        ),
        compact=shared.agents.compact,
        hub=shared.hub,
        clock=shared.clock,
        unix_time=shared.unix_time,
        reset_triggers=lambda: current.settings.config.session.reset_triggers,
    )
    chat_methods = ChatMethods(
        agents=shared.agents,
        store=shared.store,
        targets=shared.targets,
        unix_time=shared.unix_time,
        system_events=states.system_events,
        commands=commands,
    )
    return [*run_methods.methods(), *chat_methods.methods()]


def _assistant(settings: Settings) -> Assistant | None:
    ui = settings.config.ui
    return ui.assistant if ui else None


def _build_greeter(
    shared: Shared, states: States, table: MethodTable, host: str
) -> Greeter:
    settings, clock = shared.current.settings, shared.clock
    started = clock.seconds()
    return Greeter(
        facts=Facts(
            version=__version__,
            host=host,
            config_path=str(settings.config_path),
            state_dir=str(settings.state),
            methods=table.advertised,
        ),
        session_defaults=shared.targets.session_defaults,
        presence=states.presence.entries,
        health=lambda: states.health.cached,
        versions=states.versions,
        uptime=lambda: clock.seconds() - started,
    )
