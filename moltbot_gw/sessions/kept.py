"""What idempotency keys stand for, as jobs: a run, and its outcome once it has ended.

The rows outlive their session, because who repeats a request wants the first answer
and no second run, whatever became of the conversation meanwhile.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec

from moltbot_gw.errors import StoreFailed
from moltbot_gw.stored import IdempotencyKey, KeptOutcome, KeptRun, TurnEnd, TurnStart

PRUNE_STEP = 100

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeptOutcome).decode


class Key(NamedTuple):
    """The run of *key*, if it began at *after_ms* or later."""

    key: str
    after_ms: int


def keep_run(
    connection: sqlite3.Connection, key: IdempotencyKey, turn: TurnStart
) -> None:
    """Let *key* stand for the run of *turn*, without an outcome."""
    connection.execute(
        "INSERT OR REPLACE INTO kept_runs (key, fingerprint, run_id, agent_id,"
        " session_key, created_ms, outcome) VALUES (?, ?, ?, ?, ?, ?, NULL)",
        (
            key.value,
            key.fingerprint,
            turn.run_id,
            turn.agent_id,
            turn.session_key,
            turn.started_at_ms,
        ),
    )


def keep_outcome(connection: sqlite3.Connection, key: str, turn: TurnEnd) -> None:
    """Store the outcome of *turn*, or forget *key* if there is none to keep.

    Nothing happens if the key stands for another run by then, or was pruned.
    """
    if turn.kept is None:
        connection.execute(
            "DELETE FROM kept_runs WHERE key = ? AND run_id = ?", (key, turn.run_id)
        )
        return
    connection.execute(
        "UPDATE kept_runs SET outcome = ? WHERE key = ? AND run_id = ?",
        (_encode(turn.kept), key, turn.run_id),
    )


def keep_orphan(connection: sqlite3.Connection, turn: TurnEnd) -> None:
    """Keep the outcome of a run whose session was deleted while it ran.

    Its key went with the session, so all rows are looked through; that is rare.
    """
    keys = connection.execute(
        "SELECT key FROM kept_runs"
        " WHERE run_id = ? AND session_key = ? AND outcome IS NULL",
        (turn.run_id, turn.session_key),
    ).fetchall()
    for (key,) in keys:
        keep_outcome(connection, key, turn)


def find(connection: sqlite3.Connection, wanted: Key) -> KeptRun | None:
    """Return the run of a key; raise ``StoreFailed`` if its outcome is unreadable."""
    row = connection.execute(
        "SELECT run_id, agent_id, session_key, fingerprint, created_ms, outcome"
        " FROM kept_runs WHERE key = ? AND created_ms >= ?",
        wanted,
    ).fetchone()
    if row is None:
        return None
    return KeptRun(
        run_id=row[0],
        agent_id=row[1],
        session_key=row[2],
        fingerprint=row[3],
        created_at_ms=row[4],
        outcome=None if row[5] is None else _outcome(row[5]),
    )


def _outcome(body: bytes) -> KeptOutcome:
    try:
        return _decode(body)
    except ValueError as error:  # msgspec's own, or UnicodeDecodeError
        raise StoreFailed("The kept outcome of this request is damaged.") from error


def prune(connection: sqlite3.Connection, before_ms: int) -> int:
    """Forget the oldest keys of runs that began before *before_ms*; return how many.

    Fewer than ``PRUNE_STEP`` means that there are no more.
    """
    return connection.execute(
        "DELETE FROM kept_runs WHERE key IN (SELECT key FROM kept_runs"
        " WHERE created_ms < ? ORDER BY created_ms LIMIT ?)",
        (before_ms, PRUNE_STEP),
    ).rowcount
