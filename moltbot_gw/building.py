"""The composition root: from settings to a gateway.

Only this module and ``controlplane`` know every concrete class.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from moltbot_gw.agents.allowlist import Allowlist
from moltbot_gw.agents.approvals import Approvals
from moltbot_gw.agents.cooldowns import CooldownPolicy
from moltbot_gw.agents.lanes import Lanes
from moltbot_gw.agents.providerhealth import ProviderHealth
from moltbot_gw.agents.roster import Roster, build_roster
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.setup import AgentSetup
from moltbot_gw.agents.toolpolicy import ToolPolicies
from moltbot_gw.agents.workspace import Workspaces, leave_workspace
from moltbot_gw.auth import AuthLimiter, SharedSecret
from moltbot_gw.config import Cooldowns, Reset, expand_home
from moltbot_gw.config import Session as SessionConfig
from moltbot_gw.controlplane import ControlPlane, build_control_plane
from moltbot_gw.fetching.guard import GuardedFetch
from moltbot_gw.http.accesslog import AccessLog
from moltbot_gw.http.api import build_api
from moltbot_gw.http.completions import CompletionsHandler
from moltbot_gw.http.gate import CorsPolicy, Gate
from moltbot_gw.http.hosts import HostPolicy
from moltbot_gw.http.models import ModelsHandler
from moltbot_gw.http.pictures import Pictures
from moltbot_gw.http.root import Root
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.http.timeouts import Timeouts
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.listening import build_listeners, probe_ports
from moltbot_gw.logfile import LogFile
from moltbot_gw.providers.echo import EchoProvider
from moltbot_gw.providers.factory import BadProvider, build_provider, is_served
from moltbot_gw.refusal import StartRefused
from moltbot_gw.service import GatewayService
from moltbot_gw.sessions import (
    ResetPolicy,
    SqliteSessionStore,
    fresh_after_ms,
    session_kind,
)
from moltbot_gw.settings import ALLOWLIST_FILE, LOG_FOLDER, STORE_FILE, Settings
from moltbot_gw.statelock import StateLock

_log = Logger()
_T = TypeVar("_T")

SPARE_DESCRIPTORS = 256
TOOL_NAMES = (
    "read",
    "write",
    "edit",
    "exec",
    "process",
    "web_fetch",
    "sessions_list",
    "sessions_history",
    "sessions_send",
    "session_status",
    "agents_list",
)
"""The tools that agents can be given."""


def build_gateway(settings: Settings, reactor: Any) -> GatewayService:
    """Build the gateway; raise ``StartRefused`` if it must not start."""
    listeners = build_listeners(settings, reactor)
    providers = _build_providers(settings, reactor)
    roster = build_roster(
        settings.config,
        settings.home,
        settings.environ.get("CLAWDBOT_PROFILE"),
        # Whoever only tries it out finds nothing beside the state.
        workspaces=settings.state if settings.dev else None,
    )
    _warn_of_missing_providers(roster, providers)
    lock = StateLock(settings.state)
    probe_ports(listeners)
    store = SqliteSessionStore(settings.state / STORE_FILE, reactor)

    def run_in_thread(work: Callable[[], _T]) -> Deferred[_T]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)

    workspaces = Workspaces(run_in_thread, reactor)
    agents = _build_agents(settings, roster, providers, store, workspaces, reactor)
    provider_health = _build_provider_health(settings, providers, reactor)
    log_file = _build_log_file(settings, reactor)
    limiter = AuthLimiter(
        reactor, settings.config.gateway.limits.max_auth_failures_per_minute
    )
    control = build_control_plane(
        settings=settings,
        agents=agents,
        store=store,
        limiter=limiter,
        approvals=Approvals(clock=reactor, unix_time=time.time),
        allowlist=Allowlist(
            settings.state / ALLOWLIST_FILE,
            unix_time=time.time,
            run_in_thread=run_in_thread,
        ),
        host=socket.gethostname(),
        reactor=reactor,
        unix_time=time.time,
        run_in_thread=run_in_thread,
        find_log=log_file.find,
        policies=ToolPolicies(settings.config),
        tool_names=lambda: TOOL_NAMES,
        provider_health=provider_health,
    )
    return GatewayService(
        settings=settings,
        listeners=listeners,
        site=_build_site(
            settings, agents, control, limiter, GuardedFetch(reactor=reactor), reactor
        ),
        agents=agents,
        control=control,
        store=store,
        providers=tuple(providers.values()),
        lock=lock,
        log_file=log_file,
        reactor=reactor,
    )


def _build_log_file(settings: Settings, reactor: Any) -> LogFile:
    logging = settings.config.logging
    return LogFile(
        path=Path(expand_home(logging.file, settings.home)) if logging.file else None,
        folder=settings.state / LOG_FOLDER,
        level=logging.level,
        clock=reactor,
    )


def _build_provider_health(
    settings: Settings, providers: dict[str, IModelProvider], reactor: Any
) -> ProviderHealth:
    auth = settings.config.auth
    cooldowns = auth.cooldowns if auth is not None else Cooldowns()
    return ProviderHealth(
        providers=providers,
        policy=CooldownPolicy.from_config(cooldowns),
        clock=reactor,
        unix_time=time.time,
    )


def _build_agents(
    settings: Settings,
    roster: Roster,
    providers: dict[str, IModelProvider],
    store: SqliteSessionStore,
    workspaces: Workspaces,
    reactor: Any,
) -> AgentService:
    config = settings.config
    makes_files = not config.agents.defaults.skip_bootstrap
    limits = config.gateway.limits
    return AgentService(
        setup=AgentSetup(
            roster=roster,
            providers=providers,
            fresh_after_ms=_freshness(config.session),
            max_run_bytes=limits.max_run_bytes,
            prepare_workspace=workspaces.prepare if makes_files else leave_workspace,
        ),
        store=store,
        lanes=Lanes(
            max_concurrent=config.agents.defaults.max_concurrent,
            max_waiting=limits.max_queued_runs,
            max_waiting_per_session=limits.max_queued_per_session,
        ),
        clock=reactor,
        unix_time=time.time,
    )


def _build_site(
    settings: Settings,
    agents: AgentService,
    control: ControlPlane,
    limiter: AuthLimiter,
    fetch: GuardedFetch,
    reactor: Any,
) -> GatewaySite:
    gateway = settings.config.gateway
    http = gateway.http
    completions = CompletionsHandler(
        agents=agents,
        clock=reactor,
        pictures=Pictures(
            fetch=fetch,
            config=http.endpoints.chat_completions.images,
            clock=reactor,
            max_bytes=http.endpoints.chat_completions.max_body_bytes,
        ),
        on_disconnect=http.endpoints.chat_completions.on_disconnect,
        keep_alive=http.keep_alive_seconds,
        global_scope=settings.config.session.scope == "global",
    )
    api = build_api(completions, ModelsHandler(agents.roster, int(time.time())))
    return GatewaySite(
        Root(api, control.resource),
        gate=Gate(
            secret=SharedSecret(settings.secret.reveal()),
            limiter=limiter,
            hosts=HostPolicy(_host_names(settings), gateway.control_ui.allowed_origins),
            enabled=settings.enabled,
            max_body_bytes=http.endpoints.chat_completions.max_body_bytes,
            cors=CorsPolicy(http.cors.allowed_origins),
        ),
        timeouts=Timeouts(
            header=http.header_timeout_seconds,
            body=http.body_timeout_seconds,
            idle=http.idle_timeout_seconds,
            stall=http.stall_timeout_seconds,
        ),
        clock=reactor,
        access_log=AccessLog(reactor),
        max_connections=_max_connections(),
        trusted_proxies=gateway.trusted_proxies,
    )


def _max_connections() -> int:
    """Return how many connections leave room for files, providers and the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 2**20
    return max(soft - SPARE_DESCRIPTORS, soft // 2)


def _host_names(settings: Settings) -> list[str]:
    """Return the names that clients may call us by, beside addresses and loopback.

    This machine's own name is one that no stranger's DNS can point elsewhere, and
    Tailscale's names lead only into its own network.
    """
    names = list(settings.config.gateway.allowed_hosts)
    if settings.bind not in ("loopback", "auto") or settings.endpoints:
        own = socket.gethostname().lower()
        names += [own, f"{own}.local"]
    if settings.config.gateway.tailscale.mode != "off" or settings.bind == "tailnet":
        names.append("*.ts.net")
    return names


def _build_providers(settings: Settings, reactor: Any) -> dict[str, IModelProvider]:
    providers: dict[str, IModelProvider] = {"echo": EchoProvider(reactor)}
    for name, entry in settings.config.models.providers.items():
        if not is_served(entry):
            _log.warn(
                "models.providers.{name}: the API {api} is not served yet",
                name=name,
                api=entry.api,
            )
            continue
        try:
            providers[name.lower()] = build_provider(
                name, entry, settings.environ, reactor
            )
        except BadProvider as error:
            raise StartRefused(
                f"Invalid config at {settings.config_path}:\n  {error}"
            ) from None
    return providers


def _warn_of_missing_providers(
    roster: Roster, providers: dict[str, IModelProvider]
) -> None:
    for agent in roster.agents.values():
        if agent.model.provider not in providers:
            _log.warn(
                "agent {agent} cannot run: its model {model} has no provider here",
                agent=agent.id,
                model=str(agent.model),
            )


def _freshness(session: SessionConfig) -> Callable[[str], int]:
    """Return the function from a session's key to the time before which it is stale.

    The channel's own rule replaces all others, then the kind's, then the general one,
    then the older ``idleMinutes``; without any, sessions start afresh at four.
    """

    def cutoff(session_key: str) -> int:
        chosen: Reset | None = session.reset_by_channel.get("webchat")
        if chosen is None and session.reset_by_type is not None:
            chosen = getattr(session.reset_by_type, session_kind(session_key))
        chosen = chosen or session.reset
        if chosen is None and session.idle_minutes is not None:
            policy = ResetPolicy(mode="idle", idle_minutes=session.idle_minutes)
        elif chosen is None:
            policy = ResetPolicy()
        else:
            policy = ResetPolicy(
                mode=chosen.mode or "daily",
                at_hour=chosen.at_hour,
                idle_minutes=chosen.idle_minutes,
            )
        return fresh_after_ms(policy, int(time.time() * 1000))

    return cutoff
