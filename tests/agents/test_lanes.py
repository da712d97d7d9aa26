from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from moltbot_gw.agents.lanes import RETRY_AFTER, Lane, LaneLimits, Lanes, LaneTicket
from moltbot_gw.errors import Draining, QueueFull


def lanes_of(running: int = 2, waiting: int = 10, per_session: int = 5) -> Lanes:
    return Lanes(
        LaneLimits(
            max_concurrent=running,
            max_waiting=waiting,
            max_waiting_per_session=per_session,
        )
    )


class Visitor:
    """Enters the lanes and notes when it is let through, or why not."""

    def __init__(self, lanes: Lanes, session: str) -> None:
        self.ticket: LaneTicket = lanes.enter(session)
        self.ready = False
        self.error: BaseException | None = None
        self.waiting: Deferred[None] = Deferred.fromCoroutine(self.ticket.ready())
        self.waiting.addCallbacks(self._let_in, self._refused)

    def _let_in(self, _: None) -> None:
        self.ready = True

    def _refused(self, failure: object) -> None:
        self.error = failure.value  # type: ignore[attr-defined]

    def leave(self) -> None:
        self.ticket.close()

    def give_up(self) -> None:
        self.waiting.cancel()
        self.ticket.close()


def visitors(lanes: Lanes, sessions: str) -> list[Visitor]:
    return [Visitor(lanes, session) for session in sessions]


def states(those: list[Visitor]) -> list[bool]:
    return [one.ready for one in those]


def test_session_runs_one_at_a_time_in_order() -> None:
    lanes = lanes_of(running=3)
    first, second, third = those = visitors(lanes, "aaa")
    assert states(those) == [True, False, False]
    first.leave()
    assert states(those) == [True, True, False]
    second.leave()
    assert third.ready
    third.leave()
    assert lanes.idle


def test_sessions_share_the_slots_first_come_first_served() -> None:
    lanes = lanes_of(running=2)
    those = visitors(lanes, "abcd")
    assert states(those) == [True, True, False, False]
    those[1].leave()
    assert states(those) == [True, True, True, False]
    for one in (those[0], those[2], those[3]):
        assert one.ready
        one.leave()
    assert lanes.idle


def test_run_that_waits_for_its_session_takes_no_slot() -> None:
    lanes = lanes_of(running=2)
    those = visitors(lanes, "aab")
    assert states(those) == [True, False, True]


def test_giving_up_in_the_sessions_lane_lets_the_next_one_pass() -> None:
    lanes = lanes_of()
    first, second, third = visitors(lanes, "aaa")
    second.give_up()
    assert isinstance(second.error, CancelledError)
    first.leave()
    assert third.ready
    third.leave()
    assert lanes.idle


def test_giving_up_in_the_global_lane_frees_the_session() -> None:
    lanes = lanes_of(running=1)
    first, second, third = visitors(lanes, "abb")
    second.give_up()
    first.leave()
    assert third.ready
    third.leave()
    assert lanes.idle


def test_closing_without_waiting_leaves_nothing_behind() -> None:
    lanes = lanes_of()
    lanes.enter("a").close()
    assert lanes.idle


@pytest.mark.parametrize("session", ["a", "b"])
def test_not_idle_while_anybody_runs_or_waits(session: str) -> None:
    lanes = lanes_of(running=1)
    first = Visitor(lanes, "a")
    second = Visitor(lanes, session)
    assert not lanes.idle
    first.leave()
    assert not lanes.idle
    second.leave()
    assert lanes.idle


def test_session_with_too_many_waiting_is_full() -> None:
    lanes = lanes_of(per_session=2)
    those = visitors(lanes, "aaa")
    with pytest.raises(QueueFull, match="this session") as caught:
        lanes.enter("a")
    assert caught.value.retry_after == RETRY_AFTER
    assert caught.value.code == "queue_full"
    those[0].leave()
    Visitor(lanes, "a")
    Visitor(lanes, "b")


def test_gateway_with_too_many_waiting_is_full() -> None:
    lanes = lanes_of(running=1, waiting=2)
    those = visitors(lanes, "abc")
    with pytest.raises(QueueFull, match="this gateway") as caught:
        lanes.enter("d")
    assert caught.value.retry_after == RETRY_AFTER
    for one in those:
        one.leave()
    assert lanes.idle


def test_refusal_leaves_no_lane_behind() -> None:
    lanes = lanes_of(running=1, waiting=1)
    those = visitors(lanes, "ab")
    with pytest.raises(QueueFull):
        lanes.enter("c")
    for one in those:
        one.leave()
    assert lanes.idle


def test_refuse_waiting_fails_those_in_both_lanes_only() -> None:
    lanes = lanes_of(running=1)
    running, same, other, behind = those = visitors(lanes, "aabb")
    error = Draining("stopping")
    lanes.refuse_waiting(error)
    assert states(those) == [True, False, False, False]
    assert [one.error for one in (same, other, behind)] == [error] * 3
    assert running.error is None
    for one in those:
        one.leave()
    assert lanes.idle


def test_refused_run_that_leaves_at_once_lets_nobody_slip_in() -> None:
    lanes = lanes_of(running=1)
    running, other, behind = visitors(lanes, "abb")
    other.waiting.addBoth(lambda _: other.leave())
    lanes.refuse_waiting(Draining("stopping"))
    assert (other.ready, behind.ready) == (False, False)
    assert isinstance(behind.error, Draining)
    behind.leave()
    running.leave()
    assert lanes.idle


def test_lane_counts_those_who_wait() -> None:
    lane = Lane(1)
    lane.acquire()
    waiters = [lane.acquire() for _ in range(2)]
    assert lane.waiting == 2
    waiters[0].addErrback(lambda failure: failure.trap(CancelledError))
    waiters[0].cancel()
    assert lane.waiting == 1
    lane.release()
    lane.release()
    assert lane.idle


# -- other limits


def limits(running: int, waiting: int = 10, per_session: int = 5) -> LaneLimits:
    return LaneLimits(
        max_concurrent=running, max_waiting=waiting, max_waiting_per_session=per_session
    )


def test_wider_lane_lets_in_who_waits() -> None:
    lanes = lanes_of(running=1)
    first, second, third = visitors(lanes, "abc")
    lanes.resize(limits(2))
    assert [one.ready for one in (first, second, third)] == [True, True, False]
    first.leave()
    assert third.ready


def test_narrower_lane_lets_nobody_in_until_enough_have_left() -> None:
    lanes = lanes_of(running=3)
    one, two, three, waiting = visitors(lanes, "abcd")
    lanes.resize(limits(1))
    one.leave()
    two.leave()
    assert not waiting.ready
    three.leave()
    assert waiting.ready
    waiting.leave()
    assert lanes.idle


def test_other_bounds_count_for_who_comes() -> None:
    lanes = lanes_of(running=1, waiting=0)
    visitors(lanes, "a")
    with pytest.raises(QueueFull):
        lanes.enter("b")
    lanes.resize(limits(1, waiting=1, per_session=0))
    lanes.enter("b")
    with pytest.raises(QueueFull):
        lanes.enter("a")
