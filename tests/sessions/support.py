"""A reactor for one call, and turns to store."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import implementer

from moltbot_gw.events import OutcomeState, Usage
from moltbot_gw.interfaces import TurnEnd, TurnStart
from moltbot_gw.messages import AssistantMessage, Message, UserMessage

_R = TypeVar("_R")

KEY = "agent:main:main"
PATIENCE = 20.0


@implementer(IReactorFromThreads)
class Pump:
    """Runs what threads hand over, in the thread of the test, while it waits."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def callFromThread(
        self, callable: Callable[..., object], *args: Any, **kwargs: Any
    ) -> None:
        self._calls.put(lambda: callable(*args, **kwargs))

    def wait(self, waited: Deferred[_R]) -> _R:
        """Return what *waited* fires with, or raise what it fails with."""
        results: list[_R] = []
        failures: list[Failure] = []
        waited.addCallbacks(results.append, failures.append)
        while not results and not failures:
            self._calls.get(timeout=PATIENCE)()
        if failures:
            failures[0].raiseException()
        return results[0]


def start(
    run_id: str = "run-1",
    *,
    key: str = KEY,
    session_id: str = "id-1",
    messages: tuple[Message, ...] = (UserMessage(content="hello"),),
    at_ms: int = 1000,
    anonymous: bool = False,
    model: str = "m1",
) -> TurnStart:
    """Return the first half of a turn."""
    return TurnStart(
        run_id=run_id,
        session_key=key,
        session_id=session_id,
        agent_id="main",
        provider="local",
        model=model,
        messages=messages,
        started_at_ms=at_ms,
        anonymous=anonymous,
    )


def end(
    run_id: str = "run-1",
    *,
    key: str = KEY,
    session_id: str = "id-1",
    messages: tuple[Message, ...] = (AssistantMessage(text="hi", stop_reason="stop"),),
    state: OutcomeState = "done",
    usage: Usage = Usage(),  # noqa: B008
    at_ms: int = 2000,
) -> TurnEnd:
    """Return the second half of a turn."""
    return TurnEnd(
        run_id=run_id,
        session_key=key,
        session_id=session_id,
        messages=messages,
        state=state,
        error_code=None if state == "done" else "some_error",
        usage=usage,
        ended_at_ms=at_ms,
    )
