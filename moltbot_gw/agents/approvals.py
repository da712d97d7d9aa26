"""Questions to the operators: may this command run?

Whoever asks waits; whoever has the right decides, once.  A question that nobody answers
in time, and one whose asker has gone, is over: both count as refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.errors import InvalidRequest, QueueFull

_log = Logger()

Decision = Literal["allow-once", "allow-always", "deny"]

MAX_WAITING = 64
"""How many questions may wait at the same time."""

APPROVAL_SECONDS = 120.0
"""How long a question waits unless its asker says otherwise."""


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to run, in words for the one who decides.

    *command* is the whole command line; *resolved_path* the program that it starts,
    where that is known; *security* and *ask* the rules that made it a question.
    """

    command: str
    cwd: str | None = None
    host: str | None = None
    security: str | None = None
    ask: str | None = None
    agent_id: str | None = None
    resolved_path: str | None = None
    session_key: str | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request that waits; times are Unix milliseconds."""

    id: str
    request: ApprovalRequest
    created_at_ms: int
    expires_at_ms: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a question.

    *by* names who decided.  It is None when nobody did, be it that the time was over
    or that the asker has gone; then the decision is ``deny``.
    """

    id: str
    decision: Decision
    by: str | None
    at_ms: int


class Approvals:
    """All questions that wait, and those who want to hear of them."""

    def __init__(
        self,
        *,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._clock = clock
        self._unix_time = unix_time
        self._max_waiting = max_waiting
        self._waiting: dict[str, tuple[Question, Deferred[Answer]]] = {}
        self._observers: list[
            tuple[Callable[[Question], None], Callable[[Answer], None]]
        ] = []

    @property
    def waiting(self) -> tuple[Question, ...]:
        """The questions without an answer, the oldest first."""
        return tuple(question for question, _ in self._waiting.values())

    def observe(
        self,
        requested: Callable[[Question], None],
        resolved: Callable[[Answer], None],
    ) -> None:
        """Call *requested* for each question and *resolved* for its end, for good."""
        self._observers.append((requested, resolved))

    async def ask(
        self,
        request: ApprovalRequest,
        timeout: float = APPROVAL_SECONDS,
        id: str | None = None,
    ) -> Answer:
        """Wait for an operator's answer, at most *timeout* seconds.

        Cancelling takes the question back.  *id* is a new one unless given.  Raises
        ``InvalidRequest`` for an id that waits already, ``QueueFull`` when too many do.
        """
        question = self._question(request, timeout, id or new_uuid())
        answered: Deferred[Answer] = Deferred()
        self._waiting[question.id] = question, answered
        timer = self._clock.callLater(timeout, self._end, question.id, "deny", None)
        try:
            for requested, _ in self._observers:
                requested(question)
            return await answered
        except CancelledError:
            self._end(question.id, "deny", None)
            raise
        finally:
            if timer.active():
                timer.cancel()

    def resolve(self, id: str, decision: Decision, by: str) -> bool:
        """Answer the question *id* in the name of *by*; say whether it waited."""
        if id not in self._waiting:
            return False
        _log.info("approval {id}: {decision} by {by}", id=id, decision=decision, by=by)
        self._end(id, decision, by)
        return True

    def _question(self, request: ApprovalRequest, timeout: float, id: str) -> Question:
        if id in self._waiting:
            raise InvalidRequest("this approval id is waiting already", param="id")
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull("Too many approvals are waiting; try again later.")
        now_ms = int(self._unix_time() * 1000)
        return Question(
            id=id,
            request=request,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + int(timeout * 1000),
        )

    def _end(self, id: str, decision: Decision, by: str | None) -> None:
        question, answered = self._waiting.pop(id)
        at_ms = int(self._unix_time() * 1000)
        answer = Answer(id=question.id, decision=decision, by=by, at_ms=at_ms)
        for _, resolved in self._observers:
            resolved(answer)
        if not answered.called:  # it is when its asker has gone
            answered.callback(answer)
