"""The session store on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from moltbot_gw.errors import LabelTaken, StoreFailed
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import AssistantMessage
from moltbot_gw.sessions import (
    compaction,
    editing,
    kept,
    listing,
    reading,
    runs,
    summaries,
    transcripts,
    turns,
    upkeep,
)
from moltbot_gw.sessions.batches import GroupCommit, one_by_one
from moltbot_gw.sessions.connection import open_reader, open_writer
from moltbot_gw.sessions.worker import IWorkerReactor, Worker
from moltbot_gw.stored import (
    ALL_SESSIONS,
    AgentSessions,
    Compacted,
    History,
    KeptRun,
    OverviewQuery,
    SessionQuery,
    SessionSummary,
    Summary,
    Transcript,
    TurnEnd,
    TurnRound,
    TurnStart,
    UsageLine,
)
from moltbot_gw.tallies import Histogram

_PRUNE_STEP = 100

_A = TypeVar("_A")
_R = TypeVar("_R")


@implementer(ISessionStore)
class SqliteSessionStore:
    """Sessions in the SQLite file *path*, written by one thread and read by another.

    After a failure that made the file unusable, calls try to open it again every
    *reopen_interval* seconds at most; a file that is moved away is then made anew, with
    a line in the log.
    """

    def __init__(
        self,
        path: Path,
        reactor: IWorkerReactor,
        *,
        reopen_interval: float = 1.0,
    ) -> None:
        self._interrupted: int | None = None
        self._closed = False
        self._group_commit = GroupCommit()
        self._writer = Worker(
            name="session store writer",
            path=path,
            opener=self._open_writer,
            perform=self._group_commit,
            reactor=reactor,
            reopen_interval=reopen_interval,
            on_lost=lambda: self._reader.drop(),
            waits_for_company=True,
        )
        self._reader = Worker(
            name="session store reader",
            path=path,
            opener=open_reader,
            perform=one_by_one,
            reactor=reactor,
            reopen_interval=reopen_interval,
            on_lost=lambda: self._writer.drop(),
        )

    @property
    def commits(self) -> int:
        """How many transactions were committed since the start, for metrics."""
        return self._group_commit.commits

    @property
    def commit_seconds(self) -> Histogram:
        """How long each of them took to reach the disk."""
        return self._group_commit.commit_seconds

    @property
    def writes_waiting(self) -> int:
        """How many jobs wait for the thread that writes."""
        return self._writer.waiting

    @property
    def reads_waiting(self) -> int:
        """How many jobs wait for the thread that reads."""
        return self._reader.waiting

    @property
    def faults(self) -> int:
        """How often opening the file, a job or a commit has failed since the start."""
        return self._writer.faults + self._reader.faults

    def open(self) -> Deferred[int]:
        """See ``ISessionStore``; a second call fires with the same number."""
        return self._writer.ask(lambda _, __: self._interrupted or 0, None)

    def close(self) -> Deferred[None]:
        """See ``ISessionStore``; harmless before ``open`` and when repeated."""
        self._closed = True
        # Reads that wait for the file to be opened reach the reader when the writer
        # ends, so it closes last.
        return self._writer.close().addCallback(lambda _: self._reader.close())

    def check(self) -> Deferred[None]:
        """See ``ISessionStore``."""
        return self._writer.ask(upkeep.touch, None)

    def history(self, session_key: str, fresh_after_ms: int) -> Deferred[History]:
        """See ``ISessionStore``."""
        return self._read(reading.history, reading.Wanted(session_key, fresh_after_ms))

    def transcript(self, session_key: str, limit: int) -> Deferred[Transcript | None]:
        """See ``ISessionStore``."""
        return self._read(transcripts.transcript, transcripts.Tail(session_key, limit))

    def begin_turn(self, turn: TurnStart) -> Deferred[None]:
        """See ``ISessionStore``."""
        return self._writer.ask(turns.begin_turn, turn)

    def extend_turn(self, turn: TurnRound) -> Deferred[None]:
        """See ``ISessionStore``."""
        return self._writer.ask(turns.extend_turn, turn)

    def end_turn(self, turn: TurnEnd) -> Deferred[None]:
        """See ``ISessionStore``; an end without any usage leaves the counts alone."""
        return self._writer.ask(turns.end_turn, turn)

    def find_session(self, session_key: str) -> Deferred[SessionSummary | None]:
        """See ``ISessionStore``."""
        return self._read(listing.find_session, session_key)

    def list_sessions(
        self, query: SessionQuery = ALL_SESSIONS
    ) -> Deferred[list[SessionSummary]]:
        """See ``ISessionStore``."""
        return self._read(listing.list_sessions, query)

    def overview(self, query: OverviewQuery) -> Deferred[list[AgentSessions]]:
        """See ``ISessionStore``."""
        return self._read(listing.overview, query)

    def patch(
        self,
        session_key: str,
        changes: Mapping[str, str | None],
        *,
        agent_id: str,
        new_session_id: str,
        now_ms: int,
    ) -> Deferred[SessionSummary]:
        """See ``ISessionStore``."""
        wish = editing.Patch(
            session_key, dict(changes), agent_id, new_session_id, now_ms
        )
        return self._writer.ask(editing.patch, wish).addCallback(
            _patched, changes.get("label")
        )

    def inject(
        self, session_key: str, message: AssistantMessage, run_id: str, now_ms: int
    ) -> Deferred[bool]:
        """See ``ISessionStore``."""
        wish = editing.Injection(session_key, message, run_id, now_ms)
        return self._writer.ask(editing.inject, wish)

    def reset(self, session_key: str, session_id: str, now_ms: int) -> Deferred[bool]:
        """See ``ISessionStore``."""
        wish = upkeep.Reset(session_key, session_id, now_ms)
        return self._writer.ask(upkeep.reset, wish)

    def compact(
        self, session_key: str, keep: int, new_session_id: str, now_ms: int
    ) -> Deferred[Compacted | None]:
        """See ``ISessionStore``."""
        wish = compaction.Compaction(session_key, keep, new_session_id, now_ms)
        return self._writer.ask(compaction.compact, wish)

    def summarize(self, summary: Summary) -> Deferred[bool]:
        """See ``ISessionStore``."""
        return self._writer.ask(summaries.summarize, summary)

    def delete(self, session_key: str) -> Deferred[bool]:
        """See ``ISessionStore``."""
        return self._writer.ask(upkeep.delete, session_key)

    def prune_anonymous(self, before_ms: int) -> Deferred[int]:
        """See ``ISessionStore``; cancelling does not stop the pruning either."""
        return _shielded(self._prune(before_ms))

    def usage(self, since_ms: int) -> Deferred[list[UsageLine]]:
        """See ``ISessionStore``."""
        return self._read(reading.usage, since_ms)

    def find_kept(self, key: str, after_ms: int) -> Deferred[KeptRun | None]:
        """See ``ISessionStore``."""
        return self._read(kept.find, kept.Key(key, after_ms))

    def prune_kept(self, before_ms: int) -> Deferred[int]:
        """See ``ISessionStore``; cancelling does not stop the pruning either."""
        return _shielded(self._prune_kept(before_ms))

    async def _prune(self, before_ms: int) -> int:
        """Look through all keys, window by window; delete what is due in steps."""
        pruned = 0
        after_key: str | None = ""
        while after_key is not None:
            window = reading.Window(after_key, before_ms)
            after_key, due = await self._read(reading.find_prunable, window)
            for start in range(0, len(due), _PRUNE_STEP):
                wish = upkeep.Prune(due[start : start + _PRUNE_STEP], before_ms)
                pruned += await self._writer.ask(upkeep.prune, wish)
        return pruned

    async def _prune_kept(self, before_ms: int) -> int:
        """Forget what is due, step by step."""
        pruned = step = await self._writer.ask(kept.prune, before_ms)
        while step == kept.PRUNE_STEP:
            step = await self._writer.ask(kept.prune, before_ms)
            pruned += step
        return pruned

    def _read(
        self, work: Callable[[sqlite3.Connection, _A], _R], argument: _A
    ) -> Deferred[_R]:
        """Ask the reader; the writer opens the file, so it goes first if need be."""
        if self._closed:
            return fail(StoreFailed("The session store is closed."))
        if self._writer.is_open:
            return self._reader.ask(work, argument)
        return self.open().addCallback(lambda _: self._reader.ask(work, argument))

    def _open_writer(self, path: Path) -> sqlite3.Connection:
        """Open the file; the first time, the runs left running are not our own."""
        connection = open_writer(path)
        if self._interrupted is None:
            try:
                self._interrupted = runs.interrupt(connection)
            except BaseException:
                connection.close()
                raise
        return connection


def _patched(summary: SessionSummary | None, label: str | None) -> SessionSummary:
    if summary is None:
        raise LabelTaken(f"label already in use: {label}", param="label")
    return summary


def _shielded(work: Coroutine[Deferred[Any], Any, int]) -> Deferred[int]:
    """Do *work*; cancelling what is returned does not stop it."""
    done: Deferred[int] = Deferred()
    Deferred.fromCoroutine(work).addCallbacks(done.callback, done.errback)
    return done
