"""The composition root: builds the gateway from its settings, starts and stops it.

Only this module knows every concrete class.  The order of stopping is the point of
``GatewayService``: a MultiService would stop all its children at once and not wait.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from moltbot_gw import __version__
from moltbot_gw.agents.lanes import Lanes
from moltbot_gw.agents.roster import Roster, build_roster
from moltbot_gw.agents.service import AgentService
from moltbot_gw.auth import SharedSecret
from moltbot_gw.config import Reset
from moltbot_gw.config import Session as SessionConfig
from moltbot_gw.errors import StoreFailed
from moltbot_gw.http.api import build_api
from moltbot_gw.http.channel import Timeouts
from moltbot_gw.http.completions import CompletionsHandler
from moltbot_gw.http.gate import CorsPolicy, Gate
from moltbot_gw.http.models import ModelsHandler
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.listening import Listener, build_listeners, in_use, probe_ports
from moltbot_gw.providers.echo import EchoProvider
from moltbot_gw.providers.factory import BadProvider, build_provider, is_served
from moltbot_gw.refusal import EXIT_CONFIG, StartRefused
from moltbot_gw.sessions import (
    ResetPolicy,
    SqliteSessionStore,
    fresh_after_ms,
    session_kind,
)
from moltbot_gw.settings import Settings, weakness_of
from moltbot_gw.statelock import StateLock

_log = Logger()

STORE_FILE = "sessions.sqlite3"
PRUNE_SECONDS = 600.0
CLOSE_SECONDS = 2.0
"""How long the last bytes may take to leave when the gateway stops."""


class GatewayService(Service):
    """The running gateway.

    Start: take note of the store's state, listen.  Stop: ports, runs (drain, then
    cancel), connections, providers, store, lock; each step waits for the one before.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        listeners: Sequence[Listener],
        site: GatewaySite,
        agents: AgentService,
        store: SqliteSessionStore,
        providers: Sequence[IModelProvider],
        lock: StateLock,
        reactor: Any,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._site = site
        self._agents = agents
        self._store = store
        self._providers = providers
        self._lock = lock
        self._ports: list[IListeningPort] = []
        self._pruning = LoopingCall(self._prune)
        self._pruning.clock = reactor
        self._reactor = reactor
        self._started = False
        self._deaf = False

    def privilegedStartService(self) -> None:
        """Listen, before twistd gives up its privileges."""
        for listener in self._listeners:
            listening = listener.endpoint.listen(self._site)
            listening.addCallbacks(
                self._listens, self._cannot_listen, (listener,), {}, (listener,)
            )
        if self._deaf:
            # Raised here: in a callback the Deferred would keep it for itself.
            raise SystemExit(EXIT_CONFIG)
        self._started = True

    def startService(self) -> None:
        """Say what is there, and open the store."""
        super().startService()
        for notice in self._settings.notices:
            _log.warn("{notice}", notice=notice)
        weakness = weakness_of(self._settings)
        if weakness:
            _log.warn("{weakness}: use a longer one", weakness=weakness)
        Deferred.fromCoroutine(self._open_store())
        _calm_collector()
        self._pruning.start(PRUNE_SECONDS, now=False)

    def stopService(self) -> Deferred[None]:
        """Stop in order; fires when nothing is left to lose."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._pruning.running:
            self._pruning.stop()
        ports, self._ports = self._ports, []
        for port in ports:
            stopping = port.stopListening()
            if stopping is not None:
                await stopping
        try:
            await self._agents.drain(self._settings.config.gateway.drain_seconds)
            await self._site.close(CLOSE_SECONDS)
            for provider in self._providers:
                await provider.close()
        finally:
            # Whatever else goes wrong, what was stored is closed properly.
            await self._store.close()
            self._lock.release()
        _log.info("the gateway has stopped")

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
        retention = self._settings.config.session.anonymous_retention_seconds
        try:
            pruned = await self._store.prune_anonymous(
                int((time.time() - retention) * 1000)
            )
        except StoreFailed as error:
            if self._pruning.running:
                _log.error("pruning failed: {error}", error=error.message)
            return
        if pruned:
            _log.info("pruned {count} anonymous sessions", count=pruned)

    def _listens(self, port: IListeningPort, listener: Listener) -> None:
        self._ports.append(port)
        address = listener.address
        if address.endswith(":0"):
            host: Any = port.getHost()
            address = f"{address[:-1]}{host.port}"
        _log.info("listening on {address}", address=address)
        if self._settings.dev and len(self._ports) == 1:
            # twistd turns sys.stdout into the log; this is for the person in front.
            print(_dev_banner(self._settings, address), file=sys.__stdout__, flush=True)

    def _cannot_listen(self, failure: Failure, listener: Listener) -> None:
        error = failure.value
        if isinstance(error, CannotListenError):
            error = error.socketError
        if not isinstance(error, OSError):
            error = OSError(0, failure.getErrorMessage())
        line = f"moltbot-gateway: {in_use(listener.address, error)}"
        print(line, file=sys.__stderr__, flush=True)
        self._deaf = True
        if self._started:
            _log.critical("{line}", line=line)
            self._reactor.stop()


def build_gateway(settings: Settings, reactor: Any) -> GatewayService:
    """Build the gateway; raise ``StartRefused`` if it must not start."""
    config = settings.config
    listeners = build_listeners(settings, reactor)
    providers = _build_providers(settings, reactor)
    roster = build_roster(
        config, settings.home, settings.environ.get("CLAWDBOT_PROFILE")
    )
    _warn_of_missing_providers(roster, providers)
    lock = StateLock(settings.state)
    probe_ports(listeners)
    store = SqliteSessionStore(settings.state / STORE_FILE, reactor)
    limits = config.gateway.limits
    agents = AgentService(
        roster=roster,
        providers=providers,
        store=store,
        lanes=Lanes(
            max_concurrent=config.agents.defaults.max_concurrent,
            max_waiting=limits.max_queued_runs,
            max_waiting_per_session=limits.max_queued_per_session,
        ),
        clock=reactor,
        unix_time=time.time,
        fresh_after_ms=_freshness(config.session),
        max_run_bytes=limits.max_run_bytes,
    )
    return GatewayService(
        settings=settings,
        listeners=listeners,
        site=_build_site(settings, agents, reactor),
        agents=agents,
        store=store,
        providers=tuple(providers.values()),
        lock=lock,
        reactor=reactor,
    )


def _build_site(settings: Settings, agents: AgentService, reactor: Any) -> GatewaySite:
    http = settings.config.gateway.http
    completions = CompletionsHandler(
        agents=agents,
        clock=reactor,
        unix_time=time.time,
        on_disconnect=http.endpoints.chat_completions.on_disconnect,
        keep_alive=http.keep_alive_seconds,
        global_scope=settings.config.session.scope == "global",
    )
    return GatewaySite(
        build_api(completions, ModelsHandler(agents.roster, int(time.time()))),
        gate=Gate(
            secret=SharedSecret(settings.secret.reveal()),
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
    )


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


def _calm_collector() -> None:
    """Keep the garbage collector from walking everything again and again.

    What was imported stays for good, so it need not be looked at; and young garbage is
    looked for after ten thousand new objects instead of seven hundred, because nearly
    all of a request is freed by its reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


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
