"""A stored entry: its message as JSON, and the hash that chains it to those before.

The chain sees what ``quick_check`` does not: flipped bytes inside a message, entries
that are missing, moved or put into another session.  hash(n) is SHA-256 over hash(n-1)
and the entry; hash(0) is SHA-256 of the session id.  It guards against disks and
accidents; who can write the file can also write a new chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from moltbot_gw.messages import Message
from moltbot_gw.sessions.faults import TranscriptDamaged

EntryRow = tuple[int, int, str, int, bytearray, bytearray]
"""An entry to store: session, seq, run_id, created_ms, message, hash.

Of all that holds bytes, sqlite3 takes only a ``bytearray`` as it is.  For any other, as
for None and a bool, it first looks for an adapter, at ten times the cost.
"""

StoredEntry = tuple[int, str, int, bytes, bytes]
"""What is read of one: seq, run_id, created_ms, message, hash."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


def first_hash(session_id: str) -> bytes:
    """Return the head of an empty chain."""
    return sha256(session_id.encode()).digest()


def _next_hash(
    previous: bytes, place: tuple[str, int, str, int], message: bytes
) -> bytes:
    """Return the hash of an entry; *place* is session_id, seq, run_id, created_ms.

    A JSON array tells where it ends, so that no two entries read the same.
    """
    return sha256(previous + _encode(place) + message).digest()


def chained(
    session: int,
    session_id: str,
    last_seq: int,
    head: bytes,
    messages: Iterable[Message],
    run_id: str,
    created_ms: int,
) -> list[EntryRow]:
    """Return the rows that append *messages* to the chain that ends in *head*."""
    links = [
        (seq, run_id, created_ms, _encode(message))
        for seq, message in enumerate(messages, last_seq + 1)
    ]
    return _linked(session, session_id, head, links)


def rechained(
    session: int, session_id: str, entries: Iterable[StoredEntry]
) -> list[EntryRow]:
    """Return the rows that begin the chain of *session_id* with copies of *entries*."""
    links = [
        (seq, run_id, created_ms, body)
        for seq, (_, run_id, created_ms, body, _) in enumerate(entries, 1)
    ]
    return _linked(session, session_id, first_hash(session_id), links)


def _linked(
    session: int,
    session_id: str,
    head: bytes,
    links: Iterable[tuple[int, str, int, bytes]],
) -> list[EntryRow]:
    """Return the rows of *links* (seq, run_id, created_ms, message) behind *head*."""
    rows: list[EntryRow] = []
    for seq, run_id, created_ms, body in links:
        head = _next_hash(head, (session_id, seq, run_id, created_ms), body)
        rows.append(
            (session, seq, run_id, created_ms, bytearray(body), bytearray(head))
        )
    return rows


def checked(
    session_id: str, last_seq: int, head: bytes, rows: Iterable[StoredEntry]
) -> tuple[Message, ...]:
    """Return the messages of *rows*, in order.

    Raises ``TranscriptDamaged`` unless they are the whole chain that ends in *head*.
    """
    return _checked(session_id, 0, first_hash(session_id), last_seq, head, rows)


def checked_tail(
    session_id: str,
    last_seq: int,
    head: bytes,
    rows: Sequence[StoredEntry],
    limit: int,
) -> tuple[Message, ...]:
    """Return the last *limit* messages of a chain, all if there are no more.

    *rows* are those entries and, if there is one, the entry before, for its hash.
    Raises ``TranscriptDamaged`` unless they are the end of the chain.
    """
    after = max(0, last_seq - limit)
    if after == 0:
        return checked(session_id, last_seq, head, rows)
    if not rows or rows[0][0] != after:
        raise TranscriptDamaged(session_id, after)
    return _checked(session_id, after, rows[0][-1], last_seq, head, rows[1:])


def _checked(
    session_id: str,
    after: int,
    current: bytes,
    last_seq: int,
    head: bytes,
    rows: Iterable[StoredEntry],
) -> tuple[Message, ...]:
    """Follow the chain from the hash *current* of the entry *after*."""
    messages: list[Message] = []
    expected = after + 1
    for seq, run_id, created_ms, body, stored in rows:
        current = _next_hash(current, (session_id, seq, run_id, created_ms), body)
        if seq != expected or current != stored:
            raise TranscriptDamaged(session_id, expected)
        try:
            messages.append(_decode(body))
        except msgspec.DecodeError as error:
            raise TranscriptDamaged(session_id, expected) from error
        expected += 1
    if expected != last_seq + 1 or current != head:
        raise TranscriptDamaged(session_id, expected)
    return tuple(messages)
