"""The one way to start a run, whichever edge asks for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from moltbot_gw.agents.compacting import compact_session
from moltbot_gw.agents.endedruns import EndedRuns
from moltbot_gw.agents.execution import Execution
from moltbot_gw.agents.finished import FinishedRuns
from moltbot_gw.agents.keyed import KeyedRuns
from moltbot_gw.agents.lanes import Lanes, Waiting
from moltbot_gw.agents.report import RunReporter
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.roster import Roster
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.setup import AgentSetup
from moltbot_gw.errors import (
    Draining,
    KeyReused,
    ModelNotFound,
    QueueFull,
)
from moltbot_gw.events import RunOutcome
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import AssistantMessage, Message, text_of
from moltbot_gw.metering import Meters, RunMeter

_log = Logger()

DRAIN_RETRY_AFTER = 5
"""Seconds that a client is asked to wait while the gateway restarts."""

CHARS_PER_TOKEN = 4
"""The rule of thumb for what a provider has not counted."""

CUT_SECONDS = 10.0
"""How long a cancelled run may take to store what it has."""


def gateway_stops() -> Draining:
    """Return what is told to whoever comes, waits, or is cut off while we stop."""
    return Draining("The gateway is stopping.", retry_after=DRAIN_RETRY_AFTER)


class AgentService:
    """Owns every run from its start to its end.

    An edge that started a run only reads it: a lost connection ends the reading, and
    whether it also ends the run is the edge's decision, made with ``Run.cancel``.

    *setup* may be replaced at any time; what runs goes on with the one before.
    *reporter* tells an edge what to log of a run.  Without *meters* nobody has limits
    of his own.
    """

    def __init__(
        self,
        *,
        setup: AgentSetup,
        store: ISessionStore,
        lanes: Lanes,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        reporter: RunReporter | None = None,
        meters: Meters | None = None,
    ) -> None:
        self.setup = setup
        self.reporter = reporter or RunReporter(secrets.token_bytes(32))
        self._meters = meters
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._unix_time = unix_time
        self._keyed = KeyedRuns(store, unix_time)
        self._finished = FinishedRuns(clock)
        self._ended = EndedRuns(clock)
        self._runs: dict[str, Run] = {}
        self._observers: list[Callable[[Run], None]] = []
        self._compactions: list[Deferred[str]] = []
        self._draining = False
        self._idle: Deferred[None] | None = None
        self._limit: IDelayedCall | None = None

    @property
    def roster(self) -> Roster:
        """The configured agents."""
        return self.setup.roster

    @property
    def running(self) -> int:
        """How many runs have not ended."""
        return len(self._runs)

    @property
    def draining(self) -> bool:
        """Whether no new run is taken, because the gateway stops."""
        return self._draining

    @property
    def waiting(self) -> Waiting:
        """How many runs wait for their turn, and for what."""
        return self._lanes.waiting

    @property
    def idle(self) -> bool:
        """Whether no run, and nothing that belongs to one, is left."""
        return not self._runs and self._lanes.idle

    def observe(self, observer: Callable[[Run], None]) -> None:
        """Call *observer* with every run, before it leaves its lanes."""
        self._observers.append(observer)

    def start_run(self, request: RunRequest) -> Run:
        """Start a run of *request*; it goes on by itself until it ends.

        Raises ``ModelNotFound`` for an unknown agent, ``Draining``, ``QueueFull``,
        ``InvalidRequest`` for pictures that the model does not take, ``ProviderFailed``
        when the agent's provider is not configured, ``KeyReused`` for the id of a
        running run, ``RateLimited`` for a principal with too many runs; nothing is
        created then.  For one with a key use ``start_or_join``.
        """
        setup = self.setup
        agent = setup.roster.agents.get(request.agent_id)
        if agent is None:
            raise ModelNotFound(f'There is no agent "{request.agent_id}".')
        if self._draining:
            raise gateway_stops()
        setup.check(request.model or agent.model, agent, request.messages)
        if request.run_id in self._runs:
            raise KeyReused("A run with this id is running.", param="idempotencyKey")
        meter = self._begin_meter(request)
        try:
            ticket = self._lanes.enter(request.store_key, nested=request.nested)
        except QueueFull:
            meter.end(0)
            raise
        run = Run(
            run_id=request.run_id,
            agent_id=agent.id,
            session_key=request.session_key,
            max_bytes=setup.max_run_bytes,
            store_key=request.store_key,
            now=self._clock.seconds,
            caller=request.principal,
        )
        if not request.principal.is_owner:
            chars = sum(map(_chars_of, request.messages))
            run.on_end(partial(_measure, chars, meter))
        run.created = int(self._unix_time())
        run.echo, run.wants_usage = request.echo, request.wants_usage
        self._runs[run.run_id] = run
        self._finished.expect(run)
        run.on_end(self._ended.keep)
        for observer in self._observers:
            try:
                observer(run)
            except Exception:
                # The run is admitted already; only its execution gives the place back.
                _log.failure("an observer of run {run_id} failed", run_id=run.run_id)
        execution = Execution(
            setup=setup,
            store=self._store,
            clock=self._clock,
            unix_time=self._unix_time,
            run=run,
            ticket=ticket,
            agent=agent,
            request=request,
        )
        execution.start().addBoth(self._forget, run)
        return run

    def _begin_meter(self, request: RunRequest) -> RunMeter:
        if self._meters is None:
            return RunMeter()
        return self._meters.begin(request.principal, nested=request.nested)

    async def start_or_join(self, request: RunRequest) -> Run:
        """Return the run of *request*: a new one, or that of an equal one with its key.

        That one may have ended already, in an earlier process too.  Raises as
        ``start_run``, ``KeyReused`` for a key of another request, ``StoreFailed``.
        """
        if request.key is None:
            return self.start_run(request)
        return await self._keyed.start_or_join(request, self.start_run)

    @property
    def active(self) -> list[Run]:
        """The runs that have not ended, the oldest first."""
        return list(self._runs.values())

    def find_run(self, run_id: str) -> Run | None:
        """Return the run with this id if it has not ended."""
        return self._runs.get(run_id)

    def recall_run(self, run_id: str) -> Run | None:
        """Return the run with this id if it is running or ended lately.

        One that has ended is a copy, which says all again from any position.
        """
        return self._runs.get(run_id) or self._ended.find(run_id)

    def forget_ended(self) -> None:
        """Let go of what ended too long ago; called now and then."""
        self._ended.forget_old()

    def runs_of(self, store_key: str) -> list[Run]:
        """Return the runs of a session that have not ended, the oldest first."""
        return [run for run in self._runs.values() if run.store_key == store_key]

    def when_run_ended(self, run_id: str) -> Deferred[RunOutcome]:
        """Fire with the outcome of a run: ended lately, running, or yet to come.

        Cancelling it stops the waiting; who waits for an id that never comes must.
        """
        return self._finished.when_ended(run_id)

    async def compact(self, store_key: str, instructions: str) -> str:
        """Summarise a session now, and return what to say of it; see ``compacting``.

        Raises ``GatewayError``.
        """
        if self._draining:
            raise gateway_stops()
        working = Deferred.fromCoroutine(
            compact_session(
                self.setup,
                store=self._store,
                lanes=self._lanes,
                store_key=store_key,
                instructions=instructions,
            )
        )
        self._compactions.append(working)
        try:
            return await working
        except CancelledError:
            raise Draining("The gateway is stopping.") from None
        finally:
            self._compactions.remove(working)

    async def drain(self, seconds: float) -> None:
        """Take no new run, let the running ones finish, cancel what is left then.

        Returns when no run is left; their turns are stored by then.  A run that does
        not even end when it is cancelled (a disk that hangs) is left after
        ``CUT_SECONDS`` more.  ``cut_off`` ends the waiting early.
        """
        self._draining = True
        self._lanes.refuse_waiting(gateway_stops())
        for compaction in tuple(self._compactions):
            compaction.cancel()
        if not self._runs:
            return
        _log.info("waiting for what still runs: {count}", count=len(self._runs))
        self._limit = self._clock.callLater(seconds, self.cut_off)
        idle = self._idle = Deferred()
        try:
            await idle
        finally:
            if self._limit.active():
                self._limit.cancel()

    def cut_off(self, patience: float = CUT_SECONDS) -> None:
        """Cancel what still runs in a drain, which then takes *patience* at most."""
        if self._idle is None or self._limit is None:
            return
        _log.warn("cutting off what still runs: {count}", count=len(self._runs))
        if self._limit.active():
            self._limit.cancel()
        self._limit = self._clock.callLater(patience, self._give_up)
        error = gateway_stops()
        for run in tuple(self._runs.values()):
            run.cancel(error)

    def _give_up(self) -> None:
        _log.critical("runs that do not end: {count}", count=len(self._runs))
        self._tell_idle()

    def _forget(self, _: object, run: Run) -> None:
        del self._runs[run.run_id]
        if not self._runs:
            self._tell_idle()

    def _tell_idle(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.callback(None)


def _measure(asked: int, meter: RunMeter, run: Run, outcome: RunOutcome) -> None:
    """Tell *meter* what the run has used; it was asked in *asked* characters.

    Providers count at the end of an answer.  Of one that was cut off before, whoever
    cuts it off would get the words for nothing, so we guess.
    """
    tokens = outcome.usage.total_tokens
    was_asked = outcome.state == "aborted" and outcome.started_at_ms is not None
    if not tokens and (run.size or was_asked):
        tokens = -(-(run.size + asked) // CHARS_PER_TOKEN)
    meter.end(tokens)


def _chars_of(message: Message) -> int:
    if isinstance(message, AssistantMessage):
        return len(message.text)
    return len(text_of(message.content))
