"""The composition of ``monitoring/``: what is looked at, and where it is served."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from moltbot_gw.agents.service import AgentService, gateway_stops
from moltbot_gw.auth import AuthLimiter
from moltbot_gw.controlplane import ControlPlane
from moltbot_gw.http.probes import ProbesHandler
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.listening import Listener
from moltbot_gw.monitoring.edges import EdgeFigures
from moltbot_gw.monitoring.exposition import Exposition
from moltbot_gw.monitoring.providers import ProviderFigures
from moltbot_gw.monitoring.reactor import StallProbe
from moltbot_gw.monitoring.readiness import ReadinessCheck
from moltbot_gw.monitoring.runs import RunFigures
from moltbot_gw.monitoring.store import Store, StoreFigures

_log = Logger()


class Monitoring:
    """What the daemon starts and stops: the stall probe, and the listener's site.

    *listener* is None when metrics have none of their own.  It outlives the others: who
    watches a gateway wants to see how it stops.
    """

    def __init__(
        self, *, listener: Listener | None, site: GatewaySite, probe: StallProbe | None
    ) -> None:
        self.listener = listener
        self.site = site
        self._probe = probe
        self._ports: list[IListeningPort] = []

    def listens(self, port: IListeningPort, listener: Listener) -> None:
        """Note that *listener* has been opened."""
        self._ports.append(port)
        _log.info("metrics are at {address}", address=listener.address_of(port))

    def start(self) -> None:
        """Begin to measure."""
        if self._probe is not None:
            self._probe.start()

    async def stop(self, seconds: float) -> None:
        """Measure no more, and close what is open, by force after *seconds*."""
        if self._probe is not None:
            self._probe.stop()
        while self._ports:
            await maybeDeferred(self._ports.pop().stopListening)
        await self.site.close(seconds, gateway_stops())


@attrs.frozen(kw_only=True, eq=False)
class Watched:
    """The parts that figures are told of; *edge* is the site of the gateway's port."""

    edge: GatewaySite
    control: ControlPlane
    agents: AgentService
    store: Store
    limiter: AuthLimiter


def build_monitoring(
    watched: Watched,
    *,
    exposition: Exposition,
    enabled: bool,
    listener: Listener | None,
    site: GatewaySite,
    reactor: Any,
) -> Monitoring:
    """Let *exposition* tell of *watched*.

    Unless *enabled* or with a *listener*, nobody can read it, and nothing is measured.
    """
    if not enabled and listener is None:
        return Monitoring(listener=None, site=site, probe=None)
    probe = StallProbe(clock=reactor, monotonic=time.monotonic)
    edges = EdgeFigures(
        http=watched.edge, websockets=watched.control, limiter=watched.limiter
    )
    exposition.add(RunFigures(watched.agents).collect)
    exposition.add(edges.collect)
    exposition.add(StoreFigures(watched.store).collect)
    providers = ProviderFigures(lambda: watched.agents.setup.failover.health)
    exposition.add(providers.collect)
    exposition.add(probe.collect)
    return Monitoring(listener=listener, site=site, probe=probe)


def build_probes(
    agents: AgentService,
    store: ISessionStore,
    brings_secret: Callable[[GatewayRequest], bool],
    reactor: Any,
    config_problem: Callable[[], str | None] = lambda: None,
) -> ProbesHandler:
    """Build what answers ``/healthz`` and ``/readyz``."""
    readiness = ReadinessCheck(
        store=store,
        is_draining=lambda: agents.draining,
        config_problem=config_problem,
        clock=reactor,
    )
    return ProbesHandler(
        check=readiness.report,
        brings_secret=brings_secret,
    )
