"""The running gateway: what is started, and in which order it is stopped.

That order is the point: a MultiService would stop its children at once and not wait.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from moltbot_gw import __version__
from moltbot_gw.agents.keyed import KEPT_SECONDS
from moltbot_gw.agents.service import AgentService, gateway_stops
from moltbot_gw.controlplane import ControlPlane
from moltbot_gw.errors import StoreFailed
from moltbot_gw.heap import calm_collector, give_back
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.listening import Listener
from moltbot_gw.logfile import LogFile
from moltbot_gw.monitored import Monitoring
from moltbot_gw.ports import Ports, open_port
from moltbot_gw.refusal import EXIT_CONFIG, StartRefused
from moltbot_gw.reloading import Reloader
from moltbot_gw.sdnotify import Notifier
from moltbot_gw.sessions import SqliteSessionStore
from moltbot_gw.settings import Current, Settings, weakness_of
from moltbot_gw.statelock import StateLock
from moltbot_gw.supervision import Supervision
from moltbot_gw.tools.exec import ExecTools

_log = Logger()

PRUNE_SECONDS = 600.0
CLOSE_SECONDS = 2.0
"""How long the last bytes may take to leave when the gateway stops."""
STOP_SECONDS = 30.0
"""How long a stop may take beside the drain, all steps together and with room."""
HURRY_SECONDS = 1.0
"""How long everything but the store may still take once it must stop at once."""


class GatewayService(Service):
    """The running gateway.

    Start: take note of the store's state, listen.  Stop: ports, runs (drain, then
    cancel), commands of agents, connections, providers, metrics, store, lock; each step
    waits for the one before.  *draining* is true from the first step on: whoever asks
    for readiness is told no.
    """

    def __init__(
        self,
        *,
        current: Current,
        listeners: Sequence[Listener],
        certificate: CertificateOptions | None,
        ports: Ports,
        site: GatewaySite,
        agents: AgentService,
        control: ControlPlane,
        store: SqliteSessionStore,
        commands: ExecTools,
        lock: StateLock,
        log_file: LogFile,
        log_target: ILogObserver | None = None,
        notifier: Notifier,
        monitoring: Monitoring,
        build_reloader: Callable[[Supervision], Reloader],
        reactor: Any,
    ) -> None:
        self._current = current
        self._listeners = listeners
        self._certificate = certificate
        self._ports = ports
        self._site = site
        self._agents = agents
        self._control = control
        self._store = store
        self._commands = commands
        self._lock = lock
        self._log_file = log_file
        self._monitoring = monitoring
        self._log_target = log_target
        self._pruning = LoopingCall(self._prune)
        self._pruning.clock = reactor
        self._reactor = reactor
        self.supervision = Supervision(notifier, clock=reactor, describe=self._describe)
        self._reloader = build_reloader(self.supervision)
        self._started = False
        self._deaf = False
        self._hurrying: IDelayedCall | None = None
        self.draining = False

    def setServiceParent(self, parent: Any) -> None:
        """Become a part of twistd's application, which is asked for its log."""
        if self._log_target is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log_target)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Listen, before twistd gives up its privileges."""
        globalLogPublisher.addObserver(self._log_file)
        listening = Deferred.fromCoroutine(self._listen())
        listening.addErrback(self._cannot_listen)
        if self._deaf:
            # Raised here: in a callback the Deferred would keep it for itself.
            raise SystemExit(EXIT_CONFIG)
        self._started = True

    def startService(self) -> None:
        """Say what is there, and open the store."""
        super().startService()
        settings = self._current.settings
        for notice in settings.notices:
            _log.warn("{notice}", notice=notice)
        weakness = weakness_of(settings)
        if weakness:
            _log.warn("{weakness}: use a longer one", weakness=weakness)
        Deferred.fromCoroutine(self._get_ready())
        calm_collector()
        give_back()
        self._monitoring.start()
        self._pruning.start(PRUNE_SECONDS, now=False)
        self._reloader.start()

    def reload(self) -> None:
        """Read the configuration anew, and put it in force if it is good."""
        self._reloader.reload()

    def stopService(self) -> Deferred[None]:
        """Stop in order; fires when nothing is left to lose."""
        super().stopService()
        self.draining = True
        self._reloader.stop()
        drain_seconds = self._current.settings.config.gateway.drain_seconds
        self.supervision.stopping(drain_seconds + STOP_SECONDS)
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """Wait for no run and no client any more, in the stop at hand or to come.

        What runs is cancelled, its text stored and its stream ended with an error;
        connections that still stand ``HURRY_SECONDS`` later are cut.
        """
        if self._hurrying is None:
            _log.warn("asked to stop once more: not waiting any longer")
            self._hurrying = self._reactor.callLater(
                HURRY_SECONDS, self._site.abort_all
            )
            self._agents.cut_off(HURRY_SECONDS)

    async def _stop(self) -> None:
        if self._pruning.running:
            self._pruning.stop()
        await self._ports.close()
        try:
            self._site.wind_up()
            self._control.announce_stop("gateway stopping")
            drain_seconds = self._current.settings.config.gateway.drain_seconds
            await self._agents.drain(0.0 if self._hurrying else drain_seconds)
            await self._commands.close()
            await self._control.close()
            await self._site.close(CLOSE_SECONDS, gateway_stops())
            for provider in self._agents.setup.providers.values():
                await provider.close()
            await self._monitoring.stop(CLOSE_SECONDS)
        finally:
            # Whatever else goes wrong, what was stored is closed properly.
            await self._store.close()
            self._lock.release()
            self.supervision.stop()
            if self._hurrying is not None and self._hurrying.active():
                self._hurrying.cancel()
        _log.info("the gateway has stopped")
        globalLogPublisher.removeObserver(self._log_file)
        self._log_file.flush()

    async def _get_ready(self) -> None:
        await self._open_store()
        if not self.draining:
            self.supervision.ready()

    def _describe(self) -> str:
        """Return what goes on here in one line."""
        parts = (
            counted(self._agents.running, "run"),
            counted(len(self._site.streams), "stream"),
            counted(self._control.hub.members, "WebSocket client"),
        )
        return ("stopping: " if self.draining else "") + ", ".join(parts)

    async def _open_store(self) -> None:
        try:
            interrupted = await self._store.open()
        except StoreFailed as error:
            # The daemon lives: whoever asks is told, and repairing the file is enough.
            _log.critical("{error}", error=error.message)
            return
        if interrupted:
            _log.warn("{count} runs were cut off by the last stop", count=interrupted)

    async def _prune(self) -> None:
        self._agents.forget_ended()
        retention = self._current.settings.config.session.anonymous_retention_seconds
        try:
            now = time.time()
            pruned = await self._store.prune_anonymous(int((now - retention) * 1000))
            await self._store.prune_kept(int((now - KEPT_SECONDS) * 1000))
        except StoreFailed as error:
            if self._pruning.running:
                _log.error("pruning failed: {error}", error=error.message)
            return
        if pruned:
            _log.info("pruned {count} anonymous sessions", count=pruned)

    async def _listen(self) -> None:
        opened = await self._ports.prepare(self._listeners)
        self._ports.switch(self._listeners, opened, self._certificate)
        for one in opened:
            _log.info("listening on {address}", address=one.address)
        settings, monitoring = self._current.settings, self._monitoring
        if settings.dev:
            banner = _dev_banner(settings, opened[0].address)
            # twistd turns sys.stdout into the log; this is for the person in front.
            print(banner, file=sys.__stdout__, flush=True)
        if monitoring.listener is not None:
            port = await open_port(monitoring.listener, monitoring.site)
            monitoring.listens(port, monitoring.listener)

    def _cannot_listen(self, failure: Failure) -> None:
        failure.trap(StartRefused)
        line = f"moltbot-gateway: {failure.value}"
        print(line, file=sys.__stderr__, flush=True)
        self._deaf = True
        if self._started:
            _log.critical("{line}", line=line)
            self._reactor.stop()


def counted(number: int, noun: str) -> str:
    """Return *number* and *noun*, in the plural where there is not just one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _dev_banner(settings: Settings, address: str) -> str:
    secret = f"$(cat '{settings.token_file}')" if settings.token_file else "<secret>"
    lines = [
        f"Moltbot gateway {__version__}, development mode",
        f"  address:  {address}/v1",
        f"  state:    {settings.state}",
    ]
    if settings.token_file:
        lines.append(f"  token in: {settings.token_file}")
    body = '{"model": "moltbot", "messages": [{"role": "user", "content": "hi"}]}'
    lines += [
        "Try it:",
        f"curl -sS {address}/v1/chat/completions"
        f' -H "Authorization: Bearer {secret}"'
        f" -H 'Content-Type: application/json' -d '{body}'",
    ]
    return "\n".join(lines)
