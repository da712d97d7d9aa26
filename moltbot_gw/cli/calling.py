"""A command's talk with the gateway: the reactor, the connection, the errors."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import attrs
import click
from twisted.internet.defer import Deferred

from moltbot_gw.cli.answers import checked
from moltbot_gw.cli.output import Failure
from moltbot_gw.cli.reach import Reach
from moltbot_gw.client import (
    ClientError,
    GatewayClosed,
    GatewayConnection,
    TimedOut,
    connect,
)

T = TypeVar("T")


def in_reactor(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run *work* with the reactor and return its result, or raise its error.

    A process has one reactor, which runs once; so a command calls this once.  When the
    reactor is stopped by a signal the command ends as an interrupted one.
    """
    from twisted.internet.task import react

    results: list[T] = []
    errors: list[Exception] = []
    stops: list[bool] = []

    async def main(reactor: Any) -> None:
        # A stopping reactor drops the connection, which must not count as an error.
        trigger = reactor.addSystemEventTrigger(
            "before", "shutdown", stops.append, True
        )
        try:
            results.append(await work(reactor))
        except Exception as error:
            errors.append(error)
        if not stops:
            reactor.removeSystemEventTrigger(trigger)

    with suppress(SystemExit):
        react(main)
    if stops:
        raise click.Abort
    for error in errors:
        raise error
    [result] = results
    return result


async def ask(
    reactor: Any,
    reach: Reach,
    method: str,
    params: Any = None,
    *,
    expect_final: bool = False,
    raw: bool = False,
) -> Any:
    """Connect, ask one thing, close; all of it within the time of *reach*.

    With *raw* the answer may be anything; else it is what the method answers.
    """
    deadline = reactor.seconds() + reach.timeout
    connection = await connect(reactor, reach.target, timeout=reach.timeout)
    try:
        left = max(deadline - reactor.seconds(), 0.001)
        with _whole_time(reach.timeout):
            answer = await connection.request(
                method, params, timeout=left, expect_final=expect_final
            )
    finally:
        await connection.close()
    return answer if raw else checked(method, answer)


@contextmanager
def _whole_time(seconds: float) -> Iterator[None]:
    """Let ``TimedOut`` name the time that the user gave, not what was left of it."""
    try:
        yield
    except TimedOut:
        raise TimedOut(seconds) from None


def call(
    reach: Reach,
    method: str,
    params: Any = None,
    *,
    expect_final: bool = False,
    raw: bool = False,
    failing: str = "",
) -> Any:
    """Return the answer to one request; end the command on errors.

    *failing* goes before the error's words; for *raw* see ``ask``.
    """

    async def work(reactor: Any) -> Any:
        return await ask(
            reactor, reach, method, params, expect_final=expect_final, raw=raw
        )

    return talk(reach, work, failing=failing)


def talk(
    reach: Reach, work: Callable[[Any], Coroutine[Any, Any, T]], *, failing: str = ""
) -> T:
    """Run *work* in the reactor; an error of the client ends the command."""
    try:
        return in_reactor(work)
    except ClientError as error:
        raise Failure(f"{failing}{explain(error, reach)}") from None


def explain(error: ClientError, reach: Reach) -> str:
    """Return what went wrong; with where we looked, if there was no way."""
    if isinstance(error, (GatewayClosed, TimedOut)):
        return f"{error}\n{reach.block()}"
    return str(error)


@attrs.frozen
class Probe:
    """What a try to reach a gateway gave: *answers* by method, the first *error*.

    *latency_ms* is how long connecting took, None if there was no connection.
    """

    answers: dict[str, Any]
    latency_ms: int | None = None
    error: ClientError | None = None

    @property
    def ok(self) -> bool:
        """Whether it was reached and answered everything."""
        return self.error is None

    @property
    def reached(self) -> bool:
        """Whether a gateway let us in, whatever it answered then."""
        return self.latency_ms is not None


async def probe(reactor: Any, reach: Reach, *methods: str) -> Probe:
    """Ask *methods* on one connection; never raises a ``ClientError``."""
    started = reactor.seconds()
    target = attrs.evolve(reach.target, mode="probe")
    try:
        connection = await connect(reactor, target, timeout=reach.timeout)
    except ClientError as error:
        return Probe({}, error=error)
    latency_ms = round((reactor.seconds() - started) * 1000)
    waiting = {name: _asked(connection, name, reach.timeout) for name in methods}
    answers: dict[str, Any] = {}
    errors: list[ClientError] = []
    for name, one in waiting.items():
        try:
            answers[name] = checked(name, await one)
        except ClientError as error:
            errors.append(error)
    await connection.close()
    return Probe(answers, latency_ms, errors[0] if errors else None)


def _asked(connection: GatewayConnection, name: str, seconds: float) -> Deferred[Any]:
    return Deferred.fromCoroutine(connection.request(name, timeout=seconds))
