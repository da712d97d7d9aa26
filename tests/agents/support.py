"""What the tests of runs share: a service on a fake clock, readers, the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from moltbot_gw.agents.catalog import Catalog, ModelRef
from moltbot_gw.agents.lanes import LaneLimits, Lanes
from moltbot_gw.agents.log import Cursor
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.roster import Agent, Roster
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.toolbox import Toolbox
from moltbot_gw.agents.toolrunner import ToolLimits
from moltbot_gw.agents.window import CompactionSettings
from moltbot_gw.agents.workspace import leave_workspace
from moltbot_gw.config import Config
from moltbot_gw.errors import RunAborted, StoreFailed
from moltbot_gw.events import (
    ReasoningDelta,
    RunEvent,
    RunOutcome,
    TextDelta,
)
from moltbot_gw.interfaces import IModelProvider, IRunSubscriber, ISessionStore
from moltbot_gw.messages import Message, UserMessage
from moltbot_gw.stored import IdempotencyKey, TurnEnd, TurnRound, TurnStart
from tests.sessions.support import PATIENCE, Pump
from tests.support.memory_store import MemorySessionStore
from tests.support.scripted_provider import Call, ScriptedProvider
from tests.support.setups import agent_setup

KEY = "agent:main:main"
START = 1769774400.0
START_MS = 1769774400000
TIMEOUT = 60.0
MAX_RUN_BYTES = 1000

expected_failures: list[Failure] = []
"""What the current test has asked for with ``logged_failures``."""


@contextmanager
def logged_failures() -> Iterator[list[Failure]]:
    """Collect the failures that are logged inside the block."""
    failures: list[Failure] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"])
            expected_failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    try:
        yield failures
    finally:
        globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]


def succeeded(waited: Deferred[Any]) -> Any:
    """Return what *waited* has fired with."""
    results: list[Any] = []
    waited.addCallback(results.append)
    [result] = results
    return result


def failed(waited: Deferred[Any]) -> BaseException:
    """Return what *waited* has failed with."""
    failures: list[Failure] = []
    waited.addErrback(failures.append)
    [failure] = failures
    return failure.value


@implementer(IRunSubscriber)
class Reader:
    """Takes all there is at each wake, unless paused or *broken*.

    One that only *watches* does not govern the flow.
    """

    def __init__(
        self, run: Run, *, paused: bool = False, watches: bool = False
    ) -> None:
        self.paused = paused
        self.broken = False
        self.watches = watches
        self.events: list[RunEvent] = []
        self.run = run
        self.cursor: Cursor = run.watch(self) if watches else run.subscribe(self)

    def wake(self) -> None:
        if self.broken:
            raise RuntimeError("a reader broke")
        assert not self.paused
        while (event := self.cursor.take()) is not None:
            self.events.append(event)

    def pause(self) -> None:
        self.paused = True
        self.run.flow_changed()

    def resume(self) -> None:
        self.paused = False
        self.run.flow_changed()
        self.wake()

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, ReasoningDelta))


def agent_of(agent_id: str, provider: str = "local", images: bool = False) -> Agent:
    return Agent(
        id=agent_id,
        name=None,
        theme=None,
        emoji=None,
        workspace=Path("/nonexistent"),
        model=ModelRef(provider, "m1", images),
        timeout=TIMEOUT,
        bootstrap_max_chars=1000,
    )


@attrs.define
class House:
    """A service with one scripted provider, on a clock that tests move."""

    store: ISessionStore
    clock: Clock = attrs.Factory(Clock)
    provider: ScriptedProvider = attrs.Factory(ScriptedProvider)
    others: Mapping[str, IModelProvider] = attrs.Factory(dict)
    max_concurrent: int = 2
    max_run_bytes: int = MAX_RUN_BYTES
    thinking: str | None = None
    fallbacks: tuple[ModelRef, ...] = ()
    compaction: CompactionSettings | None = None
    catalog: Catalog = attrs.Factory(lambda: Catalog(Config()))
    prepare_workspace: Callable[[Agent], Awaitable[None]] = leave_workspace
    toolbox: Toolbox = attrs.Factory(Toolbox)
    tool_limits: ToolLimits = attrs.Factory(ToolLimits)
    verbose: str | None = None
    service: AgentService = attrs.field(init=False)
    requests: int = 0

    def __attrs_post_init__(self) -> None:
        main = msgspec.structs.replace(
            agent_of("main"), thinking=self.thinking, fallbacks=self.fallbacks
        )
        agents = [main, agent_of("eyes", images=True)]
        agents += [agent_of("odd", "gone"), agent_of("other", "other")]
        self.service = AgentService(
            setup=agent_setup(
                Roster(
                    agents={one.id: one for one in agents},
                    default_id="main",
                    catalog=self.catalog,
                ),
                {"local": self.provider, **self.others},
                store=self.store,
                clock=self.clock,
                unix_time=self.now,
                compaction=self.compaction,
                max_run_bytes=self.max_run_bytes,
                prepare_workspace=self.prepare_workspace,
                toolbox=self.toolbox,
                tool_limits=self.tool_limits,
                verbose=self.verbose,
            ),
            store=self.store,
            lanes=Lanes(
                LaneLimits(
                    max_concurrent=self.max_concurrent,
                    max_waiting=5,
                    max_waiting_per_session=2,
                )
            ),
            clock=self.clock,
            unix_time=self.now,
        )

    def now(self) -> float:
        return START + self.clock.seconds()

    def start(self, *messages: Message, **fields: Any) -> Run:
        """Start a run; see ``request``."""
        return self.service.start_run(self.request(*messages, **fields))

    def request(
        self,
        *messages: Message,
        key: str = KEY,
        agent_id: str = "main",
        anonymous: bool = False,
        extra_system: str = "",
        idempotency_key: IdempotencyKey | None = None,
        **replaced: Any,
    ) -> RunRequest:
        """Return a request; each has another run id."""
        self.requests += 1
        request = RunRequest(
            run_id=f"run-{self.requests}",
            agent_id=agent_id,
            session_key=key,
            store_key=key,
            new_session_id=f"session-{self.requests}",
            anonymous=anonymous,
            messages=messages or (UserMessage("hello"),),
            extra_system=extra_system,
            key=idempotency_key,
        )
        return msgspec.structs.replace(request, **replaced)

    def close(self) -> None:
        """End what a test has left running."""
        for run in reversed(self.service.active):
            run.cancel(RunAborted("the test is over"))

    @property
    def call(self) -> Call:
        """The last call of the provider."""
        return self.provider.calls[-1]

    def history(self, key: str = KEY) -> tuple[Message, ...]:
        return succeeded(self.store.history(key, 0)).messages  # type: ignore[no-any-return]

    def check_idle(self) -> None:
        """Nothing of any run is left, and no timer either."""
        assert self.service.idle
        assert self.service.running == 0
        assert self.clock.getDelayedCalls() == []


def ended(run: Run) -> RunOutcome:
    """Return the outcome of *run*, which must have ended."""
    assert run.outcome is not None
    return run.outcome


class SteppingPump(Pump):
    """A pump that waits for anything."""

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._calls.get(timeout=PATIENCE)()


class GatedStore(MemorySessionStore):
    """Holds back the calls named in *gates* until the test opens or breaks them."""

    def __init__(self, *gates: str) -> None:
        super().__init__()
        self.gates = set(gates)
        self.held: list[Deferred[None]] = []
        self.begun: list[TurnStart] = []
        self.ended: list[TurnEnd] = []
        self.looked_up: list[str] = []

    def _gate(self, name: str) -> Deferred[None]:
        gate: Deferred[None] = Deferred()
        if name in self.gates:
            self.held.append(gate)
        else:
            gate.callback(None)
        return gate

    def history(self, session_key: str, fresh_after_ms: int) -> Deferred:  # type: ignore[type-arg]
        read = super().history
        return self._gate("history").addCallback(
            lambda _: read(session_key, fresh_after_ms)
        )

    def begin_turn(self, turn: TurnStart) -> Deferred[None]:
        self.begun.append(turn)
        begin = super().begin_turn
        return self._gate("begin").addCallback(lambda _: begin(turn))

    def extend_turn(self, turn: TurnRound) -> Deferred[None]:
        extend = super().extend_turn
        return self._gate("extend").addCallback(lambda _: extend(turn))

    def end_turn(self, turn: TurnEnd) -> Deferred[None]:
        self.ended.append(turn)
        finish = super().end_turn
        return self._gate("end").addCallback(lambda _: finish(turn))

    def find_kept(self, key: str, after_ms: int) -> Deferred:  # type: ignore[type-arg]
        self.looked_up.append(key)
        find = super().find_kept
        return self._gate("find").addCallback(lambda _: find(key, after_ms))

    def open_gate(self) -> None:
        self.held.pop(0).callback(None)

    def break_gate(self) -> None:
        self.held.pop(0).errback(StoreFailed("The disk is full."))
