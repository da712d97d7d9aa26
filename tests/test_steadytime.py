"""Whoever sets the wall clock rings no timer and stops none."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.python import runtime

from moltbot_gw.steadytime import keep_steady


def own_reactor() -> Any:
    """Return a reactor that is not the one of the process."""
    return SelectReactor()


def test_time_is_steady_afterwards() -> None:
    reactor = own_reactor()
    assert reactor.seconds is runtime.seconds
    keep_steady(reactor)
    assert reactor.seconds is time.monotonic
    before, now, after = time.monotonic(), reactor.seconds(), time.monotonic()
    assert before <= now <= after


def test_what_is_scheduled_keeps_its_delay() -> None:
    reactor = own_reactor()
    called: list[str] = []
    late = reactor.callLater(1000.0, called.append, "late")
    reactor.callLater(0.0, called.append, "soon")
    keep_steady(reactor)
    reactor.callLater(0.0, called.append, "new")
    reactor.runUntilCurrent()
    assert sorted(called) == ["new", "soon"]
    assert 990 < late.getTime() - time.monotonic() <= 1000


def test_a_clock_of_its_own_is_left_alone() -> None:
    clock = Clock()
    clock.advance(5.0)
    keep_steady(clock)
    assert clock.seconds() == 5.0
