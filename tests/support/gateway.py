"""The HTTP edge as ``service.py`` wires it, on a fake clock and in-memory sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from moltbot_gw.agents.catalog import Catalog, ModelRef
from moltbot_gw.agents.lanes import LaneLimits, Lanes
from moltbot_gw.agents.roster import Agent, Roster
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.toolbox import Toolbox
from moltbot_gw.auth import AuthLimiter, SharedSecret
from moltbot_gw.config import AuthKey, Config, Images, Networks
from moltbot_gw.errors import GatewayError
from moltbot_gw.events import (
    Completion,
    FinishReason,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from moltbot_gw.fetching.guard import GuardedFetch
from moltbot_gw.http.accesslog import AccessLog
from moltbot_gw.http.api import Api, build_api
from moltbot_gw.http.audience import Audience
from moltbot_gw.http.completions import CompletionOptions, CompletionsHandler
from moltbot_gw.http.gate import CorsPolicy, Gate, Gatekeeper
from moltbot_gw.http.hosts import HostPolicy
from moltbot_gw.http.metrics import MetricsHandler
from moltbot_gw.http.metricsgate import MetricsGate
from moltbot_gw.http.models import ModelsHandler
from moltbot_gw.http.pictures import Pictures
from moltbot_gw.http.policy import SitePolicy
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.http.runs import MaySee, RunsHandler, is_his
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.http.timeouts import Timeouts
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.keyring import KeyRing
from moltbot_gw.messages import ModelRequest
from moltbot_gw.metering import Meters
from moltbot_gw.monitored import build_probes
from moltbot_gw.monitoring.exposition import Exposition
from moltbot_gw.providers.echo import EchoProvider
from tests.support.http_client import TOKEN, Answer, chat_request, read_answers
from tests.support.memory_store import MemorySessionStore
from tests.support.setups import agent_setup

CREATED = 1_700_000_000
"""The wall clock (Unix seconds) when the fake clock shows zero."""


@implementer(IPushProducer, IConsumer)
class Socket(StringTransport):
    """A connected socket: what is written leaves with the next turn of the clock.

    So, as with the real one, an abort loses what was written in the same turn.  A
    *full* socket keeps everything; it takes writes all the same.  *received* is what
    the client has got, *closed* why the connection is gone, *half_closed* whether our
    half is.
    """

    def __init__(
        self,
        clock: Clock,
        lose: Callable[[Exception], None],
        peer: IAddress | None = None,
    ) -> None:
        super().__init__(peerAddress=peer, lenient=True)  # type: ignore[no-untyped-call]
        alsoProvides(self, ITCPTransport)
        self._clock = clock
        self._lose = lose
        self._pending: list[bytes] = []
        self._turn_due = False
        self._half_closing = False
        self._aborting = False
        self.received = bytearray()
        self.writes: list[bytes] = []
        self.full = False
        self.dataBuffer = b""  # what a real transport has not sent
        self.reading = True
        self.half_closed = False
        self.closed: Exception | None = None

    # -- for the channel

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if self.closed is None and not self.half_closed:
            self._pending.append(data)
            self._schedule()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.disconnecting = True
        self._schedule()

    def loseWriteConnection(self) -> None:
        self._half_closing = True
        self._schedule()

    def abortConnection(self) -> None:
        self._pending.clear()
        self._aborting = True
        self._schedule()

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        assert self.closed is None, "a closed connection is told to read"
        self.reading = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        assert enabled

    # -- for the test

    @property
    def gone(self) -> bool:
        """Whether nothing more is read from here."""
        return self.closed is not None or self._aborting or self.disconnecting

    @property
    def unsent(self) -> bytes:
        """What was written and has not left."""
        return b"".join(self._pending)

    def fill(self) -> None:
        """The client stops reading and the buffers are full."""
        self.full = True
        assert self.producer is not None
        self.producer.pauseProducing()

    def drain(self) -> None:
        """The client reads on."""
        self.full = False
        self._schedule()
        if self.producer is not None:
            self.producer.resumeProducing()

    def lose(self, reason: Exception) -> None:
        """The connection ends for *reason*."""
        if self.closed is None:
            self.closed = reason
            self._lose(reason)

    def _schedule(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self._aborting:
            self.lose(ConnectionAborted())
        elif not self.full:
            self.writes += self._pending
            self.received += b"".join(self._pending)
            self._pending.clear()
            self.half_closed = self._half_closing
            if self.disconnecting:
                self.lose(ConnectionDone())


class Connection:
    """A client's end of one connection."""

    def __init__(
        self,
        gateway: Gateway,
        secure: bool,
        peer: IAddress | None = None,
        site: GatewaySite | None = None,
    ) -> None:
        self._gateway = gateway
        self.socket = Socket(gateway.clock, self._lost, peer)
        self._channel = (site or gateway.site).buildProtocol(peer)
        self.admitted = self._channel is not None
        if not self.admitted:
            self.socket.closed = ConnectionAborted()  # as Twisted does with None
            return
        if secure:
            alsoProvides(self.socket, ISSLTransport)
        self._channel.makeConnection(self.socket)

    def send(self, data: bytes, *, by: int | None = None) -> Connection:
        """Send *data*, whole or *by* so many bytes a segment."""
        step = by or max(len(data), 1)
        for start in range(0, len(data), step):
            if self.socket.gone:
                break
            self._channel.dataReceived(data[start : start + step])
        self._gateway.advance(0)
        return self

    def deliver(self, data: bytes) -> None:
        """Send *data*; nothing happens yet but what its arrival causes at once."""
        self._channel.dataReceived(data)

    def hang_up(self) -> None:
        """The client is gone."""
        self.socket.lose(ConnectionLost())
        self._gateway.advance(0)

    @property
    def received(self) -> bytes:
        """All bytes that the client has got."""
        self._gateway.advance(0)
        return bytes(self.socket.received)

    @property
    def closed(self) -> bool:
        """Whether the client has seen an end, of our half at least."""
        self._gateway.advance(0)
        return self.socket.closed is not None or self.socket.half_closed

    @property
    def aborted(self) -> bool:
        self._gateway.advance(0)
        return isinstance(self.socket.closed, ConnectionAborted)

    def answers(self, *, head_only: bool = False) -> list[Answer]:
        """Return the answers so far; they must all be whole."""
        answers = read_answers(self.received, head_only=head_only)
        assert all(answer.complete for answer in answers)
        return answers

    def answer(self, *, head_only: bool = False) -> Answer:
        """Return the one answer, which must be whole."""
        (answer,) = self.answers(head_only=head_only)
        return answer

    def stream(self) -> Answer:
        """Return the last answer, which may still go on."""
        return read_answers(self.received)[-1]

    def _lost(self, reason: Exception) -> None:
        self._channel.connectionLost(Failure(reason))


@implementer(IPushProducer)
@attrs.define(eq=False)
class Call:
    """One call of the scripted model, to be played by the test."""

    request: ModelRequest
    sink: IRunSink
    clock: Clock
    paused: bool = False
    cancelled: bool = False
    resumed: int = 0
    finished: Deferred[Completion] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.finished = Deferred(lambda _: self._cancel())

    def say(self, *texts: str) -> None:
        """Feed *texts*, one delta each, in one batch."""
        self._feed([TextDelta(text) for text in texts])

    def think(self, text: str) -> None:
        self._feed([ReasoningDelta(text)])

    def finish(self, reason: FinishReason = "stop", usage: Usage | None = None) -> None:
        self.sink.unregisterProducer()
        self.finished.callback(Completion(finish_reason=reason, usage=usage or Usage()))
        self.clock.advance(0)

    def fail(self, error: Exception) -> None:
        self.sink.unregisterProducer()
        self.finished.errback(error)
        self.clock.advance(0)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.resumed += 1

    def stopProducing(self) -> None:
        self.finished.cancel()

    def _feed(self, events: list[ModelEvent]) -> None:
        self.sink.extend(events)
        self.clock.advance(0)

    def _cancel(self) -> None:
        self.cancelled = True
        self.sink.unregisterProducer()


@implementer(IModelProvider)
class ScriptedProvider:
    """Keeps each call for the test to play; or fails at once with *error*."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.calls: list[Call] = []
        self.error: GatewayError | None = None

    def stream(self, request: ModelRequest, sink: IRunSink) -> Deferred[Completion]:
        if self.error is not None:
            return fail(self.error)
        call = Call(request, sink, self._clock)
        self.calls.append(call)
        sink.registerProducer(call, True)
        return call.finished

    def close(self) -> Deferred[None]:
        return succeed(None)


@attrs.frozen(kw_only=True)
class Options:
    """What the configuration may say; the defaults are those of the product."""

    enabled: bool = True
    openapi: bool = False
    secret: str = TOKEN
    agents: tuple[str, ...] = ("main", "beta", "echo")
    default_id: str = "main"
    missing_provider: bool = False
    max_body_bytes: int = 20 * 1024 * 1024
    max_run_bytes: int = 64 * 1024 * 1024
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ("*.test", "*.x")
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    user_header: str | None = None
    keys: tuple[AuthKey, ...] = ()
    max_auth_failures: int = 10
    on_disconnect: Literal["cancel", "grace", "finish"] = "cancel"
    grace: float = 30.0
    may_see: MaySee = is_his
    global_scope: bool = False
    keep_alive: float = 10.0
    header: float = 10.0
    body: float = 30.0
    idle: float = 75.0
    stall: float = 30.0
    run_timeout: float = 600.0
    images: bool = False
    picture_limits: Images = attrs.Factory(Images)
    fetch: GuardedFetch | None = None
    max_concurrent: int = 4
    max_waiting: int = 256
    max_connections: int = 1000
    metrics: bool = False
    max_connections_per_address: int = 256
    catalog: Catalog = attrs.Factory(lambda: Catalog(Config()))
    max_waiting_per_session: int = 20
    toolbox: Toolbox = attrs.Factory(Toolbox)


class Gateway:
    """A gateway without a daemon.  The agent ``echo`` echoes, others are scripted."""

    def __init__(self, *, store: Any = None, **options: Any) -> None:
        self.options = chosen = Options(**options)
        self.clock = Clock()
        self.store = MemorySessionStore() if store is None else store
        self.model = ScriptedProvider(self.clock)
        self.limiter = AuthLimiter(self.clock, chosen.max_auth_failures)
        self.exposition = Exposition(self.clock)
        self.keys = KeyRing(chosen.keys, self.unix_time)
        self.meters = Meters(self.clock, self.keys.limits_of)
        self.keys.observe(self.meters.forget)
        self.agents = self._build_agents(chosen)
        self.gate = self._build_gate(chosen)
        self.api = self._build_api(chosen)
        self.site = self._build_site(chosen)
        self.connections: list[Connection] = []

    def connect(
        self,
        *,
        secure: bool = False,
        peer: IAddress | None = None,
        site: GatewaySite | None = None,
    ) -> Connection:
        """Connect from *peer*, or from somewhere, to *site* or the gateway's own."""
        connection = Connection(self, secure, peer, site)
        self.connections.append(connection)
        return connection

    def send(self, data: bytes, *, by: int | None = None) -> Connection:
        """Send *data* over a connection of its own."""
        return self.connect().send(data, by=by)

    def ask(self, data: bytes) -> Answer:
        """Return the one whole answer to the request *data*."""
        return self.send(data).answer()

    def chat(
        self, headers: dict[str, str] | None = None, **fields: Any
    ) -> tuple[Connection, Call]:
        """Start a completion; return its connection and its call of the model."""
        connection = self.send(chat_request(headers, **fields))
        assert self.model.calls, connection.received
        return connection, self.model.calls[-1]

    def complete(self, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
        """Return the answer to a completion whose model says ``hello``."""
        connection, call = self.chat(headers, **fields)
        call.say("hello")
        call.finish()
        return connection.answer()

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps that let every timer ring at its own time."""
        end = self.clock.seconds() + seconds
        while True:
            due = [call.getTime() for call in self.clock.getDelayedCalls()]
            now = self.clock.seconds()
            if not due or min(due) > end:
                break
            self.clock.advance(max(min(due) - now, 0))
        self.clock.advance(max(end - self.clock.seconds(), 0))

    def sessions(self) -> dict[str, bool]:
        """Return the stored keys, and whether the last run of each was aborted."""
        found: list[Any] = []
        self.store.list_sessions().addCallback(found.extend)
        return {one.session_key: one.aborted_last_run for one in found}

    def history(self, key: str) -> tuple[Any, ...]:
        """Return the stored messages of the session *key*."""
        found: list[Any] = []
        self.store.history(key, 0).addCallback(found.append)
        return tuple(found[0].messages)

    def drain(self, seconds: float = 5.0) -> Deferred[None]:
        return Deferred.fromCoroutine(self.agents.drain(seconds))

    def close(self) -> None:
        """Hang up everywhere, end all runs; nothing may be left."""
        for connection in self.connections:
            connection.hang_up()
        self.drain(0.0)
        self.advance(0)
        assert self.agents.idle
        assert self.site.connections == 0
        assert self.clock.getDelayedCalls() == []

    def unix_time(self) -> float:
        return CREATED + self.clock.seconds()

    def _build_agents(self, chosen: Options) -> AgentService:
        agents = {agent: _agent(agent, chosen) for agent in chosen.agents}
        providers: dict[str, IModelProvider] = {"echo": EchoProvider(self.clock)}
        if not chosen.missing_provider:
            providers["script"] = self.model
        return AgentService(
            setup=agent_setup(
                Roster(
                    agents=agents, default_id=chosen.default_id, catalog=chosen.catalog
                ),
                providers,
                store=self.store,
                clock=self.clock,
                unix_time=self.unix_time,
                max_run_bytes=chosen.max_run_bytes,
                toolbox=chosen.toolbox,
                global_scope=chosen.global_scope,
            ),
            store=self.store,
            lanes=Lanes(
                LaneLimits(
                    max_concurrent=chosen.max_concurrent,
                    max_waiting=chosen.max_waiting,
                    max_waiting_per_session=chosen.max_waiting_per_session,
                )
            ),
            clock=self.clock,
            unix_time=self.unix_time,
            meters=self.meters,
        )

    def metrics_site(self) -> GatewaySite:
        """Return the site of the listener for metrics."""
        return self._site(MetricsGate(self.gate), self.options)

    def _build_gate(self, chosen: Options) -> Gate:
        return Gate(
            secret=SharedSecret(chosen.secret),
            keys=self.keys,
            meters=self.meters,
            limiter=self.limiter,
            hosts=HostPolicy(chosen.hosts, chosen.origins),
            enabled=chosen.enabled,
            max_body_bytes=chosen.max_body_bytes,
            cors=CorsPolicy(chosen.cors),
            openapi=chosen.openapi,
            metrics=chosen.metrics,
        )

    def _build_api(self, chosen: Options) -> Api:
        audience = Audience(
            clock=self.clock,
            on_disconnect=chosen.on_disconnect,
            grace_seconds=chosen.grace,
        )
        completions = CompletionsHandler(
            agents=self.agents,
            clock=self.clock,
            options=CompletionOptions(
                pictures=Pictures(
                    fetch=chosen.fetch or GuardedFetch(reactor=self.clock),
                    config=chosen.picture_limits,
                    clock=self.clock,
                    max_bytes=chosen.max_body_bytes,
                ),
                keep_alive=chosen.keep_alive,
            ),
            audience=audience,
        )
        runs = RunsHandler(
            agents=self.agents,
            clock=self.clock,
            audience=audience,
            keep_alive=lambda: chosen.keep_alive,
            may_see=chosen.may_see,
        )
        return build_api(
            completions,
            ModelsHandler(self.agents, CREATED),
            runs,
            build_probes(self.agents, self.store, self._brings_secret, self.clock),
            MetricsHandler(self.exposition.render),
        )

    def _brings_secret(self, request: GatewayRequest) -> bool:
        return self.gate.brings_secret(request.requestHeaders, request.find_peer)

    def _build_site(self, chosen: Options) -> GatewaySite:
        return self._site(self.gate, chosen)

    def _site(self, gate: Gatekeeper, chosen: Options) -> GatewaySite:
        return GatewaySite(
            self.api,
            policy=SitePolicy(
                gate=gate,
                timeouts=Timeouts(
                    header=chosen.header,
                    body=chosen.body,
                    idle=chosen.idle,
                    stall=chosen.stall,
                ),
                trusted_proxies=Networks(chosen.trusted_proxies),
                user_header=chosen.user_header,
                max_connections_per_address=chosen.max_connections_per_address,
            ),
            clock=self.clock,
            access_log=AccessLog(self.clock, 0.0),
            max_connections=chosen.max_connections,
        )


def _agent(agent_id: str, chosen: Options) -> Agent:
    provider = "echo" if agent_id == "echo" else "script"
    return Agent(
        id=agent_id,
        name=None,
        theme=None,
        emoji=None,
        workspace=Path("/nonexistent/workspace"),
        model=ModelRef(provider, "model", accepts_images=chosen.images),
        timeout=chosen.run_timeout,
        bootstrap_max_chars=20_000,
    )


def _is_problem(event: LogEvent) -> bool:
    return (
        "log_failure" in event or event.get("log_level", LogLevel.info) > LogLevel.info
    )


class LogTape:
    """Records what is logged while it is entered."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self._observer: Any = self._note

    def __enter__(self) -> LogTape:
        globalLogPublisher.addObserver(self._observer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        globalLogPublisher.removeObserver(self._observer)

    def _note(self, event: LogEvent) -> None:
        self.events.append(event)

    @property
    def lines(self) -> list[str]:
        """The lines at level info, as an operator reads them."""
        infos = [e for e in self.events if e.get("log_level") == LogLevel.info]
        return [formatEvent(event) for event in infos]

    @property
    def problems(self) -> list[str]:
        """Everything worse than info, and every failure."""
        return [
            f"{formatEvent(event)}\n{event.get('log_failure', '')}"
            for event in self.events
            if _is_problem(event)
        ]

    def take_problems(self) -> list[str]:
        """Return the problems and forget them, because the test expected them."""
        problems = self.problems
        self.events = [event for event in self.events if not _is_problem(event)]
        return problems
