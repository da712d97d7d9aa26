"""What is read from the store, as jobs of the reader: one statement each.

One statement sees one state of the file, so that no transaction is needed.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from moltbot_gw.sessions import settings, summaries
from moltbot_gw.sessions.codec import checked_tail
from moltbot_gw.stored import History, UsageLine

_WINDOW = 1000


class Wanted(NamedTuple):
    """The history of *session_key*, unless last touched before *fresh_after_ms*."""

    session_key: str
    fresh_after_ms: int


class Window(NamedTuple):
    """Anonymous sessions touched before *before_ms*, of the keys after *after_key*."""

    after_key: str
    before_ms: int


class Found(NamedTuple):
    """What a window shows: the next *after_key*, None at the end, and who is due."""

    after_key: str | None
    session_keys: list[str]


def history(connection: sqlite3.Connection, wanted: Wanted) -> History:
    """Return what a model reads of a session.

    Raises ``StoreFailed`` if that is not what was written.
    """
    rows = connection.execute(
        "SELECT session_id, CAST(settings AS BLOB), updated_ms >= :fresh, last_seq,"
        " head, first_kept, compactions, counted_seq, total_tokens, text,"
        " summaries.hash, seq, run_id, entries.created_ms, message, entries.hash"
        " FROM sessions"
        # One more than is wanted: its hash is where the chain begins.
        " LEFT JOIN entries ON place BETWEEN (number << 28) + first_kept - 1"
        " AND ((number + 1) << 28) - 1 AND updated_ms >= :fresh"
        # Beside the first row only, so that its text is not copied for each.
        " LEFT JOIN summaries ON summaries.session = number AND ordinal = compactions"
        " AND (seq IS NULL OR seq = max(1, first_kept - 1))"
        " WHERE session_key = :key AND is_current"
        " ORDER BY session_id, place",  # one session; so said, the keys give the order
        {"key": wanted.session_key, "fresh": wanted.fresh_after_ms},
    ).fetchall()
    if not rows:
        return History()
    session_id, stored, is_fresh, last_seq, head, first_seq = rows[0][:6]
    its_settings = settings.read(stored, session_id)
    if not is_fresh:
        return History(settings=its_settings)
    compactions, counted_seq, total_tokens, text, its_hash = rows[0][6:11]
    entries = [row[11:] for row in rows if row[11] is not None]
    limit = last_seq - first_seq + 1
    counted = max(0, counted_seq - first_seq + 1)
    return History(
        session_id=session_id,
        messages=checked_tail(session_id, last_seq, head, entries, limit),
        settings=its_settings,
        first_seq=first_seq,
        summary=summaries.read((session_id, compactions, first_seq), text, its_hash),
        context_tokens=total_tokens if counted else None,
        counted=counted,
    )


def usage(connection: sqlite3.Connection, since_ms: int) -> list[UsageLine]:
    """Return the sums over the runs that ended at *since_ms* or later."""
    rows = connection.execute(
        "SELECT date(ended_ms / 1000, 'unixepoch', 'localtime') AS day, provider,"
        " model, count(*), sum(coalesce(prompt_tokens, 0)),"
        " sum(coalesce(completion_tokens, 0)), sum(coalesce(cached_tokens, 0)),"
        " sum(coalesce(total_tokens, 0))"
        " FROM runs WHERE ended_ms >= ?"
        " GROUP BY day, provider, model ORDER BY day, provider, model",
        (since_ms,),
    )
    return [
        UsageLine(
            day=row[0],
            provider=row[1],
            model=row[2],
            runs=row[3],
            prompt_tokens=row[4],
            completion_tokens=row[5],
            cached_tokens=row[6],
            total_tokens=row[7],
        )
        for row in rows
    ]


def find_prunable(connection: sqlite3.Connection, window: Window) -> Found:
    """Look through the next window of all sessions, in the order of their keys.

    The bound is on the rows looked at, not on those found: however few are due, the
    next history waits for one window only.
    """
    rows = connection.execute(
        "SELECT session_key, anonymous AND updated_ms < ? FROM sessions"
        " WHERE session_key > ? AND is_current ORDER BY session_key LIMIT ?",
        (window.before_ms, window.after_key, _WINDOW),
    ).fetchall()
    return Found(
        after_key=rows[-1][0] if len(rows) == _WINDOW else None,
        session_keys=[session_key for session_key, is_due in rows if is_due],
    )
