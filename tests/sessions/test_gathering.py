"""When jobs reach the thread that does them, and with whom."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moltbot_gw.sessions.batches import Job
from moltbot_gw.sessions.gathering import (
    GATHER_SECONDS,
    MOST_JOBS,
    PAUSE_SECONDS,
    Gathering,
)


class Desk:
    """Jobs that are numbers, and the batches of them that the thread was given."""

    def __init__(self, *, for_company: bool = True) -> None:
        self.clock = Clock()
        self.batches: list[list[int]] = []
        self.gathering = Gathering(
            self.clock,
            lambda jobs: self.batches.append([job.argument for job in jobs]),
            for_company=for_company,
        )

    def add(self, *numbers: int) -> None:
        for number in numbers:
            done: Deferred[Any] = Deferred()
            self.gathering.add(Job(print, number, done))

    def done(self) -> None:
        self.gathering.batch_done()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def crowd(desk: Desk) -> Desk:
    """A desk whose thread has just done the jobs 1 and 2 together."""
    desk.add(0, 1, 2)
    desk.done()
    desk.done()
    assert desk.batches == [[0], [1, 2]]
    desk.batches.clear()
    return desk


def test_who_is_alone_goes_at_once(desk: Desk) -> None:
    for number in range(3):
        desk.add(number)
        assert desk.batches[number:] == [[number]]
        desk.done()
    assert desk.clock.getDelayedCalls() == []


def test_the_thread_has_one_batch_at_a_time(desk: Desk) -> None:
    desk.add(1, 2, 3)
    assert desk.batches == [[1]]
    assert len(desk.gathering) == 2
    desk.done()
    assert desk.batches == [[1], [2, 3]]
    assert len(desk.gathering) == 0


def test_after_company_one_waits_for_more(crowd: Desk) -> None:
    crowd.add(3)
    crowd.clock.advance(PAUSE_SECONDS / 2)
    crowd.add(4)
    crowd.clock.advance(PAUSE_SECONDS / 2)
    assert crowd.batches == []  # somebody came meanwhile
    crowd.clock.advance(PAUSE_SECONDS)
    assert crowd.batches == [[3, 4]]


def test_who_shares_nothing_waits_for_nobody() -> None:
    desk = Desk(for_company=False)
    desk.add(0, 1, 2)
    desk.done()
    desk.done()
    desk.add(3, 4)
    assert desk.batches == [[0], [1, 2], [3]]
    desk.done()
    assert desk.batches == [[0], [1, 2], [3], [4]]
    assert desk.clock.getDelayedCalls() == []


def test_who_came_while_the_thread_was_busy_waits_too(crowd: Desk) -> None:
    crowd.add(3, 4)
    crowd.clock.pump([PAUSE_SECONDS] * 2)
    crowd.add(5)
    crowd.clock.advance(1.0)
    assert crowd.batches == [[3, 4]]
    crowd.done()
    crowd.add(6)
    crowd.clock.pump([PAUSE_SECONDS] * 2)
    assert crowd.batches == [[3, 4], [5, 6]]


def test_a_crowd_that_has_gone_costs_one_pause(crowd: Desk) -> None:
    crowd.add(3)
    crowd.clock.advance(PAUSE_SECONDS)
    assert crowd.batches == [[3]]
    crowd.done()
    crowd.add(4)
    assert crowd.batches == [[3], [4]]


def test_a_crowd_that_never_ends_is_cut(crowd: Desk) -> None:
    began = crowd.clock.seconds()
    number = 1
    crowd.add(0)
    while not crowd.batches:
        crowd.add(number)
        number += 1
        crowd.clock.advance(PAUSE_SECONDS)
    took = crowd.clock.seconds() - began
    assert GATHER_SECONDS <= took < GATHER_SECONDS + 2 * PAUSE_SECONDS
    assert crowd.batches == [list(range(number))]


def test_a_batch_has_a_bound(desk: Desk) -> None:
    desk.add(*range(2 * MOST_JOBS + 2))
    for _ in range(3):
        desk.done()
        desk.clock.advance(PAUSE_SECONDS)
    assert [len(batch) for batch in desk.batches] == [1, MOST_JOBS, MOST_JOBS, 1]
    assert [*chain(*desk.batches)] == list(range(2 * MOST_JOBS + 2))


def test_flushing_hands_over_all_in_order(crowd: Desk) -> None:
    jobs = range(MOST_JOBS + 5)
    crowd.add(*jobs)
    crowd.gathering.flush()
    assert [*chain(*crowd.batches)] == list(jobs)
    assert crowd.clock.getDelayedCalls() == []
    for _ in crowd.batches:
        crowd.done()
    assert len(crowd.batches) == 2


def test_flushing_does_not_wait_for_the_thread(desk: Desk) -> None:
    desk.add(1, 2)
    desk.gathering.flush()
    assert desk.batches == [[1], [2]]
