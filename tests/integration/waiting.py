"""How tests on real sockets wait: on a condition, and never for longer than a bound."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from twisted.internet import reactor as _installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from moltbot_gw.events import Completion
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.messages import ModelRequest
from tests.support.fake_provider import FakeProvider

P = ParamSpec("P")
T = TypeVar("T")

reactor: Any = _installed

PATIENCE = 30.0
"""Seconds that a whole test may take."""

_GLANCE = 0.005


def within(seconds: float, waiting: Deferred[T]) -> Deferred[T]:
    """Cancel *waiting*, and fail with ``TimeoutError``, if it takes longer."""
    return waiting.addTimeout(seconds, reactor)


def start(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Start a coroutine beside the test."""
    return Deferred.fromCoroutine(work)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Return once *condition* holds; the reactor runs meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s")
        await deferLater(reactor, _GLANCE)


async def until_true(
    asking: Callable[[], Coroutine[Any, Any, bool]], seconds: float = 5.0
) -> None:
    """Ask again and again, until the answer is true."""
    deadline = time.monotonic() + seconds
    while not await asking():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s")
        await deferLater(reactor, 10 * _GLANCE)


def start_stream(
    provider: IModelProvider, request: ModelRequest, sink: IRunSink
) -> Deferred[Completion]:
    """Begin to call *provider*; to cancel the Deferred is to cancel who awaits it."""

    async def listen() -> Completion:
        return await provider.stream(request, sink)

    return start(listen())


async def next_turn() -> None:
    """Let the reactor finish what it is at: we may be called from inside a read."""
    await deferLater(reactor, 0)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do blocking *work*; the reactor runs meanwhile."""
    done: Deferred[T] = deferToThread(work, *args, **kwargs)
    return await within(PATIENCE, done)


def socket_test(
    test: Callable[P, Coroutine[Any, Any, None]],
) -> Callable[P, Deferred[None]]:
    """Run a coroutine in the reactor as a test that is bounded in time."""

    @functools.wraps(test)
    def bounded(*args: P.args, **kwargs: P.kwargs) -> Deferred[None]:
        return within(PATIENCE, Deferred.fromCoroutine(test(*args, **kwargs)))

    return bounded


async def clean_reactor() -> AsyncIterator[None]:
    """Fail if a test, its fixtures closed, leaves sockets or timers behind."""
    sockets, timers = _sockets(), set(reactor.getDelayedCalls())
    yield
    await _gone(lambda: _sockets() - sockets)
    await _gone(lambda: set(reactor.getDelayedCalls()) - timers)


async def fake_provider(clean: None) -> AsyncIterator[FakeProvider]:
    """A provider on loopback TCP."""
    provider = await FakeProvider(reactor).listen()
    yield provider
    await provider.stop()


async def _gone(left: Callable[[], set[Any]]) -> None:
    try:
        await until(lambda: not left(), 2.0)
    except AssertionError:
        raise AssertionError(f"left behind: {left()}") from None


def _sockets() -> set[object]:
    return {*reactor.getReaders(), *reactor.getWriters()}
