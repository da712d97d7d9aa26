"""Lists of sessions, as jobs of the reader: one statement each.

There may be a session for each request of a day.  So whoever lists them says what is
wanted, and the rest is left out here, by SQLite, in a thread, and becomes no object.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any

from moltbot_gw.sessions import settings
from moltbot_gw.stored import AgentSessions, OverviewQuery, SessionQuery, SessionSummary

_SELECT = (
    "SELECT session_key, session_id, agent_id, created_ms, updated_ms, anonymous,"
    " aborted_last_run, provider, model, input_tokens, output_tokens, total_tokens,"
    " last_seq, CAST(settings AS BLOB), compactions, tokens_before FROM sessions"
)
# Keys have no line breaks, so that a list of them can be one value.
_SHOWN = "is_current AND instr(:hidden, char(10) || session_key || char(10)) = 0"
_NEWEST_FIRST = " ORDER BY updated_ms DESC, session_key"
_OVERVIEW = """
    JOIN (
        -- Only these few columns go through the sorter, not whole rows.
        SELECT
            number,
            row_number() OVER newest AS place,
            count(*) OVER (PARTITION BY agent_id) AS count
        FROM sessions
        WHERE is_current AND instr(:hidden, char(10) || session_key || char(10)) = 0
        WINDOW newest AS (PARTITION BY agent_id ORDER BY updated_ms DESC, session_key)
    ) USING (number)
    WHERE place <= :recent
"""


def find_session(
    connection: sqlite3.Connection, session_key: str
) -> SessionSummary | None:
    """Return the current session of *session_key*."""
    row = connection.execute(
        _SELECT + " WHERE session_key = ? AND is_current", (session_key,)
    ).fetchone()
    return None if row is None else _summary(row)


def list_sessions(
    connection: sqlite3.Connection, query: SessionQuery
) -> list[SessionSummary]:
    """Return the current session of every key that *query* wants, newest first."""
    rows = connection.execute(
        _SELECT + " WHERE " + _conditions(query) + _NEWEST_FIRST,
        {
            "agent_id": query.agent_id,
            "session_id": query.session_id,
            "words": query.words,
            "since": query.updated_since_ms,
            "hidden": _as_value(query.hidden),
        },
    )
    return list(islice(_wanted(rows, query), query.limit))


def overview(
    connection: sqlite3.Connection, query: OverviewQuery
) -> list[AgentSessions]:
    """Return how many sessions each agent has, and its newest."""
    rows = connection.execute(
        _SELECT.replace(" FROM", ", count FROM") + _OVERVIEW + _NEWEST_FIRST,
        {"recent": query.recent, "hidden": _as_value(query.hidden)},
    )
    counts: dict[str, int] = {}
    recent: dict[str, list[SessionSummary]] = {}
    for row in rows:
        summary = _summary(row)
        counts[summary.agent_id] = row[-1]
        recent.setdefault(summary.agent_id, []).append(summary)
    return [
        AgentSessions(agent_id=agent_id, count=counts[agent_id], recent=tuple(newest))
        for agent_id, newest in sorted(recent.items())
    ]


def _conditions(query: SessionQuery) -> str:
    """Return what SQL can tell of *query*, which may let too many through."""
    # SQLite knows the small letters of ASCII alone.
    has_plain_words = bool(query.words) and query.words.isascii()
    has_setting = query.label is not None or query.spawned_by is not None
    conditions = {
        _SHOWN: True,
        "agent_id = :agent_id": query.agent_id is not None,
        "session_id = :session_id": query.session_id is not None,
        "updated_ms >= :since": query.updated_since_ms is not None,
        "NOT anonymous": not query.anonymous,
        "settings <> '{}'": has_setting,
        "(instr(lower(session_key), :words) OR instr(lower(session_id), :words)"
        " OR settings <> '{}')": has_plain_words,
    }
    return " AND ".join(each for each, counts in conditions.items() if counts)


def _as_value(keys: frozenset[str]) -> str:
    return "\n" + "".join(f"{key}\n" for key in sorted(keys))


def _wanted(rows: sqlite3.Cursor, query: SessionQuery) -> Iterator[SessionSummary]:
    """Make summaries of *rows*, and give those that *query* wants."""
    for row in rows:
        summary = _summary(row)
        if query.wants(summary):
            yield summary


def _summary(row: tuple[Any, ...]) -> SessionSummary:
    return SessionSummary(
        session_key=row[0],
        session_id=row[1],
        agent_id=row[2],
        created_at_ms=row[3],
        updated_at_ms=row[4],
        anonymous=bool(row[5]),
        aborted_last_run=bool(row[6]),
        provider=row[7],
        model=row[8],
        input_tokens=row[9],
        output_tokens=row[10],
        total_tokens=row[11],
        messages=row[12],
        settings=settings.read_if_whole(row[13]),
        compactions=row[14],
        tokens_before=row[15],
    )
