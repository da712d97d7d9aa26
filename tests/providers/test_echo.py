from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moltbot_gw.agents.run import Run
from moltbot_gw.errors import GatewayError
from moltbot_gw.events import Completion, TextDelta, Usage
from moltbot_gw.interfaces import IModelProvider, IRunSubscriber
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    ModelRequest,
    SamplingOptions,
    TextPart,
    ToolMessage,
    UserMessage,
)
from moltbot_gw.providers.echo import EchoProvider


class Sink(Run):
    """A run that remembers its source."""

    source: IPushProducer | None = None

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        self.source = producer
        super().registerProducer(producer, streaming)


@implementer(IRunSubscriber)
class Answer:
    """One answer of the echo, one word a second, into a run."""

    def __init__(
        self, *messages: Message, system: str = "", max_tokens: int | None = None
    ) -> None:
        self.clock = Clock()
        self.run = Sink(run_id="r", agent_id="a", session_key="k", max_bytes=10_000)
        self.deltas: list[str] = []
        self.paused = False
        self.cursor = self.run.subscribe(self)
        request = ModelRequest(
            model="echo",
            system=system,
            messages=messages,
            options=SamplingOptions(max_tokens=max_tokens),
        )
        self.completions: list[Completion] = []
        self.finished = EchoProvider(self.clock, 1.0).stream(request, self.run)
        self.finished.addCallback(self.completions.append)

    def wake(self) -> None:
        while isinstance(event := self.cursor.take(), TextDelta):
            self.deltas.append(event.text)

    def pause(self, paused: bool) -> None:
        self.paused = paused
        self.run.flow_changed()

    def to_end(self) -> Completion:
        while not self.completions:
            assert self.clock.getDelayedCalls()
            self.clock.advance(1)
        assert self.clock.getDelayedCalls() == []
        return self.completions[0]


def test_is_a_provider() -> None:
    provider = EchoProvider(Clock())
    assert verifyObject(IModelProvider, provider)
    assert provider.close().called


def test_says_what_it_was_told_word_by_word() -> None:
    answer = Answer(UserMessage("one  two\nthree "))
    assert answer.deltas == []
    for count in range(1, 5):
        answer.clock.advance(1)
        assert len(answer.deltas) == count
    answer.to_end()
    assert answer.deltas == ["one", "  two", "\nthree", " "]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ((UserMessage("a"), AssistantMessage("b")), "a"),
        ((UserMessage("a"), ToolMessage("42", "c")), "42"),
        ((UserMessage((TextPart("a"), ImagePart("data:x"), TextPart("b"))),), "a\nb"),
        ((UserMessage(""),), ""),
        ((UserMessage(" \n"),), " \n"),
        ((AssistantMessage("b"),), ""),
    ],
)
def test_repeats_the_last_message_that_is_not_its_own(
    messages: tuple[Message, ...], text: str
) -> None:
    answer = Answer(*messages)
    assert answer.to_end().finish_reason == "stop"
    assert answer.run.said() == text


def test_counts_a_token_for_every_four_characters() -> None:
    answer = Answer(UserMessage("12345"), AssistantMessage("1"), system="1234")
    assert answer.to_end().usage == Usage(
        prompt_tokens=1 + 2 + 1, completion_tokens=2, total_tokens=6
    )


@pytest.mark.parametrize(
    ("limit", "text", "reason"),
    [(1, "1234", "length"), (2, "12345 78", "stop"), (None, "12345 78", "stop")],
)
def test_keeps_to_the_limit(limit: int | None, text: str, reason: str) -> None:
    answer = Answer(UserMessage("12345 78"), max_tokens=limit)
    assert answer.to_end().finish_reason == reason
    assert answer.run.said() == text


def test_no_timer_runs_while_it_is_paused() -> None:
    answer = Answer(UserMessage("one two"))
    answer.clock.advance(1)
    answer.pause(True)
    assert answer.clock.getDelayedCalls() == []
    answer.clock.advance(100)
    assert answer.run.text() == "one"
    answer.pause(False)
    answer.to_end()
    assert answer.run.text() == "one two"


def test_reader_that_is_paused_from_the_start_keeps_it_silent() -> None:
    answer = Answer(UserMessage("one"))
    answer.pause(True)
    assert answer.clock.getDelayedCalls() == []


def test_pause_and_resume_may_come_many_times() -> None:
    answer = Answer(UserMessage("one"))
    source = answer.run.source
    assert source is not None
    for _ in range(3):
        source.pauseProducing()
    for _ in range(3):
        source.resumeProducing()
    assert len(answer.clock.getDelayedCalls()) == 1
    answer.to_end()
    source.resumeProducing()
    source.pauseProducing()
    assert answer.clock.getDelayedCalls() == []


@pytest.mark.parametrize("paused", [False, True])
def test_cancelling_stops_it_at_once(paused: bool) -> None:
    answer = Answer(UserMessage("one two"))
    answer.clock.advance(1)
    answer.pause(paused)
    answer.finished.addErrback(lambda failure: failure.trap(CancelledError))
    answer.finished.cancel()
    assert answer.clock.getDelayedCalls() == []
    answer.pause(not paused)
    answer.pause(paused)
    assert answer.clock.getDelayedCalls() == []


def test_stopping_the_source_cancels_the_answer() -> None:
    answer = Answer(UserMessage("one two"))
    answer.finished.addErrback(lambda failure: failure.trap(CancelledError))
    assert answer.run.source is not None
    answer.run.source.stopProducing()
    assert answer.clock.getDelayedCalls() == []
    assert answer.completions == []


def test_run_that_is_cut_off_stops_it() -> None:
    answer = Answer(UserMessage("one two"))
    answer.finished.addErrback(lambda failure: failure.trap(CancelledError))
    answer.run.on_cancel(lambda _: answer.finished.cancel())
    answer.run.cancel(GatewayError("enough"))
    assert answer.clock.getDelayedCalls() == []
