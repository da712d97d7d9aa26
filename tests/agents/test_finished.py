from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from moltbot_gw.agents.finished import (
    MOST_REMEMBERED,
    REMEMBERED_SECONDS,
    FinishedRuns,
)
from moltbot_gw.agents.run import Run
from moltbot_gw.errors import RunAborted
from moltbot_gw.events import RunOutcome

from .support import GatedStore, House, ended, failed, succeeded


def outcome_of(at_ms: int = 1) -> RunOutcome:
    return RunOutcome(state="done", finish_reason="stop", ended_at_ms=at_ms)


def run_of(run_id: str = "r") -> Run:
    return Run(run_id=run_id, agent_id="main", session_key="k", max_bytes=10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def finished(clock: Clock) -> FinishedRuns:
    return FinishedRuns(clock)


def end(finished: FinishedRuns, run_id: str = "r", at_ms: int = 1) -> None:
    run = run_of(run_id)
    finished.expect(run)
    run.end(outcome_of(at_ms))


def test_outcome_is_told_while_the_run_is_going(finished: FinishedRuns) -> None:
    run = run_of()
    finished.expect(run)
    waiters = [finished.when_ended("r") for _ in range(3)]
    run.end(outcome_of())
    assert [succeeded(one) for one in waiters] == [outcome_of()] * 3


def test_outcome_is_told_a_little_late(finished: FinishedRuns, clock: Clock) -> None:
    end(finished)
    clock.advance(REMEMBERED_SECONDS - 1)
    assert succeeded(finished.when_ended("r")) == outcome_of()
    clock.advance(1)
    waiter = finished.when_ended("r")
    assert not waiter.called
    end(finished, at_ms=2)
    assert succeeded(waiter) == outcome_of(2)


def test_who_waits_is_told_of_a_run_to_come(finished: FinishedRuns) -> None:
    waiter, other = finished.when_ended("r"), finished.when_ended("other")
    end(finished)
    assert succeeded(waiter) == outcome_of()
    assert not other.called


def test_run_of_the_same_id_replaces_the_outcome(finished: FinishedRuns) -> None:
    end(finished, at_ms=1)
    run = run_of()
    finished.expect(run)
    waiter = finished.when_ended("r")
    assert not waiter.called
    run.end(outcome_of(2))
    assert succeeded(waiter) == outcome_of(2)


def test_oldest_outcome_goes_first(finished: FinishedRuns) -> None:
    for number in range(MOST_REMEMBERED):
        end(finished, str(number))
    end(finished, "0", at_ms=2)
    end(finished, "last")
    assert succeeded(finished.when_ended("0")) == outcome_of(2)
    assert not finished.when_ended("1").called
    assert succeeded(finished.when_ended("2")) == outcome_of()


def test_cancelled_waiter_leaves_the_others(finished: FinishedRuns) -> None:
    first, second = finished.when_ended("r"), finished.when_ended("r")
    first.cancel()
    assert isinstance(failed(first), CancelledError)
    end(finished)
    assert succeeded(second) == outcome_of()


def test_cancelled_waiters_leave_nothing(finished: FinishedRuns) -> None:
    for _ in range(3):
        waiters = [finished.when_ended("r") for _ in range(2)]
        for waiter in waiters:
            waiter.cancel()
            assert isinstance(failed(waiter), CancelledError)
    assert finished._waiters == {}  # a stranger may ask for any id


def test_waiter_that_cancels_another_harms_nobody(finished: FinishedRuns) -> None:
    first, second, third = (finished.when_ended("r") for _ in range(3))
    second.addErrback(lambda failure: failure.trap(CancelledError))
    first.addCallback(lambda _: second.cancel())
    end(finished)
    assert succeeded(third) == outcome_of()


def test_waiter_that_waits_again_is_told_again(finished: FinishedRuns) -> None:
    again: list[Deferred[RunOutcome]] = []
    first = finished.when_ended("r")
    first.addCallback(lambda _: again.append(finished.when_ended("r")))
    end(finished)
    assert succeeded(again[0]) == outcome_of()


def test_error_is_remembered(finished: FinishedRuns) -> None:
    error = RunAborted("The run was aborted.")
    run = run_of()
    finished.expect(run)
    run.end(RunOutcome(state="aborted", error=error, ended_at_ms=1))
    told = succeeded(finished.when_ended("r"))
    assert (told.state, told.ended_at_ms) == ("aborted", 1)
    assert told.error is error


@pytest.fixture
def house() -> Iterator[House]:
    house = House(GatedStore())
    yield house
    house.close()


def test_service_tells_of_its_runs_by_their_ids(house: House) -> None:
    early = house.service.when_run_ended("run-1")
    run = house.start()
    running = house.service.when_run_ended("run-1")
    house.call.finish()
    late = house.service.when_run_ended("run-1")
    assert [succeeded(one) for one in (early, running, late)] == [ended(run)] * 3
