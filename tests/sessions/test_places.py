"""Where entries lie in the file: together, and none is read for another's sake."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.errors import StoreFailed
from moltbot_gw.sessions import SqliteSessionStore, reading, transcripts
from moltbot_gw.sessions.connection import open_writer
from moltbot_gw.sessions.turns import SEQ_BITS
from tests.sessions.conftest import MakeStore
from tests.sessions.support import KEY, Pump, end, start


def test_what_may_be_large_is_no_key(tmp_path: Path) -> None:
    # SQLite compares whole rows there, and reads each again that it meets.
    with closing(open_writer(tmp_path / "s")) as own:
        tables = own.execute(
            "SELECT name FROM sqlite_schema WHERE sql LIKE '%WITHOUT ROWID%'"
        ).fetchall()
        assert tables == [("runs",)]
        columns = own.execute("SELECT type FROM pragma_table_info('runs')").fetchall()
    assert ("BLOB",) not in columns


class Explained:
    """A connection that keeps the plans of what it is asked."""

    def __init__(self, own: sqlite3.Connection) -> None:
        self._own = own
        self.steps: list[str] = []

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        plan = self._own.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.steps += [row[3] for row in plan]
        return self._own.execute(sql, parameters)


def test_session_is_read_in_one_stretch(tmp_path: Path) -> None:
    with closing(open_writer(tmp_path / "s")) as own:
        connection: Any = Explained(own)
        reading.history(connection, reading.Wanted(KEY, 0))
        transcripts.transcript(connection, transcripts.Tail(KEY, 5))
    found = [step for step in connection.steps if "entries" in step]
    assert len(found) == 2
    for step in found:
        assert "INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in step
    assert not [step for step in connection.steps if "TEMP B-TREE" in step]


def test_neighbours_of_a_deleted_session_stay(
    path: Path, store: SqliteSessionStore, pump: Pump
) -> None:
    for number in (1, 2, 3):
        name = {"key": f"agent:main:{number}", "session_id": f"id-{number}"}
        pump.wait(store.begin_turn(start(f"run-{number}", **name)))
        pump.wait(store.end_turn(end(f"run-{number}", **name)))
    assert pump.wait(store.delete("agent:main:2"))
    with closing(sqlite3.connect(path)) as own:
        places = own.execute("SELECT session, seq FROM entries").fetchall()
    assert places == [(1, 1), (1, 2), (3, 1), (3, 2)]


def test_session_that_is_full_takes_nothing_more(
    path: Path, make_store: MakeStore, pump: Pump
) -> None:
    store = make_store()
    pump.wait(store.begin_turn(start()))
    pump.wait(store.end_turn(end()))
    pump.wait(store.close())
    with closing(sqlite3.connect(path)) as own:
        own.execute("UPDATE sessions SET last_seq = ?", (2**SEQ_BITS - 1,))
        own.commit()
    store = make_store()
    with pytest.raises(StoreFailed, match="too long"):
        pump.wait(store.begin_turn(start("run-2")))
    pump.wait(store.begin_turn(start("run-3", key="agent:main:b", session_id="b")))
