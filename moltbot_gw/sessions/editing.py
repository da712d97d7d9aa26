"""Changes to a session that are no turn, as jobs of the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from moltbot_gw.messages import AssistantMessage
from moltbot_gw.sessions import listing, settings
from moltbot_gw.sessions.codec import chained, first_hash
from moltbot_gw.sessions.turns import append
from moltbot_gw.stored import SessionSettings, SessionSummary


class Patch(NamedTuple):
    """Change settings; *agent_id* and *session_id* are for a session not there yet."""

    session_key: str
    changes: Mapping[str, str | None]
    agent_id: str
    session_id: str
    now_ms: int


class Injection(NamedTuple):
    """Append *message* to the current session of *session_key*."""

    session_key: str
    message: AssistantMessage
    run_id: str
    now_ms: int


def patch(connection: sqlite3.Connection, wish: Patch) -> SessionSummary | None:
    """Do what *wish* asks for; None, and nothing done, if its label is taken.

    That is no error here: one would make all the jobs of its batch run again.
    """
    found = connection.execute(
        "SELECT number, session_id, agent_id, CAST(settings AS BLOB) FROM sessions"
        " WHERE session_key = ? AND is_current",
        (wish.session_key,),
    ).fetchone()
    agent_id = wish.agent_id if found is None else found[2]
    if _is_taken(connection, wish.changes.get("label"), agent_id, wish.session_key):
        return None
    if found is None:
        _make(connection, wish)
    else:
        number, session_id, _, stored = found
        patched = settings.changed(settings.read(stored, session_id), wish.changes)
        connection.execute(
            "UPDATE sessions SET settings = ?, updated_ms = max(updated_ms, ?)"
            " WHERE number = ?",
            (settings.write(patched), wish.now_ms, number),
        )
    return listing.find_session(connection, wish.session_key)


def _make(connection: sqlite3.Connection, wish: Patch) -> None:
    patched = settings.changed(SessionSettings(), wish.changes)
    connection.execute(
        "INSERT INTO sessions (session_key, session_id, is_current, agent_id,"
        " created_ms, updated_ms, anonymous, aborted_last_run, input_tokens,"
        " output_tokens, total_tokens, last_seq, head, settings)"
        " VALUES (?, ?, 1, ?, ?, ?, 0, 0, 0, 0, 0, 0, ?, ?)",
        (
            wish.session_key,
            wish.session_id,
            wish.agent_id,
            wish.now_ms,
            wish.now_ms,
            first_hash(wish.session_id),
            settings.write(patched),
        ),
    )


def _is_taken(
    connection: sqlite3.Connection, label: str | None, agent_id: str, session_key: str
) -> bool:
    """Say whether another session of the agent has *label*.

    Looks for the very text that ``settings.write`` makes of it: inside any other value
    the quotes would be escaped, and settings that are damaged get in nobody's way.
    """
    if label is None:
        return False
    taken = connection.execute(
        "SELECT 1 FROM sessions WHERE is_current AND agent_id = ?"
        " AND session_key <> ? AND instr(settings, ?) LIMIT 1",
        (agent_id, session_key, settings.write(SessionSettings(label=label))[1:-1]),
    ).fetchone()
    return taken is not None


def inject(connection: sqlite3.Connection, wish: Injection) -> bool:
    """Do what *wish* asks for; False if the session is unknown."""
    found = connection.execute(
        "SELECT number, session_id, last_seq, head FROM sessions"
        " WHERE session_key = ? AND is_current",
        (wish.session_key,),
    ).fetchone()
    if found is None:
        return False
    number, session_id, last_seq, head = found
    rows = chained(
        number,
        session_id,
        last_seq,
        head,
        (wish.message,),
        wish.run_id,
        wish.now_ms,
    )
    append(connection, rows)
    connection.execute(
        "UPDATE sessions SET updated_ms = max(updated_ms, ?), last_seq = ?, head = ?"
        " WHERE number = ?",
        (wish.now_ms, last_seq + len(rows), rows[-1][-1], number),
    )
    return True
