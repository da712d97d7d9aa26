"""Runs that keep to a window: as short as can be, with a model that minds its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.context import Compactor, RunContext
from moltbot_gw.agents.summary import summary_message
from moltbot_gw.agents.tokens import message_tokens, overhead_tokens
from moltbot_gw.agents.toolcalls import repaired
from moltbot_gw.agents.window import CompactionSettings
from moltbot_gw.errors import GatewayError, InvalidRequest
from moltbot_gw.events import CompactionEvent, Usage
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import (
    AssistantMessage,
    Message,
    ModelRequest,
    ToolMessage,
    UserMessage,
)
from moltbot_gw.stored import History, TurnEnd, TurnRound, TurnStart
from tests.support.memory_store import MemorySessionStore

_R = TypeVar("_R")

KEY = "agent:main:main"
SYSTEM = "You are an agent. " * 100
HEADING = str(summary_message("").content)


def now(waited: Deferred[_R]) -> _R:
    """Return what *waited* has fired with, or raise what it has failed with."""
    results: list[_R] = []
    failures: list[Failure] = []
    waited.addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    [result] = results
    return result


def size_of(call: ModelRequest) -> int:
    """Return the tokens of *call*, as the model counts them."""
    return overhead_tokens(call) + sum(map(message_tokens, call.messages))


@attrs.define
class Model:
    """Answers with *answer*, refuses what is too long, and remembers its calls.

    With *counts* it tells the usage.  It writes summaries unless it *fails*, or is told
    to *wait*; then *waiting* is what it waits for.
    """

    window: int = 32_000
    answer: str = "I see."
    counts: bool = True
    fails: GatewayError | None = None
    wait: bool = False
    waiting: Deferred[str] | None = None
    calls: list[ModelRequest] = attrs.Factory(list)
    summaries: list[ModelRequest] = attrs.Factory(list)

    @property
    def ref(self) -> ModelRef:
        return ModelRef("local", "m1", context_window=self.window)

    def speak(self, call: ModelRequest) -> tuple[str, Usage]:
        tokens = size_of(call)
        if tokens > self.window:
            raise InvalidRequest("too long", code="context_length_exceeded")
        self.calls.append(call)
        if not self.counts:
            return self.answer, Usage()
        said = message_tokens(AssistantMessage(self.answer))
        usage = Usage(
            prompt_tokens=tokens, completion_tokens=said, total_tokens=tokens + said
        )
        return self.answer, usage

    async def summarize(self, call: ModelRequest) -> str:
        self.summaries.append(call)
        if self.fails is not None:
            raise self.fails
        if size_of(call) > self.window:
            raise InvalidRequest("too long", code="context_length_exceeded")
        if self.wait:
            self.waiting = Deferred()
            return await self.waiting
        return f"summary {len(self.summaries)}"


@attrs.define
class Talk:
    """One session of an agent, on a clock that tests move."""

    model: Model = attrs.Factory(Model)
    settings: CompactionSettings = attrs.Factory(CompactionSettings)
    store: ISessionStore = attrs.Factory(MemorySessionStore)
    wait: Callable[[Deferred], object] = now  # type: ignore[type-arg]
    clock: Clock = attrs.Factory(Clock)
    events: list[CompactionEvent] = attrs.Factory(list)
    longest_history: int = 0
    runs: int = 0

    @property
    def compactor(self) -> Compactor:
        return Compactor(
            store=self.store,
            clock=self.clock,
            unix_time=lambda: 1000.0,
            settings=self.settings,
        )

    def history(self) -> History:
        history = self.wait(self.store.history(KEY, 0))
        assert isinstance(history, History)
        return history

    def transcript(self) -> list[Message]:
        found = self.wait(self.store.transcript(KEY, 10**6))
        return [one.message for one in found.entries]  # type: ignore[attr-defined]

    def open(self) -> RunContext:
        """Return the context of a run that is about to begin."""
        history = self.history()
        self.longest_history = max(self.longest_history, len(history.messages))
        return self.compactor.open(
            history, session_key=KEY, session_id="id-1", on_event=self.events.append
        )

    def begin(self, *news: Message) -> tuple[RunContext, ModelRequest]:
        """Begin a run; return its context, and the call before it is fitted."""
        context = self.open()
        messages = repaired(context.messages + news)
        self.runs += 1
        self.wait(
            self.store.begin_turn(
                TurnStart(
                    run_id=f"run-{self.runs}",
                    session_key=KEY,
                    session_id="id-1",
                    agent_id="main",
                    provider="local",
                    model="m1",
                    messages=news,
                    started_at_ms=self.runs,
                )
            )
        )
        context.asked(news)
        return context, ModelRequest(model="m1", system=SYSTEM, messages=messages)

    def fit(self, context: RunContext, call: ModelRequest) -> ModelRequest:
        model = self.model
        fitted = context.fit(call, model=model.ref, summarize=model.summarize)
        result = self.wait(Deferred.fromCoroutine(fitted))
        assert isinstance(result, ModelRequest)
        return result

    def overflow(self, context: RunContext, call: ModelRequest) -> ModelRequest:
        model = self.model
        again = context.overflowed(call, model=model.ref, summarize=model.summarize)
        result = self.wait(Deferred.fromCoroutine(again))
        assert isinstance(result, ModelRequest)
        return result

    def round(
        self, context: RunContext, call: ModelRequest, *messages: Message
    ) -> ModelRequest:
        """Store a round; return the call with it, not fitted yet."""
        _, usage = self.model.speak(call)
        self.wait(
            self.store.extend_turn(
                TurnRound(
                    run_id=f"run-{self.runs}",
                    session_key=KEY,
                    session_id="id-1",
                    messages=messages,
                    at_ms=self.runs,
                )
            )
        )
        context.kept(messages[:1], usage)
        context.kept(messages[1:], usage)
        return msgspec.structs.replace(call, messages=call.messages + messages)

    def finish(self, call: ModelRequest) -> None:
        """Let the model answer, and end the run."""
        text, usage = self.model.speak(call)
        self.wait(
            self.store.end_turn(
                TurnEnd(
                    run_id=f"run-{self.runs}",
                    session_key=KEY,
                    session_id="id-1",
                    messages=(AssistantMessage(text, stop_reason="stop"),),
                    state="done",
                    usage=usage,
                    context=usage,
                    ended_at_ms=self.runs,
                )
            )
        )

    def turn(self, words: str) -> ModelRequest:
        """Make a whole turn; return what the model was sent."""
        context, call = self.begin(UserMessage(words))
        call = self.fit(context, call)
        self.finish(call)
        return call


def check_calls_have_results(messages: tuple[Message, ...]) -> None:
    """No result without a call before it, no call without its results behind it."""
    assert repaired(messages) == messages
    assert not isinstance(messages[0], ToolMessage)
