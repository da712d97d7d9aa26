"""The end of a session with the runs of its entries, as a job of the reader."""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from moltbot_gw.events import Usage
from moltbot_gw.messages import Message
from moltbot_gw.sessions import settings
from moltbot_gw.sessions.codec import checked_tail
from moltbot_gw.stored import Transcript, TranscriptEntry


class Tail(NamedTuple):
    """The last *limit* entries of *session_key*."""

    session_key: str
    limit: int


def transcript(connection: sqlite3.Connection, wanted: Tail) -> Transcript | None:
    """Return the end of a session, None if it is unknown.

    Raises ``StoreFailed`` if what is returned is not what was written.
    """
    rows = connection.execute(
        "SELECT session_id, CAST(settings AS BLOB), last_seq, head,"
        " seq, entries.run_id, entries.created_ms, message, hash,"
        " runs.provider, runs.model, state, prompt_tokens, completion_tokens,"
        " runs.total_tokens, cached_tokens, reasoning_tokens"
        " FROM sessions"
        # One more than is wanted: its hash is where the chain begins.
        " LEFT JOIN entries ON place BETWEEN (number << 28)"
        " + max(0, last_seq - :limit) AND ((number + 1) << 28) - 1"
        " LEFT JOIN runs ON runs.session = number AND runs.run_id = entries.run_id"
        " WHERE session_key = :key AND is_current"
        " ORDER BY session_id, place",
        {"key": wanted.session_key, "limit": wanted.limit},
    ).fetchall()
    if not rows:
        return None
    session_id, stored, last_seq, head = rows[0][:4]
    entries = [row[4:9] for row in rows if row[4] is not None]
    messages = checked_tail(session_id, last_seq, head, entries, wanted.limit)
    told = rows[len(rows) - len(messages) :]
    return Transcript(
        session_id=session_id,
        settings=settings.read(stored, session_id),
        entries=tuple(map(_entry, told, messages)),
    )


def _entry(row: tuple[Any, ...], message: Message) -> TranscriptEntry:
    return TranscriptEntry(
        seq=row[4],
        run_id=row[5],
        created_at_ms=row[6],
        message=message,
        provider=row[9],
        model=row[10],
        usage=_usage(row[12:17]),
        state=row[11],
    )


def _usage(counts: tuple[int | None, ...]) -> Usage | None:
    """Return the counts of a run, None until it has ended."""
    prompt_tokens, completion_tokens, total_tokens, cached, reasoning = counts
    if prompt_tokens is None or completion_tokens is None or total_tokens is None:
        return None
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=total_tokens,
        cached_tokens=cached,
        reasoning_tokens=reasoning,
    )
