"""Foreseen failures hold on to nobody; the others tell where they came from."""

from __future__ import annotations

import gc
import weakref

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from moltbot_gw.errors import GatewayError, StoreFailed
from moltbot_gw.unheld import from_coroutine, unheld


class Thing:
    """What a function has in its hands when it fails."""


def failure_of(work: Deferred[None]) -> Failure:
    failures: list[Failure] = []
    work.addErrback(failures.append)
    (failure,) = failures
    return failure


def failing(error: Exception, thing: Thing) -> Deferred[None]:
    """Return work that fails with *error*, which another has led to."""

    async def fail(thing: Thing) -> None:
        try:
            raise ValueError("the cause", id(thing))
        except ValueError:
            raise error from None

    return from_coroutine(fail(thing))


@pytest.mark.parametrize("error", [StoreFailed("full"), CancelledError()])
def test_foreseen_failure_holds_nothing(error: Exception) -> None:
    thing = Thing()
    watch = weakref.ref(thing)
    gc.disable()
    try:
        failure = failure_of(failing(error, thing))
        del thing
        assert watch() is None
    finally:
        gc.enable()
    assert failure.value is error


def test_unforeseen_failure_tells_where_it_came_from() -> None:
    failure = failure_of(failing(KeyError("x"), Thing()))
    assert "in fail" in failure.getTraceback()


def test_cancelling_reaches_the_work() -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await Deferred()
        finally:
            told.append("cancelled")

    running = from_coroutine(work())
    running.cancel()
    assert failure_of(running).check(CancelledError)
    assert told == ["cancelled"]


def test_error_that_was_never_raised_is_left_alone() -> None:
    failure = Failure(GatewayError("no"))
    assert unheld(failure) is failure
