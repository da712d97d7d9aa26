"""A session store in memory, for the tests of everything that uses one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

import attrs
import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from moltbot_gw.errors import GatewayError, LabelTaken, StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import AssistantMessage, Message, UserMessage
from moltbot_gw.stored import (
    ALL_SESSIONS,
    AgentSessions,
    Compacted,
    History,
    KeptRun,
    OverviewQuery,
    SessionQuery,
    SessionSettings,
    SessionSummary,
    Summary,
    Transcript,
    TranscriptEntry,
    TurnEnd,
    TurnRound,
    TurnStart,
    UsageLine,
)

_R = TypeVar("_R")

_OUTLIVE_A_RESET = (
    "label",
    "thinking_level",
    "verbose_level",
    "reasoning_level",
    "response_usage",
    "model",
    "send_policy",
)


@attrs.frozen
class _Entry:
    run_id: str
    created_at_ms: int
    message: Message


@attrs.define
class _Run:
    provider: str
    model: str
    key: str | None
    state: str = "running"
    usage: Usage | None = None
    ended_at_ms: int | None = None


@attrs.define
class _Transcript:
    """What one session id has."""

    agent_id: str
    created_at_ms: int
    updated_at_ms: int
    anonymous: bool = False
    provider: str | None = None
    model: str | None = None
    aborted_last_run: bool = False
    usage: Usage = attrs.Factory(Usage)
    entries: list[_Entry] = attrs.Factory(list)
    runs: dict[str, _Run] = attrs.Factory(dict)
    first_seq: int = 1
    summary: str | None = None
    compactions: int = 0
    tokens_before: int = 0
    counted_seq: int = 0

    def append(self, run_id: str, at_ms: int, messages: Iterable[Message]) -> None:
        self.entries.extend(_Entry(run_id, at_ms, message) for message in messages)

    def is_running(self, run_id: str) -> bool:
        return run_id in self.runs and self.runs[run_id].state == "running"


@attrs.define
class _Session:
    """What one session key has: all its transcripts, and which is current."""

    session_id: str
    transcripts: dict[str, _Transcript] = attrs.Factory(dict)
    settings: SessionSettings = attrs.Factory(SessionSettings)

    @property
    def current(self) -> _Transcript:
        return self.transcripts[self.session_id]

    def has_running(self) -> bool:
        return any(
            one.is_running(run_id)
            for one in self.transcripts.values()
            for run_id in one.runs
        )

    def find_running(self, run_id: str) -> _Transcript:
        """Return where a compaction has taken a run."""
        for transcript in self.transcripts.values():
            if transcript.is_running(run_id):
                return transcript
        raise StoreFailed("The session store has no such running run.")

    def go_on(self, session_id: str, transcript: _Transcript) -> None:
        if session_id in self.transcripts:
            raise StoreFailed("The session store has this session already.")
        self.transcripts[session_id] = transcript
        self.session_id = session_id


@implementer(ISessionStore)
class MemorySessionStore:
    """Keeps everything until the process ends; its Deferreds have fired already.

    Set *failure* to make every call fail with it.
    """

    def __init__(self) -> None:
        self.failure: StoreFailed | None = None
        self._sessions: dict[str, _Session] = {}
        self._kept: dict[str, KeptRun] = {}

    def open(self) -> Deferred[int]:
        return self._do(lambda: 0)

    def close(self) -> Deferred[None]:
        self.failure = StoreFailed("The session store is closed.")
        return succeed(None)

    def check(self) -> Deferred[None]:
        return self._do(lambda: None)

    def history(self, session_key: str, fresh_after_ms: int) -> Deferred[History]:
        return self._do(lambda: self._history(session_key, fresh_after_ms))

    def transcript(self, session_key: str, limit: int) -> Deferred[Transcript | None]:
        return self._do(lambda: self._transcript(session_key, limit))

    def begin_turn(self, turn: TurnStart) -> Deferred[None]:
        return self._do(lambda: self._begin_turn(turn))

    def extend_turn(self, turn: TurnRound) -> Deferred[None]:
        return self._do(lambda: self._extend_turn(turn))

    def end_turn(self, turn: TurnEnd) -> Deferred[None]:
        return self._do(lambda: self._end_turn(turn))

    def find_session(self, session_key: str) -> Deferred[SessionSummary | None]:
        return self._do(lambda: self._find_session(session_key))

    def list_sessions(
        self, query: SessionQuery = ALL_SESSIONS
    ) -> Deferred[list[SessionSummary]]:
        return self._do(lambda: self._list_sessions(query))

    def overview(self, query: OverviewQuery) -> Deferred[list[AgentSessions]]:
        return self._do(lambda: self._overview(query))

    def patch(
        self,
        session_key: str,
        changes: Mapping[str, str | None],
        *,
        agent_id: str,
        new_session_id: str,
        now_ms: int,
    ) -> Deferred[SessionSummary]:
        fresh = _Transcript(agent_id, now_ms, now_ms)
        return self._do(
            lambda: self._patch(session_key, changes, new_session_id, fresh)
        )

    def inject(
        self, session_key: str, message: AssistantMessage, run_id: str, now_ms: int
    ) -> Deferred[bool]:
        return self._do(lambda: self._inject(session_key, message, run_id, now_ms))

    def reset(self, session_key: str, session_id: str, now_ms: int) -> Deferred[bool]:
        return self._do(lambda: self._reset(session_key, session_id, now_ms))

    def compact(
        self, session_key: str, keep: int, new_session_id: str, now_ms: int
    ) -> Deferred[Compacted | None]:
        return self._do(
            lambda: self._compact(session_key, keep, new_session_id, now_ms)
        )

    def summarize(self, summary: Summary) -> Deferred[bool]:
        return self._do(lambda: self._summarize(summary))

    def delete(self, session_key: str) -> Deferred[bool]:
        return self._do(lambda: self._sessions.pop(session_key, None) is not None)

    def prune_anonymous(self, before_ms: int) -> Deferred[int]:
        return self._do(lambda: self._prune_anonymous(before_ms))

    def usage(self, since_ms: int) -> Deferred[list[UsageLine]]:
        return self._do(lambda: self._usage(since_ms))

    def find_kept(self, key: str, after_ms: int) -> Deferred[KeptRun | None]:
        return self._do(lambda: self._find_kept(key, after_ms))

    def prune_kept(self, before_ms: int) -> Deferred[int]:
        return self._do(lambda: self._prune_kept(before_ms))

    def _do(self, work: Callable[[], _R]) -> Deferred[_R]:
        if self.failure is not None:
            return fail(self.failure)
        try:
            return succeed(work())
        except GatewayError as error:
            return fail(error)

    def _history(self, session_key: str, fresh_after_ms: int) -> History:
        session = self._sessions.get(session_key)
        if session is None:
            return History()
        if session.current.updated_at_ms < fresh_after_ms:
            return History(settings=session.settings)
        current = session.current
        kept = current.entries[current.first_seq - 1 :]
        counted = max(0, current.counted_seq - current.first_seq + 1)
        return History(
            session_id=session.session_id,
            messages=tuple(entry.message for entry in kept),
            settings=session.settings,
            first_seq=current.first_seq,
            summary=current.summary,
            context_tokens=current.usage.total_tokens if counted else None,
            counted=counted,
        )

    def _transcript(self, session_key: str, limit: int) -> Transcript | None:
        session = self._sessions.get(session_key)
        if session is None:
            return None
        entries = [
            _told(seq, entry, session.current.runs.get(entry.run_id))
            for seq, entry in enumerate(session.current.entries, 1)
        ]
        return Transcript(
            session_id=session.session_id,
            settings=session.settings,
            entries=tuple(entries[max(0, len(entries) - limit) :]),
        )

    def _begin_turn(self, turn: TurnStart) -> None:
        session = self._sessions.setdefault(
            turn.session_key, _Session(session_id=turn.session_id)
        )
        at_ms = turn.started_at_ms
        transcript = session.transcripts.setdefault(
            turn.session_id, _Transcript(turn.agent_id, at_ms, at_ms)
        )
        if transcript.is_running(turn.run_id) and turn.key is None:
            raise StoreFailed("The session store has this run already.")
        session.session_id = turn.session_id
        transcript.updated_at_ms = at_ms
        transcript.anonymous = turn.anonymous
        transcript.provider, transcript.model = turn.provider, turn.model
        transcript.append(turn.run_id, at_ms, turn.messages)
        key = None
        if turn.key is not None:
            key = turn.key.value
            self._kept[key] = KeptRun(
                run_id=turn.run_id,
                agent_id=turn.agent_id,
                session_key=turn.session_key,
                fingerprint=turn.key.fingerprint,
                created_at_ms=at_ms,
                outcome=None,
            )
        transcript.runs[turn.run_id] = _Run(turn.provider, turn.model, key)

    def _extend_turn(self, turn: TurnRound) -> None:
        session = self._sessions.get(turn.session_key)
        if session is None or turn.session_id not in session.transcripts:
            return
        transcript = session.find_running(turn.run_id)
        transcript.append(turn.run_id, turn.at_ms, turn.messages)
        transcript.updated_at_ms = turn.at_ms

    def _end_turn(self, turn: TurnEnd) -> None:
        session = self._sessions.get(turn.session_key)
        if session is None or turn.session_id not in session.transcripts:
            for key, kept in list(self._kept.items()):
                if (kept.session_key, kept.outcome) == (turn.session_key, None):
                    self._keep_outcome(key, turn)
            return
        transcript = session.transcripts[turn.session_id]
        if not transcript.is_running(turn.run_id):
            transcript = session.find_running(turn.run_id)
        run = transcript.runs[turn.run_id]
        run.state, run.usage, run.ended_at_ms = turn.state, turn.usage, turn.ended_at_ms
        if turn.provider is not None and turn.model is not None:
            run.provider, run.model = turn.provider, turn.model
            transcript.provider, transcript.model = turn.provider, turn.model
        transcript.append(turn.run_id, turn.ended_at_ms, turn.messages)
        transcript.updated_at_ms = turn.ended_at_ms
        transcript.aborted_last_run = turn.state == "aborted"
        if turn.context != Usage():
            transcript.usage = turn.context
            done = turn.state == "done"
            transcript.counted_seq = len(transcript.entries) if done else 0
        if run.key is not None:
            self._keep_outcome(run.key, turn)

    def _keep_outcome(self, key: str, turn: TurnEnd) -> None:
        kept = self._kept.get(key)
        if kept is None or kept.run_id != turn.run_id:
            return
        if turn.kept is None:
            del self._kept[key]
        else:
            self._kept[key] = msgspec.structs.replace(kept, outcome=turn.kept)

    def _find_session(self, session_key: str) -> SessionSummary | None:
        session = self._sessions.get(session_key)
        return None if session is None else _summary(session_key, session)

    def _list_sessions(self, query: SessionQuery) -> list[SessionSummary]:
        summaries = [_summary(key, session) for key, session in self._sessions.items()]
        wanted = filter(query.wants, summaries)
        found = sorted(wanted, key=lambda one: (-one.updated_at_ms, one.session_key))
        return found[: query.limit]

    def _overview(self, query: OverviewQuery) -> list[AgentSessions]:
        own: dict[str, list[SessionSummary]] = {}
        for one in self._list_sessions(SessionQuery(hidden=query.hidden)):
            own.setdefault(one.agent_id, []).append(one)
        return [
            AgentSessions(
                agent_id=agent_id,
                count=len(found),
                recent=tuple(found[: query.recent]),
            )
            for agent_id, found in sorted(own.items())
        ]

    def _patch(
        self,
        session_key: str,
        changes: Mapping[str, str | None],
        new_session_id: str,
        fresh: _Transcript,
    ) -> SessionSummary:
        session = self._sessions.get(session_key)
        if session is None:
            session = _Session(new_session_id, {new_session_id: fresh})
        label = changes.get("label")
        for key, other in self._sessions.items():
            if (
                label is not None
                and key != session_key
                and other.settings.label == label
                and other.current.agent_id == session.current.agent_id
            ):
                raise LabelTaken(f"label already in use: {label}", param="label")
        self._sessions[session_key] = session
        session.settings = msgspec.structs.replace(session.settings, **changes)
        session.current.updated_at_ms = max(
            session.current.updated_at_ms, fresh.updated_at_ms
        )
        return _summary(session_key, session)

    def _inject(
        self, session_key: str, message: AssistantMessage, run_id: str, now_ms: int
    ) -> bool:
        session = self._sessions.get(session_key)
        if session is None:
            return False
        session.current.append(run_id, now_ms, [message])
        session.current.updated_at_ms = max(session.current.updated_at_ms, now_ms)
        return True

    def _reset(self, session_key: str, session_id: str, now_ms: int) -> bool:
        session = self._sessions.get(session_key)
        if session is None:
            return False
        old = session.current
        fresh = _Transcript(
            agent_id=old.agent_id,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            anonymous=old.anonymous,
            provider=old.provider,
            model=old.model,
        )
        session.go_on(session_id, fresh)
        session.settings = SessionSettings(
            **{name: getattr(session.settings, name) for name in _OUTLIVE_A_RESET}
        )
        return True

    def _compact(
        self, session_key: str, keep: int, new_session_id: str, now_ms: int
    ) -> Compacted | None:
        session = self._sessions.get(session_key)
        if session is None:
            return None
        old, archived = session.current, session.session_id
        if len(old.entries) <= keep:
            return Compacted(kept=len(old.entries), archived=None)
        entries = _kept_entries(old.entries, keep)
        kept_ids = {entry.run_id for entry in entries}
        moved = {
            run_id: run
            for run_id, run in old.runs.items()
            if run_id in kept_ids or run.state == "running"
        }
        fresh = attrs.evolve(
            old,
            updated_at_ms=max(old.updated_at_ms, now_ms),
            usage=Usage(),
            entries=entries,
            runs=moved,
            first_seq=max(1, old.first_seq - len(old.entries) + len(entries)),
            counted_seq=0,
        )
        session.go_on(new_session_id, fresh)
        for run_id in moved:
            del old.runs[run_id]
        return Compacted(kept=len(entries), archived=archived)

    def _summarize(self, summary: Summary) -> bool:
        session = self._sessions.get(summary.session_key)
        if session is None or summary.session_id not in session.transcripts:
            return False
        transcript = session.transcripts[summary.session_id]
        last_seq = len(transcript.entries)
        if not transcript.first_seq < summary.first_seq <= last_seq + 1:
            return False
        transcript.first_seq, transcript.summary = summary.first_seq, summary.text
        transcript.compactions += 1
        transcript.tokens_before = summary.tokens_before
        transcript.counted_seq = 0
        transcript.updated_at_ms = max(transcript.updated_at_ms, summary.at_ms)
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

    def _usage(self, since_ms: int) -> list[UsageLine]:
        lines: dict[tuple[str, str, str], UsageLine] = {}
        for session in self._sessions.values():
            for transcript in session.transcripts.values():
                for run in transcript.runs.values():
                    if run.ended_at_ms is not None and run.ended_at_ms >= since_ms:
                        _count(lines, run, run.ended_at_ms)
        return [lines[place] for place in sorted(lines)]

    def _find_kept(self, key: str, after_ms: int) -> KeptRun | None:
        kept = self._kept.get(key)
        return None if kept is None or kept.created_at_ms < after_ms else kept

    def _prune_kept(self, before_ms: int) -> int:
        due = [key for key, one in self._kept.items() if one.created_at_ms < before_ms]
        for key in due:
            del self._kept[key]
        return len(due)


def _told(seq: int, entry: _Entry, run: _Run | None) -> TranscriptEntry:
    return TranscriptEntry(
        seq=seq,
        run_id=entry.run_id,
        created_at_ms=entry.created_at_ms,
        message=entry.message,
        provider=None if run is None else run.provider,
        model=None if run is None else run.model,
        usage=None if run is None else run.usage,
        state=None if run is None else run.state,
    )


def _summary(session_key: str, session: _Session) -> SessionSummary:
    current = session.current
    return SessionSummary(
        session_key=session_key,
        session_id=session.session_id,
        agent_id=current.agent_id,
        created_at_ms=current.created_at_ms,
        updated_at_ms=current.updated_at_ms,
        anonymous=current.anonymous,
        aborted_last_run=current.aborted_last_run,
        provider=current.provider,
        model=current.model,
        input_tokens=current.usage.prompt_tokens,
        output_tokens=current.usage.completion_tokens,
        total_tokens=current.usage.total_tokens,
        messages=len(current.entries),
        settings=session.settings,
        compactions=current.compactions,
        tokens_before=current.tokens_before,
    )


def _kept_entries(entries: list[_Entry], keep: int) -> list[_Entry]:
    kept = entries[len(entries) - keep :]
    for start, entry in enumerate(kept):
        if isinstance(entry.message, UserMessage):
            return kept[start:]
    return kept


def _count(
    lines: dict[tuple[str, str, str], UsageLine], run: _Run, ended_at_ms: int
) -> None:
    day = datetime.fromtimestamp(ended_at_ms // 1000).strftime("%Y-%m-%d")
    place = (day, run.provider, run.model)
    line = lines.get(place) or UsageLine(
        day=day,
        provider=run.provider,
        model=run.model,
        runs=0,
        prompt_tokens=0,
        completion_tokens=0,
        cached_tokens=0,
        total_tokens=0,
    )
    usage = run.usage or Usage()
    lines[place] = msgspec.structs.replace(
        line,
        runs=line.runs + 1,
        prompt_tokens=line.prompt_tokens + usage.prompt_tokens,
        completion_tokens=line.completion_tokens + usage.completion_tokens,
        cached_tokens=line.cached_tokens + (usage.cached_tokens or 0),
        total_tokens=line.total_tokens + usage.total_tokens,
    )
