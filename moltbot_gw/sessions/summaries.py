"""Summaries that stand for the older entries of a session, as jobs of the writer.

Nothing is taken from the chain of entries: a summary only moves the place from which
the history is read.  Each has a hash of its own, which binds it to its session and that
place.
"""

from __future__ import annotations

import sqlite3
from hashlib import sha256

import msgspec

from moltbot_gw.sessions.faults import SummaryDamaged
from moltbot_gw.stored import Summary

_encode = msgspec.json.Encoder().encode


def summarize(connection: sqlite3.Connection, wish: Summary) -> bool:
    """Store *wish*; False if its session is gone, or is read from that place already.

    The token counts of the last call say nothing of the context from then on.
    """
    found = connection.execute(
        "UPDATE sessions SET first_kept = :first, compactions = compactions + 1,"
        " tokens_before = :tokens, counted_seq = 0, updated_ms = max(updated_ms, :now)"
        " WHERE session_key = :key AND session_id = :id"
        " AND :first > first_kept AND :first <= last_seq + 1"
        " RETURNING number, compactions",
        {
            "first": wish.first_seq,
            "tokens": wish.tokens_before,
            "now": wish.at_ms,
            "key": wish.session_key,
            "id": wish.session_id,
        },
    ).fetchall()
    if not found:
        return False
    number, ordinal = found[0]
    place = (wish.session_id, ordinal, wish.first_seq)
    _insert(connection, number, place, wish.at_ms, wish.text.encode())
    return True


def take_along(
    connection: sqlite3.Connection, old: int, new: int, new_id: str, dropped: int
) -> None:
    """Let the session *new* go on with the summary of *old*.

    *new* has the entries of *old* but the first *dropped*.  Raises ``StoreFailed`` if
    the summary is not what was written.
    """
    found = connection.execute(
        "SELECT session_id, first_kept, compactions, tokens_before,"
        " summaries.created_ms, text, hash FROM sessions LEFT JOIN summaries"
        " ON session = number AND ordinal = compactions WHERE number = ?",
        (old,),
    ).fetchone()
    old_id, first_seq, ordinal, tokens_before, created_ms, text, stored = found
    if not ordinal:
        return
    read((old_id, ordinal, first_seq), text, stored)
    first_seq = max(1, first_seq - dropped)
    connection.execute(
        "UPDATE sessions SET first_kept = ?, compactions = ?, tokens_before = ?"
        " WHERE number = ?",
        (first_seq, ordinal, tokens_before, new),
    )
    _insert(connection, new, (new_id, ordinal, first_seq), created_ms, text)


def read(
    place: tuple[str, int, int], text: bytes | None, stored: bytes | None
) -> str | None:
    """Return the summary *text* of *place*, None where there was no compaction.

    *place* is session_id, compactions and first_kept.  Raises ``SummaryDamaged``
    unless the hash *stored* is that of both.
    """
    session_id, ordinal, _ = place
    if not ordinal:
        return None
    if text is None or _hash(place, text) != stored:
        raise SummaryDamaged(session_id)
    return text.decode()


def _insert(
    connection: sqlite3.Connection,
    number: int,
    place: tuple[str, int, int],
    created_ms: int,
    text: bytes,
) -> None:
    connection.execute(
        "INSERT INTO summaries VALUES (?, ?, ?, ?, ?)",
        (number, place[1], created_ms, text, _hash(place, text)),
    )


def _hash(place: tuple[str, int, int], text: bytes) -> bytes:
    return sha256(_encode(place) + text).digest()
