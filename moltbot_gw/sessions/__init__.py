"""Conversations on lasting storage.

``sqlite`` is the store; ``freshness`` says when a session starts afresh.  Below them,
from the top: ``worker`` (a thread and its connection), ``batches`` (group commit),
``connection`` (opening the file); the jobs: ``turns``, ``editing``, ``compaction`` and
``upkeep`` write, ``reading`` and ``transcripts`` read, ``kept`` does both; ``runs``
(rows of runs), ``settings`` and ``codec`` (what is stored as JSON, and the hash chain
of entries), ``faults`` (what can be wrong, in words).
"""

from moltbot_gw.sessions.freshness import (
    ResetPolicy,
    SessionKind,
    fresh_after_ms,
    session_kind,
)
from moltbot_gw.sessions.sqlite import SqliteSessionStore

__all__ = [
    "SqliteSessionStore",
    "ResetPolicy",
    "fresh_after_ms",
    "SessionKind",
    "session_kind",
]
