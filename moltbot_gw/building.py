"""The composition root: from settings to a gateway.

Only this module and its parts (``agentbuilding``, ``httpbuilding``, ``controlplane``,
``monitored``, ``changing``) know every concrete class.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.web.resource import IResource

from moltbot_gw.agentbuilding import (
    Workshop,
    build_setup,
    equip,
    lane_limits,
    notices_of,
)
from moltbot_gw.agents.allowlist import Allowlist
from moltbot_gw.agents.approvals import Approvals
from moltbot_gw.agents.lanes import Lanes
from moltbot_gw.agents.report import RunReporter
from moltbot_gw.agents.service import AgentService
from moltbot_gw.auth import AuthLimiter
from moltbot_gw.changing import House, log_path, log_secrets, read_pem
from moltbot_gw.controlplane import ControlPlane, build_control_plane
from moltbot_gw.fetching.guard import GuardedFetch
from moltbot_gw.http.accesslog import AccessLog
from moltbot_gw.http.api import build_api
from moltbot_gw.http.audience import Audience
from moltbot_gw.http.completions import CompletionsHandler
from moltbot_gw.http.metrics import MetricsHandler
from moltbot_gw.http.metricsgate import MetricsGate
from moltbot_gw.http.models import ModelsHandler
from moltbot_gw.http.policy import SitePolicy
from moltbot_gw.http.root import Root
from moltbot_gw.http.runs import RunsHandler, is_his
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.httpbuilding import Front, build_gate, completion_options, site_policy
from moltbot_gw.keyring import KeyRing
from moltbot_gw.listening import (
    build_listeners,
    build_metrics_listener,
    find_certificate,
    probe_ports,
)
from moltbot_gw.logfile import LogFile
from moltbot_gw.logs.rules import LogRules
from moltbot_gw.logs.salt import load_salt
from moltbot_gw.metering import Meters
from moltbot_gw.monitored import Monitoring, Watched, build_monitoring, build_probes
from moltbot_gw.monitoring.exposition import Exposition
from moltbot_gw.ports import Ports
from moltbot_gw.reloading import Reloader
from moltbot_gw.reloadstatus import ReloadStatus
from moltbot_gw.sdnotify import Notifier
from moltbot_gw.service import GatewayService
from moltbot_gw.sessions import SqliteSessionStore
from moltbot_gw.settings import (
    ALLOWLIST_FILE,
    LOG_FOLDER,
    LOG_SALT_FILE,
    STORE_FILE,
    Current,
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
    return LogRules(settings.config.logging, log_secrets(settings))


def build_gateway(
    settings: Settings,
    reactor: Any,
    reread: Callable[[], Settings],
    *,
    log_rules: LogRules | None = None,
    log_target: ILogObserver | None = None,
) -> GatewayService:
    """Build the gateway; raise ``StartRefused`` if it must not start.

    *reread* returns the settings of now, or raises the same; it runs in a thread.
    *log_target* is what twistd shall write its log with.
    """
    log_rules = log_rules or build_log_rules(settings)
    listeners = build_listeners(settings, reactor)
    store = SqliteSessionStore(settings.state / STORE_FILE, reactor)
    house, monitoring = _build_house(settings, store, log_rules, reactor)
    lock = StateLock(settings.state)
    if monitoring.listener is not None:
        probe_ports([monitoring.listener])
    probe_ports(listeners)
    workshop = house.workshop
    return GatewayService(
        current=house.current,
        listeners=listeners,
        certificate=find_certificate(settings),
        ports=house.ports,
        site=house.site,
        agents=house.agents,
        commands=workshop.commands,
        control=house.control,
        store=store,
        lock=lock,
        log_file=house.log_file,
        log_target=log_target,
        monitoring=monitoring,
        notifier=Notifier(settings.environ, os.getpid()),
        build_reloader=lambda supervision: Reloader(
            current=house.current,
            status=house.status,
            reread=reread,
            draft=house.draft,
            told=house.control.health.outdated,
            supervision=supervision,
            run_in_thread=workshop.run_in_thread,
            clock=reactor,
        ),
        reactor=reactor,
    )


def _build_house(
    settings: Settings,
    store: SqliteSessionStore,
    log_rules: LogRules,
    reactor: Any,
) -> tuple[House, Monitoring]:
    """Return the parts that go by the configuration, and what watches them."""
    current, status = Current(settings), ReloadStatus(unix_time=time.time)
    system_events = SystemEvents()
    workshop = _build_workshop(settings, store, reactor, system_events)
    gateway = settings.config.gateway
    keys = KeyRing(gateway.auth.keys, time.time)
    meters = Meters(reactor, keys.limits_of)
    keys.observe(meters.forget)
    lanes = Lanes(lane_limits(settings.config))
    agents = _build_agents(settings, workshop, lanes, meters)
    log_file = _build_log_file(settings, log_rules, workshop)
    limiter = AuthLimiter(reactor, gateway.limits.max_auth_failures_per_minute)
    control = build_control_plane(
        current=current,
        status=status,
        agents=agents,
        store=workshop.store,
        limiter=limiter,
        approvals=workshop.approvals,
        allowlist=workshop.allowlist,
        keys=keys,
        meters=meters,
        host=socket.gethostname(),
        reactor=reactor,
        unix_time=time.time,
        run_in_thread=workshop.run_in_thread,
        find_log=log_file.find,
        system_events=system_events,
    )
    edge = _build_edge(
        settings, store, workshop, agents, control, status, limiter, keys, meters
    )
    house = House(
        current=current,
        status=status,
        workshop=workshop,
        agents=agents,
        lanes=lanes,
        limiter=limiter,
        keys=keys,
        meters=meters,
        log_rules=log_rules,
        log_file=log_file,
        front=edge.front,
        site=edge.site,
        metrics_site=edge.metrics_site,
        audience=edge.audience,
        completions=edge.completions,
        control=control,
        ports=Ports(edge.site, reactor),
        reactor=reactor,
        pem=read_pem(settings),
    )
    return house, edge.monitoring


@attrs.frozen(kw_only=True, eq=False)
class _Edge:
    """The HTTP edge."""

    front: Front
    site: GatewaySite
    metrics_site: GatewaySite
    audience: Audience
    completions: CompletionsHandler
    monitoring: Monitoring


def _build_edge(
    settings: Settings,
    store: SqliteSessionStore,
    workshop: Workshop,
    agents: AgentService,
    control: ControlPlane,
    status: ReloadStatus,
    limiter: AuthLimiter,
    keys: KeyRing,
    meters: Meters,
) -> _Edge:
    reactor = workshop.reactor
    audience = _build_audience(settings, reactor)
    completions = CompletionsHandler(
        agents=agents,
        clock=reactor,
        audience=audience,
        options=completion_options(settings, workshop.fetch, reactor),
    )
    runs = RunsHandler(
        agents=agents,
        clock=reactor,
        audience=audience,
        keep_alive=lambda: completions.options.keep_alive,
        may_see=is_his,
    )
    exposition = Exposition(reactor)
    front = Front(build_gate(settings, limiter, keys, meters))
    asks = front.brings_secret
    probes = build_probes(
        agents, store, asks, reactor, config_problem=lambda: status.error
    )
    models, metrics = ModelsHandler(agents, int(time.time())), exposition.render
    api = build_api(completions, models, runs, probes, MetricsHandler(metrics))
    site = _build_site(
        Root(api, control.resource),
        site_policy(settings, front.gate),
        _max_connections(),
        reactor,
    )
    metrics_site = _build_site(
        api,
        site_policy(settings, MetricsGate(front.gate)),
        METRICS_CONNECTIONS,
        reactor,
    )
    watched = Watched(
        edge=site, control=control, agents=agents, store=store, limiter=limiter
    )
    return _Edge(
        front=front,
        site=site,
        metrics_site=metrics_site,
        audience=audience,
        completions=completions,
        monitoring=_watch(watched, settings, exposition, metrics_site, reactor),
    )


def _build_audience(settings: Settings, reactor: Any) -> Audience:
    chat = settings.config.gateway.http.endpoints.chat_completions
    return Audience(
        clock=reactor,
        on_disconnect=chat.on_disconnect,
        grace_seconds=chat.disconnect_grace_seconds,
    )


def _watch(
    watched: Watched,
    settings: Settings,
    exposition: Exposition,
    site: GatewaySite,
    reactor: Any,
) -> Monitoring:
    return build_monitoring(
        watched,
        exposition=exposition,
        enabled=settings.config.gateway.metrics.enabled,
        listener=build_metrics_listener(settings, reactor),
        site=site,
        reactor=reactor,
    )


def _build_site(
    resource: IResource, policy: SitePolicy, max_connections: int, reactor: Any
) -> GatewaySite:
    return GatewaySite(
        resource,
        policy=policy,
        clock=reactor,
        access_log=AccessLog(reactor),
        max_connections=max_connections,
    )


def _build_workshop(
    settings: Settings,
    store: SqliteSessionStore,
    reactor: Any,
    system_events: SystemEvents,
) -> Workshop:
    def run_in_thread(work: Callable[[], _T]) -> Deferred[_T]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)

    return Workshop(
        config=settings.config,
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


def _build_agents(
    settings: Settings, workshop: Workshop, lanes: Lanes, meters: Meters
) -> AgentService:
    stock = workshop.shelf.prepare(settings)
    setup = build_setup(settings, workshop, stock)
    agents = AgentService(
        setup=setup,
        store=workshop.store,
        lanes=lanes,
        clock=workshop.reactor,
        unix_time=time.time,
        reporter=RunReporter(load_salt(settings.state / LOG_SALT_FILE)),
        meters=meters,
    )
    workshop.shelf.put(stock)
    equip(setup, settings, agents, workshop)
    for notice in notices_of(setup, settings):
        _log.warn("{notice}", notice=notice)
    return agents


def _build_log_file(settings: Settings, rules: LogRules, workshop: Workshop) -> LogFile:
    return LogFile(
        path=log_path(settings),
        folder=settings.state / LOG_FOLDER,
        scribe=rules.scribe,
        levels=rules.file,
        clock=workshop.reactor,
        run_in_thread=workshop.run_in_thread,
    )


def _max_connections() -> int:
    """Return how many connections leave room for files, providers and the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 2**20
    return max(soft - SPARE_DESCRIPTORS, soft // 2)
