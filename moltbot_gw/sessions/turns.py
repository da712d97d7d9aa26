"""The two halves of a turn, as jobs of the writer: the hot path."""

from __future__ import annotations

import sqlite3

from moltbot_gw.errors import StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.interfaces import TurnEnd, TurnStart
from moltbot_gw.sessions.codec import EntryRow, chained, first_hash

_NO_USAGE = Usage()


def begin_turn(connection: sqlite3.Connection, turn: TurnStart) -> None:
    """Append the first half of *turn*; make its session (current) if need be."""
    found = connection.execute(
        "SELECT number, session_id, last_seq, head FROM sessions"
        " WHERE session_key = ? AND is_current",
        (turn.session_key,),
    ).fetchone()
    if found is not None and found[1] != turn.session_id:
        found = _replace_current(connection, turn, found[0])
    if found is None:
        number, rows = _first_entries(connection, turn)
    else:
        number, rows = _more_entries(connection, turn, found)
    _append(connection, rows)
    connection.execute(
        "INSERT INTO runs (session, run_id, provider, model, started_ms, state)"
        " VALUES (?, ?, ?, ?, ?, 'running')",
        (number, turn.run_id, turn.provider, turn.model, turn.started_at_ms),
    )


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
            turn.anonymous,
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
            turn.anonymous,
            turn.provider,
            turn.model,
            last_seq + len(rows),
            rows[-1][-1],
            number,
        ),
    )
    return number, rows


def end_turn(connection: sqlite3.Connection, turn: TurnEnd) -> None:
    """Append the second half of *turn* to its own session, current or not.

    Nothing happens if the session has been deleted.  Raises ``StoreFailed`` unless the
    run is running.
    """
    found = connection.execute(
        "SELECT number, last_seq, head FROM sessions"
        " WHERE session_key = ? AND session_id = ?",
        (turn.session_key, turn.session_id),
    ).fetchone()
    if found is None:
        return
    number, last_seq, head = found
    _end_run(connection, number, turn)
    rows = chained(
        number,
        turn.session_id,
        last_seq,
        head,
        turn.messages,
        turn.run_id,
        turn.ended_at_ms,
    )
    _append(connection, rows)
    connection.execute(
        "UPDATE sessions SET updated_ms = ?, aborted_last_run = ?,"
        " input_tokens = coalesce(?, input_tokens),"
        " output_tokens = coalesce(?, output_tokens),"
        " total_tokens = coalesce(?, total_tokens),"
        " last_seq = ?, head = ? WHERE number = ?",
        (
            turn.ended_at_ms,
            turn.state == "aborted",
            *_counts(turn.usage),
            last_seq + len(rows),
            rows[-1][-1] if rows else head,
            number,
        ),
    )


def _counts(usage: Usage) -> tuple[int | None, int | None, int | None]:
    """Return what becomes of a session's counts; None leaves one as it is."""
    if usage == _NO_USAGE:
        return None, None, None
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


def _end_run(connection: sqlite3.Connection, number: int, turn: TurnEnd) -> None:
    usage = turn.usage
    ended = connection.execute(
        "UPDATE runs SET state = ?, ended_ms = ?, error_code = ?, prompt_tokens = ?,"
        " completion_tokens = ?, total_tokens = ?, cached_tokens = ?,"
        " reasoning_tokens = ?"
        " WHERE session = ? AND run_id = ? AND state = 'running'",
        (
            turn.state,
            turn.ended_at_ms,
            turn.error_code,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            number,
            turn.run_id,
        ),
    )
    if ended.rowcount != 1:
        raise StoreFailed("The session store has no such running run.")


def _append(connection: sqlite3.Connection, rows: list[EntryRow]) -> None:
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", rows)


def interrupt_runs(connection: sqlite3.Connection) -> int:
    """Mark the runs that an earlier process left running; return how many."""
    return connection.execute(
        "UPDATE runs SET state = 'interrupted' WHERE state = 'running'"
    ).rowcount
