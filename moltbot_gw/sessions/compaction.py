"""Going on with the end of a session only, as a job of the writer.

Chosen: the entries that stay are copied to a session id of their own, and the older
session stays as it is, like after a reset; entries are never taken from a chain.  A
summary of what is older goes along; entries that it does not cover do not.  The runs of
what stays move along, so that each run is counted once; that they are missed in the
older session was the lesser harm.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from moltbot_gw.messages import Message, UserMessage
from moltbot_gw.sessions import runs, summaries
from moltbot_gw.sessions.codec import checked_tail, first_hash, rechained
from moltbot_gw.sessions.turns import append
from moltbot_gw.stored import Compacted


class Compaction(NamedTuple):
    """Go on with the last *keep* entries of *session_key* in *session_id*."""

    session_key: str
    keep: int
    session_id: str
    now_ms: int


def compact(connection: sqlite3.Connection, wish: Compaction) -> Compacted | None:
    """Do what *wish* asks for, if it leaves anything out; None if it is unknown.

    Raises ``StoreFailed`` if what would stay is not what was written.
    """
    found = connection.execute(
        "SELECT number, session_id, last_seq, head FROM sessions"
        " WHERE session_key = ? AND is_current",
        (wish.session_key,),
    ).fetchone()
    if found is None:
        return None
    old, old_id, last_seq, head = found
    if last_seq <= wish.keep:
        return Compacted(kept=last_seq, archived=None)
    entries = connection.execute(
        "SELECT seq, run_id, created_ms, message, hash FROM entries"
        " WHERE place BETWEEN (:number << 28) + :first"
        " AND ((:number + 1) << 28) - 1 ORDER BY place",
        {"number": old, "first": last_seq - wish.keep},
    ).fetchall()
    messages = checked_tail(old_id, last_seq, head, entries, wish.keep)
    kept = entries[len(entries) - len(messages) + _first_to_keep(messages) :]
    number = _go_on(connection, wish, old)
    rows = rechained(number, wish.session_id, kept)
    append(connection, rows)
    if rows:
        connection.execute(
            "UPDATE sessions SET last_seq = ?, head = ? WHERE number = ?",
            (len(rows), rows[-1][-1], number),
        )
    runs.take_along(connection, old, number)
    dropped = last_seq - len(rows)
    summaries.take_along(connection, old, number, wish.session_id, dropped)
    return Compacted(kept=len(rows), archived=old_id)


def _first_to_keep(messages: tuple[Message, ...]) -> int:
    """Return where the first user's message is, 0 if there is none.

    Models refuse the result of a tool whose call they are not shown.
    """
    for index, message in enumerate(messages):
        if isinstance(message, UserMessage):
            return index
    return 0


def _go_on(connection: sqlite3.Connection, wish: Compaction, old: int) -> int:
    """Make the empty session of *wish*, otherwise like *old*; return its number."""
    connection.execute("UPDATE sessions SET is_current = 0 WHERE number = ?", (old,))
    number = connection.execute(
        "INSERT INTO sessions (session_key, session_id, is_current, agent_id,"
        " created_ms, updated_ms, anonymous, aborted_last_run, provider, model,"
        " input_tokens, output_tokens, total_tokens, last_seq, head, settings)"
        " SELECT session_key, ?, 1, agent_id, created_ms, max(updated_ms, ?),"
        " anonymous, aborted_last_run, provider, model, 0, 0, 0, 0, ?, settings"
        " FROM sessions WHERE number = ?",
        (wish.session_id, wish.now_ms, first_hash(wish.session_id), old),
    ).lastrowid
    assert number is not None
    return number
