"""A session store in memory, for the tests of everything that uses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from moltbot_gw.errors import StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.interfaces import (
    History,
    ISessionStore,
    SessionSummary,
    TurnEnd,
    TurnStart,
)
from moltbot_gw.messages import Message

_R = TypeVar("_R")


@attrs.define
class _Transcript:
    """What one session id has."""

    agent_id: str
    created_at_ms: int
    updated_at_ms: int
    anonymous: bool
    provider: str | None
    model: str | None
    aborted_last_run: bool = False
    usage: Usage = attrs.Factory(Usage)
    messages: list[Message] = attrs.Factory(list)
    runs: dict[str, str] = attrs.Factory(dict)


@attrs.define
class _Session:
    """What one session key has: all its transcripts, and which is current."""

    session_id: str
    transcripts: dict[str, _Transcript] = attrs.Factory(dict)

    @property
    def current(self) -> _Transcript:
        return self.transcripts[self.session_id]

    def has_running(self) -> bool:
        return any("running" in one.runs.values() for one in self.transcripts.values())


@implementer(ISessionStore)
class MemorySessionStore:
    """Keeps everything until the process ends; its Deferreds have fired already.

    Set *failure* to make every call fail with it.
    """

    def __init__(self) -> None:
        self.failure: StoreFailed | None = None
        self._sessions: dict[str, _Session] = {}

    def open(self) -> Deferred[int]:
        return self._do(lambda: 0)

    def close(self) -> Deferred[None]:
        self.failure = StoreFailed("The session store is closed.")
        return succeed(None)

    def history(self, session_key: str, fresh_after_ms: int) -> Deferred[History]:
        return self._do(lambda: self._history(session_key, fresh_after_ms))

    def begin_turn(self, turn: TurnStart) -> Deferred[None]:
        return self._do(lambda: self._begin_turn(turn))

    def end_turn(self, turn: TurnEnd) -> Deferred[None]:
        return self._do(lambda: self._end_turn(turn))

    def list_sessions(self) -> Deferred[list[SessionSummary]]:
        return self._do(self._list_sessions)

    def reset(self, session_key: str, session_id: str, now_ms: int) -> Deferred[bool]:
        return self._do(lambda: self._reset(session_key, session_id, now_ms))

    def delete(self, session_key: str) -> Deferred[bool]:
        return self._do(lambda: self._sessions.pop(session_key, None) is not None)

    def prune_anonymous(self, before_ms: int) -> Deferred[int]:
        return self._do(lambda: self._prune_anonymous(before_ms))

    def _do(self, work: Callable[[], _R]) -> Deferred[_R]:
        if self.failure is not None:
            return fail(self.failure)
        try:
            return succeed(work())
        except StoreFailed as error:
            return fail(error)

    def _history(self, session_key: str, fresh_after_ms: int) -> History:
        session = self._sessions.get(session_key)
        if session is None or session.current.updated_at_ms < fresh_after_ms:
            return History()
        return History(
            session_id=session.session_id, messages=tuple(session.current.messages)
        )

    def _begin_turn(self, turn: TurnStart) -> None:
        session = self._sessions.setdefault(
            turn.session_key, _Session(session_id=turn.session_id)
        )
        transcript = session.transcripts.setdefault(
            turn.session_id,
            _Transcript(
                agent_id=turn.agent_id,
                created_at_ms=turn.started_at_ms,
                updated_at_ms=turn.started_at_ms,
                anonymous=turn.anonymous,
                provider=turn.provider,
                model=turn.model,
            ),
        )
        if turn.run_id in transcript.runs:
            raise StoreFailed("The session store has this run already.")
        session.session_id = turn.session_id
        transcript.updated_at_ms = turn.started_at_ms
        transcript.anonymous = turn.anonymous
        transcript.provider, transcript.model = turn.provider, turn.model
        transcript.messages.extend(turn.messages)
        transcript.runs[turn.run_id] = "running"

    def _end_turn(self, turn: TurnEnd) -> None:
        session = self._sessions.get(turn.session_key)
        if session is None or turn.session_id not in session.transcripts:
            return
        transcript = session.transcripts[turn.session_id]
        if transcript.runs.get(turn.run_id) != "running":
            raise StoreFailed("The session store has no such running run.")
        transcript.runs[turn.run_id] = turn.state
        transcript.messages.extend(turn.messages)
        transcript.updated_at_ms = turn.ended_at_ms
        transcript.aborted_last_run = turn.state == "aborted"
        if turn.usage != Usage():
            transcript.usage = turn.usage

    def _list_sessions(self) -> list[SessionSummary]:
        summaries = [
            SessionSummary(
                session_key=session_key,
                session_id=session.session_id,
                agent_id=session.current.agent_id,
                created_at_ms=session.current.created_at_ms,
                updated_at_ms=session.current.updated_at_ms,
                anonymous=session.current.anonymous,
                aborted_last_run=session.current.aborted_last_run,
                provider=session.current.provider,
                model=session.current.model,
                input_tokens=session.current.usage.prompt_tokens,
                output_tokens=session.current.usage.completion_tokens,
                total_tokens=session.current.usage.total_tokens,
            )
            for session_key, session in self._sessions.items()
        ]
        return sorted(summaries, key=lambda one: (-one.updated_at_ms, one.session_key))

    def _reset(self, session_key: str, session_id: str, now_ms: int) -> bool:
        session = self._sessions.get(session_key)
        if session is None:
            return False
        if session_id in session.transcripts:
            raise StoreFailed("The session store has this session already.")
        old = session.current
        session.transcripts[session_id] = _Transcript(
            agent_id=old.agent_id,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            anonymous=old.anonymous,
            provider=old.provider,
            model=old.model,
        )
        session.session_id = session_id
        return True

    def _prune_anonymous(self, before_ms: int) -> int:
        due = [
            session_key
            for session_key, session in self._sessions.items()
            if session.current.anonymous
            and session.current.updated_at_ms < before_ms
            and not session.has_running()
        ]
        for session_key in due:
            del self._sessions[session_key]
        return len(due)
