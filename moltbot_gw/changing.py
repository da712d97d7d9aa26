"""What a new configuration changes: built beside what runs, then put in its place.

A part of the composition root.  Each part that goes by the configuration has one value
that is replaced whole; here is the list of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger

from moltbot_gw.agentbuilding import (
    Workshop,
    build_setup,
    equip,
    lane_limits,
    notices_of,
)
from moltbot_gw.agents.lanes import Lanes
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.setup import AgentSetup
from moltbot_gw.auth import AuthLimiter
from moltbot_gw.config import expand_home
from moltbot_gw.controlplane import ControlPlane
from moltbot_gw.http.audience import Audience
from moltbot_gw.http.completions import CompletionOptions, CompletionsHandler
from moltbot_gw.http.gate import Gate
from moltbot_gw.http.metricsgate import MetricsGate
from moltbot_gw.http.policy import SitePolicy
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.httpbuilding import Front, build_gate, completion_options, site_policy
from moltbot_gw.keyring import KeyRing
from moltbot_gw.listening import Listener, build_listeners, find_certificate
from moltbot_gw.logfile import LogFile
from moltbot_gw.logs.rules import LogRules, find_secrets
from moltbot_gw.metering import Meters
from moltbot_gw.ports import OpenPort, Ports
from moltbot_gw.providershelf import Stocked
from moltbot_gw.reloadstatus import ReloadStatus
from moltbot_gw.settings import Current, Settings
from moltbot_gw.tlsfiles import tls_files

_log = Logger()


@attrs.define(kw_only=True, eq=False)
class House:
    """The parts of the running gateway that go by the configuration.

    *pem* is the content of the certificate's files that is in use.
    """

    current: Current
    status: ReloadStatus
    workshop: Workshop
    agents: AgentService
    lanes: Lanes
    limiter: AuthLimiter
    keys: KeyRing
    meters: Meters
    log_rules: LogRules
    log_file: LogFile
    front: Front
    site: GatewaySite
    metrics_site: GatewaySite
    audience: Audience
    completions: CompletionsHandler
    control: ControlPlane
    ports: Ports
    reactor: Any
    pem: tuple[bytes, ...]

    def draft(self, settings: Settings) -> NewConfiguration:
        """Build everything for *settings*; raises ``StartRefused``, changes nothing."""
        before = self.current.settings
        # Neither can follow: the store is open, and whoever asks for it has its path.
        fixed = attrs.evolve(
            settings, state=before.state, config_path=before.config_path
        )
        moved = (
            (settings.state, before.state, "the state directory"),
            (settings.config_path, before.config_path, "the configuration's place"),
            (_metrics(settings), _metrics(before), "the listener for metrics"),
            (_crowd(settings), _crowd(before), "connections of one address"),
        )
        waiting = tuple(what for now, then, what in moved if now != then)
        stock = self.workshop.shelf.prepare(fixed)
        pem = read_pem(fixed)
        setup = build_setup(fixed, self.workshop, stock, self.agents.setup)
        equip(setup, fixed, self.agents, self.workshop)
        gate = build_gate(fixed, self.limiter, self.keys, self.meters)
        known = [one.listener for one in self.ports.open]
        providers = {name: one.provider for name, one in stock.items()}
        return NewConfiguration(
            house=self,
            settings=fixed,
            stock=stock,
            setup=setup,
            gate=gate,
            policy=site_policy(fixed, gate),
            metrics_policy=site_policy(fixed, MetricsGate(gate)),
            log_secrets=log_secrets(fixed),
            completions=completion_options(fixed, self.workshop.fetch, self.reactor),
            listeners=build_listeners(fixed, self.reactor, known),
            certificate=find_certificate(fixed),
            pem=pem,
            waiting=waiting,
            changes=fixed != before
            or pem != self.pem
            or providers != self.agents.setup.providers,
        )


@attrs.define(kw_only=True, eq=False)
class NewConfiguration:
    """A configuration that is built, checked, and not in force before ``install``."""

    house: House
    settings: Settings
    stock: Mapping[str, Stocked]
    setup: AgentSetup
    gate: Gate
    policy: SitePolicy
    metrics_policy: SitePolicy
    log_secrets: frozenset[str]
    completions: CompletionOptions
    listeners: list[Listener]
    certificate: CertificateOptions | None
    pem: tuple[bytes, ...]
    waiting: tuple[str, ...]
    changes: bool
    _opened: list[OpenPort] = attrs.field(init=False, factory=list)
    _closing: list[OpenPort] = attrs.field(init=False, factory=list)

    async def open(self) -> None:
        """Open the ports that are new; raises ``StartRefused``."""
        self._opened = await self.house.ports.prepare(self.listeners)

    async def discard(self) -> None:
        """Close them again."""
        await self.house.ports.discard(self._opened)

    def install(self) -> tuple[str, ...]:
        """Put all in force; nothing in here waits, so nobody sees the half of it."""
        house, new, config = self.house, self.settings, self.settings.config
        before, house.current.settings = house.current.settings, new
        house.pem = self.pem
        house.workshop.config, house.workshop.environ = config, new.environ
        house.workshop.shelf.put(self.stock)
        house.agents.setup = self.setup
        house.lanes.resize(lane_limits(config))
        house.limiter.allow(config.gateway.limits.max_auth_failures_per_minute)
        self._change_keys()
        # What runs on with an old secret must not show it either.
        house.log_rules.change(config.logging, self.log_secrets | log_secrets(before))
        house.log_file.move(log_path(new))
        house.front.gate = self.gate
        house.site.policy = self.policy
        house.metrics_site.policy = self.metrics_policy
        chat = config.gateway.http.endpoints.chat_completions
        house.audience.change(chat.on_disconnect, chat.disconnect_grace_seconds)
        house.completions.options = self.completions
        house.control.take_settings(before, new)
        self._closing = house.ports.switch(
            self.listeners, self._opened, self.certificate
        )
        for one in self._opened:
            _log.info("listening on {address}", address=one.address)
        for notice in notices_of(self.setup, new):
            _log.warn("{notice}", notice=notice)
        return self.waiting

    def _change_keys(self) -> None:
        keys = self.settings.config.gateway.auth.keys
        if self.house.keys.replace(keys):
            names = ", ".join(key.name for key in keys) or "none"
            _log.info("the keys are now: {names}", names=names)

    async def finish(self) -> None:
        """Close the ports that are no longer wanted; their connections stay."""
        await self.house.ports.discard(self._closing)
        for one in self._closing:
            _log.info("no longer listening on {address}", address=one.address)


def log_secrets(settings: Settings) -> frozenset[str]:
    """Return the texts that no log may show."""
    secrets = find_secrets(settings.config, settings.environ)
    return secrets | {settings.secret.reveal()}


def _metrics(settings: Settings) -> tuple[object, ...]:
    metrics = settings.config.gateway.metrics
    return (metrics.enabled, metrics.endpoint, metrics.port, metrics.bind)


def _crowd(settings: Settings) -> tuple[object, ...]:
    gateway = settings.config.gateway
    return (gateway.limits.max_connections_per_address, gateway.trusted_proxies)


def log_path(settings: Settings) -> Path | None:
    """Return the log file that is configured; None for one of the day."""
    file = settings.config.logging.file
    return Path(expand_home(file, settings.home)) if file else None


def read_pem(settings: Settings) -> tuple[bytes, ...]:
    """Return what the certificate's files hold; those that are not there are made."""
    tls = settings.config.gateway.tls
    if settings.endpoints or not tls.enabled:
        return ()
    find_certificate(settings)
    return tuple(file.read_bytes() for file in tls_files(tls, settings.state))
