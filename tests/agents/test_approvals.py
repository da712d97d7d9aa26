"""Questions to the operators: asked, answered once, or over."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from moltbot_gw.agents.approvals import (
    Answer,
    ApprovalRequest,
    Approvals,
    Decision,
    Question,
)
from moltbot_gw.errors import InvalidRequest, QueueFull

LS = ApprovalRequest(command="ls", agent_id="main")


class Office:
    """Approvals on a clock that tests move, with one who listens."""

    def __init__(self, max_waiting: int = 2) -> None:
        self.clock = Clock()
        self.approvals = Approvals(
            clock=self.clock, unix_time=lambda: 1000.0, max_waiting=max_waiting
        )
        self.requested: list[Question] = []
        self.resolved: list[Answer] = []
        self.approvals.observe(self.requested.append, self.resolved.append)

    def ask(self, timeout: float = 60.0, id: str | None = None) -> Deferred[Answer]:
        return Deferred.fromCoroutine(self.approvals.ask(LS, timeout, id))


def result(asked: Deferred[Answer]) -> Answer:
    found: list[Answer] = []
    asked.addCallback(found.append)
    (answer,) = found
    return answer


def error(asked: Deferred[Answer], kind: type[Exception]) -> None:
    caught: list[object] = []
    asked.addErrback(lambda failure: caught.append(failure.trap(kind)))
    assert caught == [kind]


@pytest.mark.parametrize("decision", ["allow-once", "allow-always", "deny"])
def test_an_operators_decision_reaches_the_asker_and_all_others(
    decision: Decision,
) -> None:
    office = Office()
    asked = office.ask()
    (question,) = office.requested
    assert question.request == LS
    assert (question.created_at_ms, question.expires_at_ms) == (1_000_000, 1_060_000)
    assert office.approvals.waiting == (question,)
    assert office.approvals.resolve(question.id, decision, "Ada")
    answer = Answer(id=question.id, decision=decision, by="Ada", at_ms=1_000_000)
    assert result(asked) == answer
    assert office.resolved == [answer]
    assert office.approvals.waiting == ()
    assert office.clock.getDelayedCalls() == []


def test_silence_is_a_refusal() -> None:
    office = Office()
    asked = office.ask(timeout=60.0)
    office.clock.advance(59.9)
    assert not asked.called
    office.clock.advance(0.2)
    answer = result(asked)
    assert (answer.decision, answer.by) == ("deny", None)
    assert office.resolved == [answer]


def test_a_question_is_answered_once() -> None:
    office = Office()
    asked = office.ask(id="q")
    assert office.approvals.resolve("q", "deny", "Ada")
    assert not office.approvals.resolve("q", "allow-once", "Eve")
    assert not office.approvals.resolve("other", "allow-once", "Eve")
    assert result(asked).decision == "deny"


def test_whoever_goes_takes_the_question_back() -> None:
    office = Office()
    asked = office.ask(id="q")
    asked.cancel()
    error(asked, CancelledError)
    (answer,) = office.resolved
    assert (answer.id, answer.decision, answer.by) == ("q", "deny", None)
    assert not office.approvals.resolve("q", "allow-once", "Ada")
    assert office.clock.getDelayedCalls() == []


def test_two_questions_never_share_an_id() -> None:
    office = Office()
    first = office.ask(id="q")
    error(office.ask(id="q"), InvalidRequest)
    assert not first.called
    assert len(office.requested) == 1
    office.approvals.resolve("q", "allow-once", "Ada")
    assert result(first).decision == "allow-once"


def test_only_so_many_may_wait() -> None:
    office = Office(max_waiting=1)
    first = office.ask(id="a")
    error(office.ask(id="b"), QueueFull)
    office.approvals.resolve("a", "deny", "Ada")
    assert result(first).by == "Ada"
    second = office.ask(id="b")
    office.clock.advance(60)
    assert result(second).by is None


def test_an_answer_may_come_while_the_question_is_told() -> None:
    office = Office()
    office.approvals.observe(
        lambda question: _assert(
            office.approvals.resolve(question.id, "allow-once", "Bot")
        ),
        lambda answer: None,
    )
    assert result(office.ask()).by == "Bot"
    assert office.clock.getDelayedCalls() == []


def _assert(fact: bool) -> None:
    assert fact
