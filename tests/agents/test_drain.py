"""How runs end when the gateway stops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.agents.service import CUT_SECONDS, DRAIN_RETRY_AFTER
from moltbot_gw.errors import Draining
from moltbot_gw.messages import AssistantMessage
from moltbot_gw.stored import TurnEnd
from tests.support.memory_store import MemorySessionStore

from .support import House, ended


def drain(house: House, seconds: float = 30.0) -> Deferred[None]:
    return Deferred.fromCoroutine(house.service.drain(seconds))


@pytest.fixture
def house() -> Iterator[House]:
    house = House(MemorySessionStore(), max_concurrent=1)
    yield house
    house.close()


def test_idle_service_is_drained_at_once(house: House) -> None:
    assert drain(house).called
    house.check_idle()


def test_new_run_is_refused(house: House) -> None:
    drain(house)
    with pytest.raises(Draining) as caught:
        house.start()
    assert caught.value.retry_after == DRAIN_RETRY_AFTER
    house.check_idle()


def test_waiting_runs_are_refused_in_both_lanes(house: House) -> None:
    house.start()
    waiting = [house.start(), house.start(key="agent:main:b")]
    drained = drain(house)
    for run in waiting:
        assert isinstance(ended(run).error, Draining)
        assert ended(run).state == "aborted"
    assert house.service.running == 1
    house.call.finish()
    assert drained.called
    house.check_idle()


def test_running_run_may_finish_in_time(house: House) -> None:
    run = house.start()
    drained = drain(house)
    house.clock.advance(29)
    house.call.say("done")
    assert not drained.called
    house.call.finish()
    assert drained.called
    assert ended(run).state == "done"
    house.check_idle()


def test_run_that_takes_too_long_is_cut_off_with_its_text_kept(house: House) -> None:
    run = house.start()
    house.call.say("half")
    drained = drain(house)
    house.clock.advance(30)
    assert drained.called
    assert house.call.cancelled
    assert isinstance(ended(run).error, Draining)
    assert ended(run).state == "aborted"
    assert house.history()[1:] == (AssistantMessage("half", stop_reason="aborted"),)
    house.check_idle()


def test_every_run_that_is_left_is_cut_off() -> None:
    house = House(MemorySessionStore(), max_concurrent=3)
    runs = [house.start(key=f"agent:main:{key}") for key in "abc"]
    drained = drain(house)
    house.clock.advance(30)
    assert [ended(run).state for run in runs] == ["aborted"] * 3
    assert drained.called
    house.check_idle()


def test_every_running_run_is_waited_for() -> None:
    house = House(MemorySessionStore(), max_concurrent=3)
    for key in "abc":
        house.start(key=f"agent:main:{key}")
    drained = drain(house)
    for call in house.provider.calls:
        assert not drained.called
        call.finish()
    assert drained.called
    house.check_idle()


def test_the_waiting_can_be_cut_short(house: House) -> None:
    run = house.start()
    house.call.say("half")
    drained = drain(house)
    house.clock.advance(1)
    house.service.cut_off(1.0)
    assert drained.called
    assert isinstance(ended(run).error, Draining)
    assert house.history()[1:] == (AssistantMessage("half", stop_reason="aborted"),)
    house.check_idle()


def test_nothing_is_cut_off_without_a_drain(house: House) -> None:
    run = house.start()
    house.service.cut_off()
    assert run.outcome is None
    house.call.finish()
    house.service.cut_off()
    house.check_idle()


class HangingStore(MemorySessionStore):
    """A disk that does not answer any more."""

    def end_turn(self, turn: TurnEnd) -> Deferred[None]:
        return Deferred()


def test_a_run_that_does_not_end_holds_the_gateway_for_a_while_only() -> None:
    house = House(HangingStore())
    house.start()
    drained = drain(house, 30.0)
    house.clock.advance(30)
    house.clock.advance(CUT_SECONDS - 1)
    assert not drained.called
    house.clock.advance(1)
    assert drained.called
    assert house.service.running == 1


def test_patience_with_a_run_that_does_not_end_can_run_out_sooner() -> None:
    house = House(HangingStore())
    house.start()
    drained = drain(house, 30.0)
    house.clock.advance(30)
    house.service.cut_off(1.0)
    house.clock.advance(1)
    assert drained.called
