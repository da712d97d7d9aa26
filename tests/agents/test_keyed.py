"""Runs with an idempotency key: joined, replayed, forgotten; on both stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import CancelledError, Deferred

from moltbot_gw.agents.keyed import KEPT_SECONDS
from moltbot_gw.agents.run import Run
from moltbot_gw.errors import (
    ClientGone,
    Draining,
    GatewayError,
    KeyReused,
    ModelNotFound,
    ProviderFailed,
    QueueFull,
    RunAborted,
    StoreFailed,
)
from moltbot_gw.events import ReasoningDelta, RunEnded, RunStarted, TextDelta
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.sessions import SqliteSessionStore
from moltbot_gw.stored import IdempotencyKey
from tests.sessions.support import FAILED, end, start
from tests.support.memory_store import MemorySessionStore
from tests.support.scripted_provider import USAGE, ScriptedProvider

from .support import (
    START_MS,
    GatedStore,
    House,
    Reader,
    SteppingPump,
    ended,
    failed,
    succeeded,
)

GONE = ClientGone("The client closed the connection.")


def key_of(body: str = "a", value: str = "key-1") -> IdempotencyKey:
    return IdempotencyKey(value=value, fingerprint=body.encode())


def ask(
    house: House, body: str = "a", value: str = "key-1", **fields: Any
) -> Deferred[Run]:
    """Ask for the run of a request that says *body* under the key *value*."""
    request = house.request(idempotency_key=key_of(body, value), **fields)
    return Deferred.fromCoroutine(house.service.start_or_join(request))


@attrs.define
class World:
    """A gateway's agents and its store, through restarts of the process."""

    open_store: Callable[[], ISessionStore]
    close_store: Callable[[ISessionStore], None]
    pump: SteppingPump = attrs.Factory(SteppingPump)
    house: House = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.house = House(self.open_store())

    def ask(self, body: str = "a", **fields: Any) -> Run:
        return self.pump.wait(ask(self.house, body, **fields))

    def begin(self, body: str = "a", **fields: Any) -> Run:
        """Ask, and wait until the model is called."""
        calls = len(self.house.provider.calls)
        run = self.ask(body, **fields)
        self.pump.until(lambda: len(self.house.provider.calls) > calls)
        return run

    def answer(self, text: str = "hi") -> None:
        """Let the model answer the last call, and the run end."""
        self.house.call.say(text)
        self.house.call.finish()
        self.settle()

    def settle(self) -> None:
        self.pump.until(lambda: not self.house.service.running)

    def kill(self, **options: Any) -> None:
        """Start again in the middle of everything."""
        self.close_store(self.house.store)
        self.house = House(self.open_store(), self.house.clock, **options)


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    pump = SteppingPump()
    memory = MemorySessionStore()

    def open_store() -> ISessionStore:
        if request.param == "memory":
            return memory
        store = SqliteSessionStore(tmp_path / "sessions.sqlite", pump)
        pump.wait(store.open())
        return store

    def close_store(store: ISessionStore) -> None:
        if store is not memory:
            pump.wait(store.close())

    world = World(open_store, close_store, pump)
    yield world
    world.house.close()
    world.settle()
    close_store(world.house.store)


# -- joined and replayed, across restarts


def test_repeat_joins_the_run_while_it_is_going(world: World) -> None:
    run = world.begin()
    world.house.call.say("hel")
    joined = world.ask()
    assert joined is run
    reader = Reader(joined)
    reader.wake()
    world.answer("lo")
    assert reader.text == "hello"
    assert len(world.house.provider.calls) == 1


def test_repeat_after_the_end_replays_it(world: World) -> None:
    run = world.begin()
    world.house.call.think("hm")
    world.house.clock.advance(2)
    world.answer("hi \u2028 \U0001f600")
    world.house.clock.advance(5)
    replayed = world.ask()
    assert replayed is not run
    assert replayed.run_id == run.run_id
    assert (replayed.agent_id, replayed.session_key) == ("main", run.session_key)
    assert (replayed.text(), replayed.reasoning()) == (run.text(), "hm")
    assert ended(replayed) == ended(run)
    assert ended(replayed).usage == USAGE
    assert len(world.house.provider.calls) == 1
    assert world.house.service.idle


def test_replay_is_a_log_like_any_other(world: World) -> None:
    run = world.begin()
    world.house.call.think("hm")
    world.answer("hi")
    reader = Reader(world.ask())
    reader.wake()
    assert reader.events == [
        RunStarted(ended(run).started_at_ms or 0),
        ReasoningDelta("hm"),
        TextDelta("hi"),
        RunEnded(ended(run)),
    ]


def test_answer_is_replayed_after_a_restart(world: World) -> None:
    run = world.begin()
    world.answer("hello")
    world.kill()
    replayed = world.ask()
    assert (replayed.run_id, replayed.text()) == (run.run_id, "hello")
    assert ended(replayed) == ended(run)
    assert world.house.provider.calls == []


def test_empty_answer_is_replayed_as_one(world: World) -> None:
    world.begin()
    world.house.call.finish()
    world.settle()
    replayed = world.ask()
    assert (ended(replayed).finish_reason, replayed.text()) == ("stop", "")


def test_failure_is_replayed_as_it_was_told(world: World) -> None:
    run = world.begin()
    world.house.call.say("half")
    world.house.call.fail(ProviderFailed("It broke.", code="odd_code"))
    world.settle()
    world.kill()
    replayed = world.ask()
    error = ended(replayed).error
    assert isinstance(error, GatewayError)
    told = (error.status, error.type, error.code, error.message)
    assert told == (502, "api_error", "odd_code", "It broke.")
    assert error.should_retry is False
    assert (ended(replayed).state, replayed.text()) == ("failed", "half")
    assert replayed.run_id == run.run_id


def test_run_that_somebody_stopped_is_replayed_as_stopped(world: World) -> None:
    run = world.begin()
    world.house.call.say("half")
    run.cancel(RunAborted("enough"))
    world.settle()
    replayed = world.ask()
    assert (ended(replayed).state, replayed.text()) == ("aborted", "half")
    assert len(world.house.provider.calls) == 1


@pytest.mark.parametrize("moment", ["running", "ended", "restarted"])
def test_key_of_another_request_is_refused(world: World, moment: str) -> None:
    world.begin("a")
    if moment != "running":
        world.answer()
    if moment == "restarted":
        world.kill()
    with pytest.raises(KeyReused) as caught:
        world.ask("b")
    assert (caught.value.status, caught.value.code) == (409, "idempotency_key_reused")
    assert len(world.house.provider.calls) == (moment != "restarted")


def test_other_keys_are_other_runs(world: World) -> None:
    first = world.begin(value="key-1")
    second = world.begin(value="key-2", key="agent:main:b")
    assert first.run_id != second.run_id


def test_answer_is_kept_for_a_day(world: World) -> None:
    run = world.begin()
    world.answer()
    world.house.clock.advance(KEPT_SECONDS)
    assert world.ask().run_id == run.run_id
    world.house.clock.advance(1)
    assert world.begin("b").run_id != run.run_id
    world.answer("again")
    assert world.ask("b").text() == "again"


def test_long_answer_is_replayed_whole_under_a_lower_limit(world: World) -> None:
    world.begin()
    world.house.call.think("\U0001f600" * 20)
    world.answer("\U0001f600" * 200)
    world.kill(max_run_bytes=10)
    replayed = world.ask()
    assert replayed.text() == "\U0001f600" * 200
    assert replayed.reasoning() == "\U0001f600" * 20
    assert replayed.cancelled is None


def test_failure_that_came_before_the_start_is_replayed_without_one(
    world: World,
) -> None:
    begun = start("mine", idempotency_key="key-1", at_ms=START_MS)
    world.pump.wait(world.house.store.begin_turn(begun))
    world.pump.wait(world.house.store.end_turn(end("mine", kept=FAILED)))
    replayed = world.ask("\0print")
    assert replayed.run_id == "mine"
    assert ended(replayed).started_at_ms is None
    reader = Reader(replayed)
    reader.wake()
    assert reader.events == [RunEnded(ended(replayed))]


# -- forgotten


@pytest.mark.parametrize("body", ["a", "b"])
def test_run_that_nobody_waited_for_is_forgotten(world: World, body: str) -> None:
    run = world.begin()
    world.house.call.say("half")
    run.cancel(GONE)
    world.settle()
    assert world.begin(body).run_id != run.run_id
    world.answer("whole")
    assert world.ask(body).text() == "whole"


def test_repeat_that_comes_while_such_a_run_ends_runs_anew(world: World) -> None:
    run = world.begin()
    run.cancel(GONE)
    again = world.begin()
    assert again is not run
    assert again.outcome is None
    world.answer("whole")
    assert world.ask().run_id == again.run_id


@pytest.mark.parametrize("body", ["a", "b"])
def test_run_that_a_crash_cut_off_is_forgotten(world: World, body: str) -> None:
    run = world.begin()
    world.kill()
    again = world.begin(body)
    assert again.outcome is None
    assert (again.run_id, run.run_id) == ("run-1", "run-1")
    world.answer("whole")
    assert world.ask(body).text() == "whole"


def test_run_that_a_stop_cut_off_is_forgotten(world: World) -> None:
    run = world.begin()
    world.house.call.say("half")
    drained = Deferred.fromCoroutine(world.house.service.drain(1.0))
    with pytest.raises(Draining):
        world.ask(value="key-2")
    world.house.clock.advance(1)
    world.pump.wait(drained)
    assert isinstance(ended(run).error, Draining)
    world.kill()
    world.begin("b")
    world.answer("whole")
    assert world.ask("b").text() == "whole"


def test_run_that_finishes_while_the_gateway_stops_is_kept(world: World) -> None:
    world.begin()
    drained = Deferred.fromCoroutine(world.house.service.drain(1.0))
    world.answer("whole")
    world.pump.wait(drained)
    assert world.ask().text() == "whole"


# -- races, with the memory store behind gates


@pytest.fixture
def store() -> GatedStore:
    return GatedStore()


@pytest.fixture
def house(store: GatedStore) -> Iterator[House]:
    house = House(store)
    yield house
    house.close()


def test_request_without_a_key_costs_no_look(house: House, store: GatedStore) -> None:
    started = Deferred.fromCoroutine(house.service.start_or_join(house.request()))
    assert succeeded(started).outcome is None
    assert store.looked_up == []


def test_equal_requests_of_one_instant_make_one_run(
    house: House, store: GatedStore
) -> None:
    store.gates = {"find"}
    waiting = [ask(house) for _ in range(3)]
    assert house.service.idle
    store.open_gate()
    runs = [succeeded(one) for one in waiting]
    assert runs == [runs[0]] * 3
    assert (len(house.provider.calls), store.looked_up) == (1, ["key-1"])


def test_other_request_of_the_same_instant_is_refused(
    house: House, store: GatedStore
) -> None:
    store.gates = {"find"}
    first, second = ask(house, "a"), ask(house, "b")
    assert isinstance(failed(second), KeyReused)
    store.open_gate()
    assert succeeded(first).outcome is None


def test_equal_requests_of_one_instant_replay_the_same(
    house: House, store: GatedStore
) -> None:
    run = succeeded(ask(house))
    house.call.finish()
    store.gates = {"find"}
    waiting = [ask(house) for _ in range(3)]
    while store.held:
        store.open_gate()
    assert [succeeded(one).run_id for one in waiting] == [run.run_id] * 3
    assert len(house.provider.calls) == 1


def test_failing_look_fails_all_and_remembers_nothing(
    house: House, store: GatedStore
) -> None:
    store.gates = {"find"}
    waiting = [ask(house), ask(house)]
    while store.held:
        store.break_gate()
    assert [type(failed(one)) for one in waiting] == [StoreFailed] * 2
    store.gates = set()
    assert succeeded(ask(house, "b")).outcome is None
    assert len(house.provider.calls) == 1


def test_request_that_goes_during_the_look_leaves_it_to_the_next(
    house: House, store: GatedStore
) -> None:
    store.gates = {"find"}
    first, second = ask(house), ask(house)
    first.cancel()
    assert isinstance(failed(first), CancelledError)
    assert not second.called
    while store.held:
        store.open_gate()
    assert succeeded(second).outcome is None
    assert len(house.provider.calls) == 1


def test_waiting_request_may_go(house: House, store: GatedStore) -> None:
    store.gates = {"find"}
    first, second, third = ask(house), ask(house), ask(house)
    second.cancel()
    assert isinstance(failed(second), CancelledError)
    store.open_gate()
    assert succeeded(third) is succeeded(first)
    assert len(house.provider.calls) == 1


def test_waiting_request_that_takes_another_with_it_harms_nobody(
    house: House, store: GatedStore
) -> None:
    store.gates = {"find"}
    first, second, third, fourth = (ask(house) for _ in range(4))
    third.addErrback(lambda failure: failure.trap(CancelledError))
    second.addCallback(lambda _: third.cancel())
    store.open_gate()
    assert succeeded(fourth) is succeeded(first)


def test_refusal_is_not_remembered(house: House, store: GatedStore) -> None:
    assert isinstance(failed(ask(house, agent_id="nobody")), ModelNotFound)
    for _ in range(3):
        house.start()
    store.gates = {"find"}
    waiting = [ask(house), ask(house)]
    while store.held:
        store.open_gate()
    assert [type(failed(one)) for one in waiting] == [QueueFull] * 2
    store.gates = set()
    house.call.finish()
    assert succeeded(ask(house, "b")).outcome is None


def test_run_that_fails_before_its_turn_is_not_remembered(
    house: House, store: GatedStore
) -> None:
    store.gates = {"begin"}
    run = succeeded(ask(house))
    store.break_gate()
    assert isinstance(ended(run).error, StoreFailed)
    store.gates = set()
    assert succeeded(ask(house, "b")) is not run
    house.call.finish()
    house.check_idle()


def test_run_whose_end_cannot_be_stored_is_forgotten(
    house: House, store: GatedStore
) -> None:
    store.gates = {"end"}
    run = succeeded(ask(house))
    house.call.finish()
    store.break_gate()
    assert isinstance(ended(run).error, StoreFailed)
    store.gates = set()
    assert succeeded(ask(house)).outcome is None
    assert len(house.provider.calls) == 2


@pytest.mark.parametrize("reason", [GONE, Draining("The gateway is stopping.")])
def test_run_that_is_being_cut_off_is_not_joined(
    house: House, store: GatedStore, reason: GatewayError
) -> None:
    store.gates = {"end"}
    run = succeeded(ask(house))
    run.cancel(reason)
    again, gone = ask(house), ask(house)
    assert not again.called
    gone.cancel()
    assert isinstance(failed(gone), CancelledError)
    store.open_gate()
    assert succeeded(again) is not run
    assert len(house.provider.calls) == 2


def test_run_that_was_whole_when_it_was_cut_off_is_replayed(
    house: House, store: GatedStore
) -> None:
    store.gates = {"end"}
    run = succeeded(ask(house))
    house.call.say("whole")
    house.call.finish_on_cancel = True
    run.cancel(GONE)
    again = ask(house)
    store.open_gate()
    replayed = succeeded(again)
    assert (replayed.run_id, replayed.text()) == (run.run_id, "whole")
    assert len(house.provider.calls) == 1


def test_run_stopped_on_purpose_is_joined_until_its_end(
    house: House, store: GatedStore
) -> None:
    store.gates = {"end"}
    run = succeeded(ask(house))
    run.cancel(RunAborted("stop"))
    assert succeeded(ask(house)) is run
    store.open_gate()
    assert ended(run).state == "aborted"


def test_run_in_its_lane_is_joined(house: House) -> None:
    house.start()
    waiting = succeeded(ask(house))
    assert succeeded(ask(house)) is waiting
    house.call.finish()
    assert len(house.provider.calls) == 2


def test_run_is_replayed_as_soon_as_its_end_is_told(house: House) -> None:
    told: list[Deferred[Run]] = []
    run = succeeded(ask(house))
    run.when_ended().addCallback(lambda _: told.append(ask(house)))
    house.call.finish()
    assert succeeded(told[0]).run_id == run.run_id
    assert len(house.provider.calls) == 1


class Clients(RuleBasedStateMachine):
    """Clients that repeat, wait and go at random: no two runs of a key at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.store = GatedStore("find", "begin", "end")
        self.house = House(self.store, max_concurrent=100)
        self.asked: list[Deferred[Run]] = []
        self.runs: list[Run] = []

    @rule()
    def ask(self) -> None:
        asked = ask(self.house)
        asked.addCallbacks(self.note, lambda failure: failure.trap(CancelledError))
        self.asked.append(asked)

    def note(self, run: Run) -> None:
        run.hold()
        self.runs.append(run)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asked)).cancel()

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.runs) - 1))
        run = self.runs.pop(index)
        if run.release():
            run.cancel(GONE)

    @precondition(lambda self: self.store.held)
    @rule()
    def store_answers(self) -> None:
        self.store.open_gate()

    @precondition(lambda self: any(not c.finished.called for c in self.calls))
    @rule()
    def model_answers(self) -> None:
        call = next(one for one in self.calls if not one.finished.called)
        call.say("hi")
        call.finish()

    @property
    def calls(self) -> list[Any]:
        provider: ScriptedProvider = self.house.provider
        return provider.calls

    @invariant()
    def one_run_at_a_time(self) -> None:
        assert self.house.service.running <= 1

    @invariant()
    def who_still_waits_was_not_cut_off(self) -> None:
        assert all(run.cancelled is None for run in self.runs)

    @invariant()
    def all_that_were_answered_have_one_answer(self) -> None:
        answers = {
            run.run_id
            for run in self.runs
            if run.outcome is not None and run.outcome.state == "done"
        }
        assert len(answers) <= 1

    def teardown(self) -> None:
        for asked in self.asked:
            asked.cancel()
        self.house.close()
        while self.store.held:
            self.store.open_gate()
        self.house.check_idle()


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
