"""Which files the store makes, takes and refuses."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from moltbot_gw.errors import StoreFailed
from moltbot_gw.sessions import SqliteSessionStore, connection
from tests.sessions.conftest import MakeStore
from tests.sessions.support import KEY, Pump, end, start


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as own:
        own.execute(statement)
        own.commit()


def _filled(make_store: MakeStore, pump: Pump) -> None:
    store = make_store()
    pump.wait(store.begin_turn(start()))
    pump.wait(store.end_turn(end()))
    pump.wait(store.close())


def test_only_the_owner_can_read_what_is_stored(
    path: Path, store: SqliteSessionStore, pump: Pump
) -> None:
    before = os.umask(0o022)
    try:
        pump.wait(store.begin_turn(start()))
    finally:
        os.umask(before)
    assert _mode(path.parent) == 0o700
    made = sorted(path.parent.iterdir())
    assert [one.name[len(path.name) :] for one in made] == ["", "-shm", "-wal"]
    assert {_mode(one) for one in made} == {0o600}


def test_file_that_others_could_read_is_closed_to_them(
    path: Path, make_store: MakeStore, pump: Pump
) -> None:
    _filled(make_store, pump)
    path.chmod(0o644)
    assert pump.wait(make_store().open()) == 0
    assert _mode(path) == 0o600


def test_missing_folders_are_made_private(tmp_path: Path, pump: Pump) -> None:
    store = SqliteSessionStore(tmp_path / "a" / "b" / "s.sqlite", pump)
    pump.wait(store.open())
    pump.wait(store.close())
    assert _mode(tmp_path / "a") == _mode(tmp_path / "a" / "b") == 0o700


def test_closing_leaves_one_file(path: Path, make_store: MakeStore, pump: Pump) -> None:
    _filled(make_store, pump)
    assert list(path.parent.iterdir()) == [path]


def test_turns_are_there_after_a_restart(make_store: MakeStore, pump: Pump) -> None:
    _filled(make_store, pump)
    store = make_store()
    assert pump.wait(store.open()) == 0
    assert len(pump.wait(store.history(KEY, 0)).messages) == 2


def test_runs_left_running_are_interrupted_once(
    make_store: MakeStore, pump: Pump
) -> None:
    store = make_store()
    pump.wait(store.begin_turn(start("run-1")))
    pump.wait(store.begin_turn(start("run-2")))
    pump.wait(store.end_turn(end("run-2")))
    pump.wait(store.close())
    store = make_store()
    assert pump.wait(store.open()) == 1
    with pytest.raises(StoreFailed):
        pump.wait(store.end_turn(end("run-1")))
    pump.wait(store.close())
    assert pump.wait(make_store().open()) == 0


def test_any_first_call_opens_the_file(make_store: MakeStore, pump: Pump) -> None:
    assert pump.wait(make_store().list_sessions()) == []


def test_empty_file_counts_as_none(
    path: Path, store: SqliteSessionStore, pump: Pump
) -> None:
    path.parent.mkdir()
    path.touch(mode=0o600)
    assert pump.wait(store.open()) == 0


def test_file_without_tables_counts_as_none(
    path: Path, store: SqliteSessionStore, pump: Pump
) -> None:
    path.parent.mkdir()
    _execute(path, "PRAGMA journal_mode=WAL")  # as after a crash while it was made
    assert path.stat().st_size > 0
    assert pump.wait(store.open()) == 0


@pytest.mark.parametrize(
    ("pragma", "writer", "reader"),
    [
        ("journal_mode", "wal", "wal"),
        ("synchronous", 2, 2),
        ("busy_timeout", 5000, 5000),
        ("trusted_schema", 0, 0),
        ("foreign_keys", 1, 0),
        ("query_only", 0, 1),
    ],
)
def test_connections_are_set_up(
    pragma: str,
    writer: object,
    reader: object,
    store: SqliteSessionStore,
    pump: Pump,
) -> None:
    def ask(own: sqlite3.Connection, _: None) -> object:
        return own.execute(f"PRAGMA {pragma}").fetchone()[0]

    pump.wait(store.open())
    assert pump.wait(store._writer.ask(ask, None)) == writer
    assert pump.wait(store._reader.ask(ask, None)) == reader


def test_each_schema_file_sets_its_own_version(tmp_path: Path) -> None:
    folder = files("moltbot_gw.sessions") / "schema"
    scripts = sorted(one.name for one in folder.iterdir())
    with closing(sqlite3.connect(tmp_path / "s", isolation_level=None)) as own:
        for number, name in enumerate(scripts, 1):
            assert name == f"{number:04}.sql"
            own.executescript((folder / name).read_text("utf-8"))
            assert own.execute("PRAGMA user_version").fetchone() == (number,)


def test_newer_schema_is_refused_untouched(
    path: Path, make_store: MakeStore, pump: Pump
) -> None:
    _filled(make_store, pump)
    _execute(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match=r"cannot be opened: .*newer version"):
        pump.wait(make_store().open())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE theirs (x)",
        "PRAGMA application_id = 77",
        "PRAGMA user_version = 1",
    ],
)
def test_foreign_file_is_refused_untouched(
    statement: str, path: Path, store: SqliteSessionStore, pump: Pump
) -> None:
    path.parent.mkdir()
    _execute(path, statement)
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match="belongs to another program"):
        pump.wait(store.open())
    assert path.read_bytes() == before


def test_failed_migration_leaves_the_version_before(
    path: Path,
    store: SqliteSessionStore,
    pump: Pump,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = connection._scripts()
    bad = "BEGIN IMMEDIATE; CREATE TABLE t (x) STRICT; COMMIT;"
    monkeypatch.setattr(connection, "_scripts", lambda: [*good, bad])
    with pytest.raises(StoreFailed, match="internal error"):
        pump.wait(store.open())
    monkeypatch.undo()
    assert pump.wait(store.open()) == 0


def test_old_sqlite_is_named(
    store: SqliteSessionStore, pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(StoreFailed, match=r"SQLite 3\.37 or later is needed"):
        pump.wait(store.open())
