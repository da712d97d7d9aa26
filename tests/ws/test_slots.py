from __future__ import annotations

import sys

from twisted.internet.defer import CancelledError, Deferred

from moltbot_gw.ws.slots import Slots


def test_places_go_to_who_has_waited_longest() -> None:
    slots, got = Slots(2), list[int]()

    async def wait(number: int) -> None:
        await slots.take()
        got.append(number)

    for number in range(5):
        Deferred.fromCoroutine(wait(number))
    assert got == [0, 1]
    assert slots.are_taken
    slots.give_back()
    assert got == [0, 1, 2]
    slots.give_back()
    slots.give_back()
    assert got == [0, 1, 2, 3, 4]


def test_place_that_nobody_waits_for_is_free_again() -> None:
    slots = Slots(1)
    assert slots.take().called
    slots.give_back()
    assert not slots.are_taken
    assert slots.take().called


def test_cancelled_waiter_takes_no_place() -> None:
    slots = Slots(1)
    slots.take()
    first, second = slots.take(), slots.take()
    gone: list[type[BaseException] | None] = []
    first.addErrback(lambda failure: gone.append(failure.check(CancelledError)))
    first.cancel()
    assert gone == [CancelledError]
    slots.give_back()
    assert second.called


def test_crowd_that_gives_back_at_once_does_not_exhaust_the_stack() -> None:
    slots, served = Slots(1), list[int]()

    async def visit(number: int) -> None:
        await slots.take()
        served.append(number)
        slots.give_back()

    slots.take()
    visits = sys.getrecursionlimit()
    visitors = [Deferred.fromCoroutine(visit(number)) for number in range(visits)]
    slots.give_back()
    assert served == list(range(visits))
    assert all(visitor.called for visitor in visitors)
    assert not slots.are_taken
