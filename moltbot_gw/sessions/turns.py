"""The parts of a turn, as jobs of the writer: the hot path."""

from __future__ import annotations

import sqlite3

from moltbot_gw.errors import StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.sessions import kept, runs
from moltbot_gw.sessions.codec import EntryRow, chained, first_hash
from moltbot_gw.stored import TurnEnd, TurnRound, TurnStart

SEQ_BITS = 28
"""How many bits of an entry's place are its number in the session; see ``0004.sql``."""

_NO_USAGE = Usage()


def begin_turn(connection: sqlite3.Connection, turn: TurnStart) -> None:
    """Append the first half of *turn*; make its session (current) if need be."""
    found = connection.execute(
        "SELECT number, session_id, last_seq, head FROM sessions"
        " WHERE session_key = ? AND is_current",
        (turn.session_key,),
    ).fetchone()
    retired = None
    if found is not None and found[1] != turn.session_id:
        retired = found[0]
        found = _replace_current(connection, turn, retired)
    if found is None:
        number, rows = _first_entries(connection, turn)
    else:
        number, rows = _more_entries(connection, turn, found)
    if retired is not None:
        _take_over_settings(connection, retired, number)
    append(connection, rows)
    runs.begin(connection, number, turn)
    if turn.key is not None:
        kept.keep_run(connection, turn.key, turn)


def _replace_current(
    connection: sqlite3.Connection, turn: TurnStart, current: int
) -> tuple[int, str, int, bytes] | None:
    """Retire *current*; return the session of *turn* if its key had it before."""
    connection.execute(
        "UPDATE sessions SET is_current = 0 WHERE number = ?", (current,)
    )
    found: tuple[int, str, int, bytes] | None = connection.execute(
        "SELECT number, session_id, last_seq, head FROM sessions"
        " WHERE session_key = ? AND session_id = ?",
        (turn.session_key, turn.session_id),
    ).fetchone()
    return found


def _take_over_settings(connection: sqlite3.Connection, old: int, new: int) -> None:
    connection.execute(
        "UPDATE sessions SET settings ="
        " (SELECT settings FROM sessions WHERE number = ?) WHERE number = ?",
        (old, new),
    )


def _first_entries(
    connection: sqlite3.Connection, turn: TurnStart
) -> tuple[int, list[EntryRow]]:
    """Make the session of *turn*; return its number and what to append."""
    rows = chained(
        0,
        turn.session_id,
        0,
        first_hash(turn.session_id),
        turn.messages,
        turn.run_id,
        turn.started_at_ms,
    )
    number = connection.execute(
        "INSERT INTO sessions (session_key, session_id, is_current, agent_id,"
        " created_ms, updated_ms, anonymous, aborted_last_run, provider, model,"
        " input_tokens, output_tokens, total_tokens, last_seq, head)"
        " VALUES (?, ?, 1, ?, ?, ?, ?, 0, ?, ?, 0, 0, 0, ?, ?)",
        (
            turn.session_key,
            turn.session_id,
            turn.agent_id,
            turn.started_at_ms,
            turn.started_at_ms,
            int(turn.anonymous),
            turn.provider,
            turn.model,
            len(rows),
            rows[-1][-1],
        ),
    ).lastrowid
    assert number is not None
    return number, [(number, *row[1:]) for row in rows]


def _more_entries(
    connection: sqlite3.Connection,
    turn: TurnStart,
    found: tuple[int, str, int, bytes],
) -> tuple[int, list[EntryRow]]:
    """Bring the session of *turn* up to date; return its number and what to append."""
    number, session_id, last_seq, head = found
    rows = chained(
        number,
        session_id,
        last_seq,
        head,
        turn.messages,
        turn.run_id,
        turn.started_at_ms,
    )
    connection.execute(
        "UPDATE sessions SET is_current = 1, updated_ms = ?, anonymous = ?,"
        " provider = ?, model = ?, last_seq = ?, head = ? WHERE number = ?",
        (
            turn.started_at_ms,
            int(turn.anonymous),
            turn.provider,
            turn.model,
            last_seq + len(rows),
            rows[-1][-1],
            number,
        ),
    )
    return number, rows


def extend_turn(connection: sqlite3.Connection, turn: TurnRound) -> None:
    """Append a middle part of *turn* to the session in which its run is running.

    Does nothing if the session has been deleted.  Raises ``StoreFailed`` unless the run
    is running.
    """
    found = connection.execute(
        "SELECT number, session_id, last_seq, head FROM sessions"
        " JOIN runs ON session = number"
        " WHERE session_key = ? AND run_id = ? AND state = 'running'",
        (turn.session_key, turn.run_id),
    ).fetchone()
    if found is None:
        if _exists(connection, turn.session_key, turn.session_id):
            raise StoreFailed("The session store has no such running run.")
        return
    number, session_id, last_seq, head = found
    rows = chained(
        number, session_id, last_seq, head, turn.messages, turn.run_id, turn.at_ms
    )
    append(connection, rows)
    connection.execute(
        "UPDATE sessions SET updated_ms = ?, last_seq = ?, head = ? WHERE number = ?",
        (turn.at_ms, last_seq + len(rows), rows[-1][-1], number),
    )


def _exists(connection: sqlite3.Connection, session_key: str, session_id: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM sessions WHERE session_key = ? AND session_id = ?",
        (session_key, session_id),
    ).fetchone()
    return found is not None


def end_turn(connection: sqlite3.Connection, turn: TurnEnd) -> None:
    """Append the second half of *turn* to its own session, current or not.

    Of a session that has been deleted, only the outcome is kept, if there is a key for
    it.  Raises ``StoreFailed`` unless the run is running.
    """
    found = connection.execute(
        "SELECT number, session_id, last_seq, head, kept_key FROM sessions"
        " LEFT JOIN runs ON session = number AND run_id = ?"
        " WHERE session_key = ? AND session_id = ?",
        (turn.run_id, turn.session_key, turn.session_id),
    ).fetchone()
    if found is None:
        kept.keep_orphan(connection, turn)
        return
    if not runs.end(connection, found[0], turn):
        found = _end_moved_run(connection, turn)
    number, session_id, last_seq, head, kept_key = found
    rows = chained(
        number,
        session_id,
        last_seq,
        head,
        turn.messages,
        turn.run_id,
        turn.ended_at_ms,
    )
    append(connection, rows)
    connection.execute(
        "UPDATE sessions SET updated_ms = ?, aborted_last_run = ?,"
        " input_tokens = coalesce(?, input_tokens),"
        " output_tokens = coalesce(?, output_tokens),"
        " total_tokens = coalesce(?, total_tokens),"
        " counted_seq = coalesce(?, counted_seq),"
        " last_seq = ?, head = ? WHERE number = ?",
        (
            turn.ended_at_ms,
            int(turn.state == "aborted"),
            *_counts(turn.context),
            _counted(turn, last_seq + len(rows)),
            last_seq + len(rows),
            rows[-1][-1] if rows else head,
            number,
        ),
    )
    if turn.model is not None:
        runs.change_model(connection, number, turn)
    if kept_key is not None:
        kept.keep_outcome(connection, kept_key, turn)


def _end_moved_run(
    connection: sqlite3.Connection, turn: TurnEnd
) -> tuple[int, str, int, bytes, str | None]:
    """End the run of *turn* in the session to which a compaction has moved it."""
    found: tuple[int, str, int, bytes, str | None] | None = connection.execute(
        "SELECT number, session_id, last_seq, head, kept_key"
        " FROM sessions JOIN runs ON session = number"
        " WHERE session_key = ? AND run_id = ? AND state = 'running'",
        (turn.session_key, turn.run_id),
    ).fetchone()
    if found is None:
        raise StoreFailed("The session store has no such running run.")
    runs.end(connection, found[0], turn)
    return found


def _counts(usage: Usage) -> tuple[int | None, int | None, int | None]:
    """Return what becomes of a session's counts; None leaves one as it is."""
    if usage == _NO_USAGE:
        return None, None, None
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


def _counted(turn: TurnEnd, last_seq: int) -> int | None:
    """Return the last entry that the counts of *turn* include; None: no change.

    A run that was cut off may have stored more after the call that was counted.
    """
    if turn.context == _NO_USAGE:
        return None
    return last_seq if turn.state == "done" else 0


def append(connection: sqlite3.Connection, rows: list[EntryRow]) -> None:
    """Store *rows*; the head of their session is for the caller to move."""
    if rows and rows[-1][1] >> SEQ_BITS:
        raise StoreFailed("The session is too long.")
    connection.executemany(
        "INSERT INTO entries (place, run_id, created_ms, message, hash)"
        " VALUES ((? << 28) | ?, ?, ?, ?, ?)",
        rows,
    )
