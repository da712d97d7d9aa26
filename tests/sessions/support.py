"""A reactor for one call, and turns to store."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from moltbot_gw.events import OutcomeState, Usage
from moltbot_gw.messages import AssistantMessage, Message, UserMessage
from moltbot_gw.sessions.worker import IWorkerReactor
from moltbot_gw.stored import IdempotencyKey, KeptError, KeptOutcome, TurnEnd, TurnStart

_R = TypeVar("_R")

KEY = "agent:main:main"
PATIENCE = 20.0


@implementer(IWorkerReactor)
class Pump:
    """Runs what threads hand over, in the thread of the test, while it waits.

    Its timers ring as soon as it waits, whatever their delay.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def seconds(self) -> float:
        return time.monotonic()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any
    ) -> IDelayedCall:
        clock = Clock()
        call = clock.callLater(delay, callable, *args, **kwargs)
        self._calls.put(lambda: clock.advance(delay))
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        raise NotImplementedError

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
    idempotency_key: str | None = None,
) -> TurnStart:
    """Return the first half of a turn."""
    kept = None
    if idempotency_key is not None:
        kept = IdempotencyKey(value=idempotency_key, fingerprint=b"\x00print")
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
        key=kept,
    )


def end(
    run_id: str = "run-1",
    *,
    key: str = KEY,
    session_id: str = "id-1",
    messages: tuple[Message, ...] = (AssistantMessage(text="hi", stop_reason="stop"),),
    state: OutcomeState = "done",
    usage: Usage = Usage(),  # noqa: B008
    context: Usage | None = None,
    at_ms: int = 2000,
    kept: KeptOutcome | None = None,
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
        context=usage if context is None else context,
        ended_at_ms=at_ms,
        kept=kept,
    )


DONE = KeptOutcome(
    state="done",
    text="l\u00efne\u2028\U0001f600",
    reasoning="hm",
    finish_reason="length",
    usage=Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5, cached_tokens=1),
    error=None,
    started_at_ms=1000,
    ended_at_ms=2000,
)

FAILED = KeptOutcome(
    state="failed",
    text="",
    reasoning="",
    finish_reason=None,
    usage=Usage(),
    error=KeptError(status=502, type="api_error", code="provider_error", message="no"),
    started_at_ms=None,
    ended_at_ms=2000,
)
