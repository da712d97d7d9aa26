"""The composition root: from settings to a gateway.

Only this module and ``controlplane`` know every concrete class.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.web.resource import IResource

from moltbot_gw.agentbuilding import Workshop, build_setup, equip
from moltbot_gw.agents.allowlist import Allowlist
from moltbot_gw.agents.approvals import Approvals
from moltbot_gw.agents.lanes import Lanes
from moltbot_gw.agents.report import RunReporter
from moltbot_gw.agents.service import AgentService
from moltbot_gw.auth import AuthLimiter, SharedSecret
from moltbot_gw.config import LoadedConfig, Networks, expand_home, load_config
from moltbot_gw.controlplane import ControlPlane, build_control_plane
from moltbot_gw.fetching.guard import GuardedFetch
from moltbot_gw.http.accesslog import AccessLog
from moltbot_gw.http.api import Api, build_api
from moltbot_gw.http.audience import Audience
from moltbot_gw.http.completions import CompletionsHandler
from moltbot_gw.http.gate import CorsPolicy, Gate, Gatekeeper
from moltbot_gw.http.hosts import HostPolicy
from moltbot_gw.http.metrics import MetricsHandler
from moltbot_gw.http.metricsgate import MetricsGate
from moltbot_gw.http.models import ModelsHandler
from moltbot_gw.http.pictures import Pictures
from moltbot_gw.http.root import Root
from moltbot_gw.http.runs import RunsHandler, is_his
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.http.timeouts import Timeouts
from moltbot_gw.keyring import KeyRing
from moltbot_gw.keywatch import KeyWatch
from moltbot_gw.listening import (
    build_listeners,
    build_metrics_listener,
    probe_ports,
)
from moltbot_gw.logfile import LogFile
from moltbot_gw.logs.rules import LogRules, find_secrets
from moltbot_gw.logs.salt import load_salt
from moltbot_gw.metering import Meters
from moltbot_gw.monitored import Monitoring, Watched, build_monitoring, build_probes
from moltbot_gw.monitoring.exposition import Exposition
from moltbot_gw.sdnotify import Notifier
from moltbot_gw.service import GatewayService
from moltbot_gw.sessions import (
    SqliteSessionStore,
)
from moltbot_gw.settings import (
    ALLOWLIST_FILE,
    LOG_FOLDER,
    LOG_SALT_FILE,
    STORE_FILE,
    Settings,
)
from moltbot_gw.statelock import StateLock
from moltbot_gw.ws.system_events import SystemEvents

_log = Logger()
_T = TypeVar("_T")

SPARE_DESCRIPTORS = 256
METRICS_CONNECTIONS = 64
"""At the listener for metrics, out of the spare descriptors."""


def build_log_rules(settings: Settings) -> LogRules:
    """Return what all logs go by, which show no secret of *settings*."""
    config = settings.config
    secrets = find_secrets(config, settings.environ) | {settings.secret.reveal()}
    return LogRules(config.logging, secrets)


def build_gateway(
    settings: Settings,
    reactor: Any,
    *,
    log_rules: LogRules | None = None,
    log_target: ILogObserver | None = None,
) -> GatewayService:
    """Build the gateway; raise ``StartRefused`` if it must not start.

    *log_target* is what twistd shall write its log with.
    """
    log_rules = log_rules or build_log_rules(settings)
    listeners = build_listeners(settings, reactor)
    config = settings.config
    store = SqliteSessionStore(settings.state / STORE_FILE, reactor)

    def run_in_thread(work: Callable[[], _T]) -> Deferred[_T]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)

    system_events = SystemEvents()
    workshop = Workshop(
        config=config,
        reactor=reactor,
        store=store,
        run_in_thread=run_in_thread,
        environ=settings.environ,
        home=settings.home,
        fetch=GuardedFetch(reactor=reactor),
        approvals=Approvals(clock=reactor, unix_time=time.time),
        allowlist=Allowlist(
            settings.state / ALLOWLIST_FILE,
            unix_time=time.time,
            run_in_thread=run_in_thread,
        ),
        tell=system_events.add,
    )
    keys = KeyRing(config.gateway.auth.keys, time.time)
    meters = Meters(reactor, keys.limits_of)
    keys.observe(meters.forget)
    agents = _build_agents(settings, workshop, meters)
    lock = StateLock(settings.state)
    probe_ports(listeners)
    log_file = _build_log_file(settings, log_rules, reactor)
    limiter = AuthLimiter(reactor, config.gateway.limits.max_auth_failures_per_minute)
    control = build_control_plane(
        settings=settings,
        agents=agents,
        store=store,
        limiter=limiter,
        approvals=workshop.approvals,
        allowlist=workshop.allowlist,
        keys=keys,
        meters=meters,
        host=socket.gethostname(),
        reactor=reactor,
        unix_time=time.time,
        run_in_thread=run_in_thread,
        find_log=log_file.find,
        system_events=system_events,
    )
    gate = _build_gate(settings, limiter, keys, meters)
    site, monitoring = _build_sites(
        settings, workshop, agents, store, control, limiter, gate
    )
    return GatewayService(
        settings=settings,
        listeners=listeners,
        site=site,
        agents=agents,
        commands=workshop.commands,
        control=control,
        store=store,
        lock=lock,
        log_file=log_file,
        log_target=log_target,
        monitoring=monitoring,
        notifier=Notifier(settings.environ, os.getpid()),
        key_watch=KeyWatch(
            keys=keys,
            path=settings.config_path,
            load=lambda: _load_again(settings),
            run_in_thread=run_in_thread,
            clock=reactor,
        ),
        reactor=reactor,
    )


def _load_again(settings: Settings) -> LoadedConfig:
    path = settings.config_path if settings.config_path.exists() else None
    return load_config(settings.environ, settings.home, path=path)


def _build_agents(
    settings: Settings, workshop: Workshop, meters: Meters
) -> AgentService:
    config, setup = settings.config, build_setup(settings, workshop)
    agents = AgentService(
        setup=setup,
        store=workshop.store,
        lanes=Lanes(
            max_concurrent=config.agents.defaults.max_concurrent,
            max_waiting=config.gateway.limits.max_queued_runs,
            max_waiting_per_session=config.gateway.limits.max_queued_per_session,
        ),
        clock=workshop.reactor,
        unix_time=time.time,
        reporter=RunReporter(load_salt(settings.state / LOG_SALT_FILE)),
        meters=meters,
    )
    equip(setup, settings, agents, workshop)
    return agents


def _build_log_file(settings: Settings, rules: LogRules, reactor: Any) -> LogFile:
    logging = settings.config.logging
    return LogFile(
        path=Path(expand_home(logging.file, settings.home)) if logging.file else None,
        folder=settings.state / LOG_FOLDER,
        scribe=rules.scribe,
        levels=rules.file,
        clock=reactor,
    )


def _build_sites(
    settings: Settings,
    workshop: Workshop,
    agents: AgentService,
    store: SqliteSessionStore,
    control: ControlPlane,
    limiter: AuthLimiter,
    gate: Gate,
) -> tuple[GatewaySite, Monitoring]:
    """Return the site of the gateway's port, and what watches it."""
    reactor = workshop.reactor
    exposition = Exposition(reactor)
    api = _build_api(settings, workshop, agents, gate, exposition)
    site = _build_site(
        settings, Root(api, control.resource), gate, _max_connections(), reactor
    )
    own_site = _build_site(
        settings, api, MetricsGate(gate), METRICS_CONNECTIONS, reactor
    )
    listener = build_metrics_listener(settings, reactor)
    if listener is not None:
        probe_ports([listener])
    monitoring = build_monitoring(
        Watched(
            edge=site,
            control=control,
            agents=agents,
            store=store,
            limiter=limiter,
        ),
        exposition=exposition,
        enabled=settings.config.gateway.metrics.enabled,
        listener=listener,
        site=own_site,
        reactor=reactor,
    )
    return site, monitoring


def _build_api(
    settings: Settings,
    workshop: Workshop,
    agents: AgentService,
    gate: Gate,
    exposition: Exposition,
) -> Api:
    http, clock = settings.config.gateway.http, workshop.reactor
    chat = http.endpoints.chat_completions
    audience = Audience(
        clock=clock,
        on_disconnect=chat.on_disconnect,
        grace_seconds=chat.disconnect_grace_seconds,
    )
    return build_api(
        CompletionsHandler(
            agents=agents,
            clock=clock,
            pictures=Pictures(
                fetch=workshop.fetch,
                config=chat.images,
                clock=clock,
                max_bytes=chat.max_body_bytes,
            ),
            audience=audience,
            keep_alive=http.keep_alive_seconds,
            global_scope=settings.config.session.scope == "global",
        ),
        ModelsHandler(agents.roster, int(time.time())),
        RunsHandler(
            agents=agents,
            clock=clock,
            audience=audience,
            keep_alive=http.keep_alive_seconds,
            may_see=is_his,
        ),
        build_probes(agents, workshop.store, gate, workshop.reactor),
        MetricsHandler(exposition.render),
    )


def _build_gate(
    settings: Settings, limiter: AuthLimiter, keys: KeyRing, meters: Meters
) -> Gate:
    gateway = settings.config.gateway
    return Gate(
        secret=SharedSecret(settings.secret.reveal()),
        keys=keys,
        meters=meters,
        limiter=limiter,
        hosts=HostPolicy(_host_names(settings), gateway.control_ui.allowed_origins),
        enabled=settings.enabled,
        max_body_bytes=gateway.http.endpoints.chat_completions.max_body_bytes,
        cors=CorsPolicy(gateway.http.cors.allowed_origins),
        metrics=gateway.metrics.enabled,
        openapi=gateway.http.endpoints.openapi.enabled,
    )


def _build_site(
    settings: Settings,
    resource: IResource,
    gate: Gatekeeper,
    max_connections: int,
    reactor: Any,
) -> GatewaySite:
    http = settings.config.gateway.http
    return GatewaySite(
        resource,
        gate=gate,
        timeouts=Timeouts(
            header=http.header_timeout_seconds,
            body=http.body_timeout_seconds,
            idle=http.idle_timeout_seconds,
            stall=http.stall_timeout_seconds,
        ),
        clock=reactor,
        access_log=AccessLog(reactor),
        max_connections=max_connections,
        max_connections_per_address=(
            settings.config.gateway.limits.max_connections_per_address
        ),
        trusted_proxies=Networks(settings.config.gateway.trusted_proxies),
        user_header=settings.config.gateway.auth.trusted_proxy.user_header,
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
