"""Reset, delete, prune and touch, as jobs of the writer."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from moltbot_gw.sessions import settings
from moltbot_gw.sessions.codec import first_hash


class Reset(NamedTuple):
    """Go on under *session_key* with *session_id*."""

    session_key: str
    session_id: str
    now_ms: int


class Prune(NamedTuple):
    """Delete those of *session_keys* that are still anonymous, idle and old."""

    session_keys: list[str]
    before_ms: int


def reset(connection: sqlite3.Connection, wish: Reset) -> bool:
    """Make an empty session current; False if the key is unknown.

    The agent, the model last used and some settings stay; the token counts start at
    zero.
    """
    retired = connection.execute(
        "UPDATE sessions SET is_current = 0 WHERE session_key = ? AND is_current"
        " RETURNING agent_id, anonymous, provider, model, CAST(settings AS BLOB)",
        (wish.session_key,),
    ).fetchall()
    if not retired:
        return False
    agent_id, anonymous, provider, model, stored = retired[0]
    connection.execute(
        "INSERT INTO sessions (session_key, session_id, is_current, agent_id,"
        " created_ms, updated_ms, anonymous, aborted_last_run, provider, model,"
        " input_tokens, output_tokens, total_tokens, last_seq, head, settings)"
        " VALUES (?, ?, 1, ?, ?, ?, ?, 0, ?, ?, 0, 0, 0, 0, ?, ?)",
        (
            wish.session_key,
            wish.session_id,
            agent_id,
            wish.now_ms,
            wish.now_ms,
            anonymous,
            provider,
            model,
            first_hash(wish.session_id),
            settings.after_reset(stored),
        ),
    )
    return True


def delete(connection: sqlite3.Connection, session_key: str) -> bool:
    """Delete all that was ever stored under *session_key*; False if that is nothing."""
    deleted = connection.execute(
        "DELETE FROM sessions WHERE session_key = ?", (session_key,)
    )
    return deleted.rowcount > 0


def prune(connection: sqlite3.Connection, wish: Prune) -> int:
    """Delete what *wish* asks for; return how many sessions."""
    pruned = 0
    for session_key in wish.session_keys:
        due = connection.execute(
            "SELECT 1 FROM sessions"
            " WHERE session_key = :key AND is_current AND anonymous"
            " AND updated_ms < :before"
            " AND NOT EXISTS (SELECT 1 FROM sessions AS mine"
            " JOIN runs ON runs.session = mine.number"
            " WHERE mine.session_key = :key AND runs.state = 'running')",
            {"key": session_key, "before": wish.before_ms},
        ).fetchone()
        if due is not None:
            pruned += delete(connection, session_key)
    return pruned


def touch(connection: sqlite3.Connection, _: None) -> None:
    """Write a page as it is, so that the commit has something to bring to the disk.

    A transaction without a change succeeds on a full disk, too.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version:d}")
