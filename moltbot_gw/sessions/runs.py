"""The rows of runs, for the jobs of the writer that begin and end turns."""

from __future__ import annotations

import sqlite3

from moltbot_gw.errors import StoreFailed
from moltbot_gw.stored import TurnEnd, TurnStart


def begin(connection: sqlite3.Connection, session: int, turn: TurnStart) -> None:
    """Store the run of *turn* as running, in the place of one of the same id.

    That one may be running itself only if *turn* has an idempotency key: whoever gave
    it does not ask again before the end, so it was the end that could not be stored.
    Otherwise raises ``StoreFailed``.
    """
    begun = connection.execute(
        "INSERT INTO runs (session, run_id, provider, model, started_ms, state,"
        " kept_key) VALUES (?, ?, ?, ?, ?, 'running', ?)"
        " ON CONFLICT (session, run_id) DO UPDATE SET provider = excluded.provider,"
        " model = excluded.model, started_ms = excluded.started_ms, state = 'running',"
        " ended_ms = NULL, error_code = NULL, prompt_tokens = NULL,"
        " completion_tokens = NULL, total_tokens = NULL, cached_tokens = NULL,"
        " reasoning_tokens = NULL, kept_key = excluded.kept_key"
        " WHERE state <> 'running' OR excluded.kept_key IS NOT NULL",
        (
            session,
            turn.run_id,
            turn.provider,
            turn.model,
            turn.started_at_ms,
            None if turn.key is None else turn.key.value,
        ),
    )
    if begun.rowcount != 1:
        raise StoreFailed("The session store has this run already.")


def end(connection: sqlite3.Connection, session: int, turn: TurnEnd) -> bool:
    """Store how the run of *turn* has ended; False if it is not running there."""
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
            session,
            turn.run_id,
        ),
    )
    return ended.rowcount == 1


def change_model(connection: sqlite3.Connection, session: int, turn: TurnEnd) -> None:
    """Note that another model has answered than the run began with."""
    connection.execute(
        "UPDATE sessions SET provider = ?, model = ? WHERE number = ?",
        (turn.provider, turn.model, session),
    )
    connection.execute(
        "UPDATE runs SET provider = ?, model = ? WHERE session = ? AND run_id = ?",
        (turn.provider, turn.model, session, turn.run_id),
    )


def take_along(connection: sqlite3.Connection, old: int, new: int) -> None:
    """Move the runs of what was copied to *new*, and those that have yet to end."""
    connection.execute(
        "UPDATE runs SET session = :new WHERE session = :old AND (state = 'running'"
        " OR run_id IN (SELECT run_id FROM entries"
        " WHERE place BETWEEN (:new << 28) AND ((:new + 1) << 28) - 1))",
        {"new": new, "old": old},
    )


def interrupt(connection: sqlite3.Connection) -> int:
    """Mark the runs that an earlier process left running; return how many."""
    return connection.execute(
        "UPDATE runs SET state = 'interrupted' WHERE state = 'running'"
    ).rowcount
