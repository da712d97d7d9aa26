"""What happens when the storage is full, damaged, or not there; and afterwards."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from moltbot_gw.errors import StoreFailed
from moltbot_gw.messages import AssistantMessage, UserMessage
from moltbot_gw.sessions import SqliteSessionStore, faults
from tests.sessions.conftest import MakeStore
from tests.sessions.support import KEY, Pump, end, start

Logged = list[LogEvent]


@pytest.fixture
def logged() -> Iterator[Logged]:
    events: Logged = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


def _details(logged: Logged) -> list[str]:
    return [event["detail"] for event in logged if "detail" in event]


def _on_writer(
    store: SqliteSessionStore, pump: Pump, work: Callable[[sqlite3.Connection], Any]
) -> Any:
    """Do *work* on the writing connection, to cause what cannot be caused outside."""
    return pump.wait(store._writer.ask(lambda own, _: work(own), None))


def _fill(store: SqliteSessionStore, pump: Pump, turns: int = 40) -> None:
    for number in range(turns):
        pump.wait(store.begin_turn(start(f"run-{number}")))
        answer = AssistantMessage(text=f"answer {number} " + "x" * 300)
        pump.wait(store.end_turn(end(f"run-{number}", messages=(answer,))))


def _edit(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as own:
        own.execute("PRAGMA foreign_keys=ON")
        assert own.execute(statement, values).rowcount > 0


class TestDamagedFile:
    @pytest.mark.parametrize("damage", ["garbage", "half", "zeroed"])
    def test_is_refused_untouched_and_tried_again(
        self,
        damage: str,
        path: Path,
        make_store: MakeStore,
        pump: Pump,
        logged: Logged,
    ) -> None:
        store = make_store()
        _fill(store, pump)
        pump.wait(store.close())
        whole = path.read_bytes()
        bad = {
            "garbage": b"not a database at all" + whole[21:],
            "half": whole[: len(whole) // 2],
            "zeroed": whole[:4096] + bytes(4096) + whole[8192:],
        }[damage]
        path.write_bytes(bad)

        store = make_store()
        with pytest.raises(StoreFailed, match="cannot be opened: it is damaged"):
            pump.wait(store.open())
        with pytest.raises(StoreFailed, match="cannot be opened: it is damaged"):
            pump.wait(store.history(KEY, 0))
        assert path.read_bytes() == bad
        assert _details(logged)

        path.write_bytes(whole)
        assert len(pump.wait(store.history(KEY, 0)).messages) == 80
        pump.wait(store.begin_turn(start("run-new")))

    def test_damage_met_while_open_is_survived(
        self, path: Path, store: SqliteSessionStore, pump: Pump
    ) -> None:
        def meet_damage(_: sqlite3.Connection) -> None:
            error = sqlite3.DatabaseError("database disk image is malformed")
            raise error

        pump.wait(store.begin_turn(start()))
        with pytest.raises(StoreFailed, match="failed: it is damaged"):
            _on_writer(store, pump, meet_damage)
        assert pump.wait(store.open()) == 0
        pump.wait(store.end_turn(end()))
        assert len(pump.wait(store.history(KEY, 0)).messages) == 2


class TestDamagedConversation:
    @pytest.mark.parametrize(
        ("statement", "seq"),
        [
            ("UPDATE entries SET run_id = 'other' WHERE seq = 1 AND session = 1", 1),
            ("UPDATE entries SET created_ms = 5 WHERE seq = 2 AND session = 1", 2),
            ("UPDATE entries SET hash = x'00' WHERE seq = 3 AND session = 1", 3),
            ("UPDATE entries SET place = place + 5 WHERE seq = 4 AND session = 1", 4),
            ("DELETE FROM entries WHERE seq = 2 AND session = 1", 2),
            ("DELETE FROM entries WHERE seq = 4 AND session = 1", 4),
            ("DELETE FROM entries WHERE session = 1", 1),
            ("UPDATE sessions SET head = x'00' WHERE number = 1", 5),
            ("UPDATE sessions SET last_seq = 3 WHERE number = 1", 5),
        ],
    )
    def test_is_refused_and_harms_no_other(
        self,
        statement: str,
        seq: int,
        path: Path,
        make_store: MakeStore,
        pump: Pump,
        logged: Logged,
    ) -> None:
        store = make_store()
        _fill(store, pump, turns=2)
        pump.wait(store.begin_turn(start(key="other", session_id="id-other")))
        pump.wait(store.close())
        _edit(path, statement)

        store = make_store()
        assert pump.wait(store.open()) == 1
        with pytest.raises(StoreFailed, match="stored conversation is damaged"):
            pump.wait(store.history(KEY, 0))
        assert _details(logged) == [f"session id-1 is damaged at entry {seq}"]
        assert len(pump.wait(store.history("other", 0)).messages) == 1
        assert len(pump.wait(store.list_sessions())) == 2

        assert pump.wait(store.reset(KEY, "id-2", 9000))
        assert pump.wait(store.history(KEY, 0)).session_id == "id-2"

    def test_flipped_byte_of_a_message_is_seen(
        self, path: Path, make_store: MakeStore, pump: Pump, logged: Logged
    ) -> None:
        store = make_store()
        _fill(store, pump, turns=5)
        pump.wait(store.close())
        whole = path.read_bytes()
        assert whole.count(b"answer 3") == 1
        path.write_bytes(whole.replace(b"answer 3", b"answer 7"))

        store = make_store()
        assert pump.wait(store.open()) == 0
        with pytest.raises(StoreFailed, match="stored conversation is damaged"):
            pump.wait(store.history(KEY, 0))
        assert _details(logged) == ["session id-1 is damaged at entry 8"]

    def test_message_that_nobody_understands_is_damage(
        self, store: SqliteSessionStore, pump: Pump, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(
                "moltbot_gw.sessions.codec._encode", lambda _: b'{"role":"nobody"}'
            )
            pump.wait(store.begin_turn(start()))
            with pytest.raises(StoreFailed, match="conversation is damaged"):
                pump.wait(store.history(KEY, 0))


class TestFullDisk:
    def test_is_told_and_survived(self, store: SqliteSessionStore, pump: Pump) -> None:
        pump.wait(store.begin_turn(start()))
        _on_writer(
            store,
            pump,
            lambda own: own.execute(
                "PRAGMA max_page_count = 1"  # that is: as many as there are
            ).fetchone(),
        )
        big = (UserMessage(content="x" * 100_000),)
        with pytest.raises(StoreFailed, match="failed: the disk is full"):
            pump.wait(store.begin_turn(start("run-2", messages=big)))
        assert len(pump.wait(store.history(KEY, 0)).messages) == 1

        _on_writer(
            store,
            pump,
            lambda own: own.execute("PRAGMA max_page_count = 100000").fetchone(),
        )
        pump.wait(store.begin_turn(start("run-2", messages=big)))
        assert len(pump.wait(store.history(KEY, 0)).messages) == 2

    def test_of_a_real_file_system_loses_nothing_acknowledged(
        self, tmp_path: Path, pump: Pump
    ) -> None:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)],
            check=False,
            capture_output=True,
        )
        if mounted.returncode:
            pytest.skip("needs the right to mount a small file system")
        try:
            ballast = tmp_path / "ballast"
            ballast.write_bytes(bytes(300_000))
            store = SqliteSessionStore(tmp_path / "s", pump, reopen_interval=0.0)
            acked = self._turns_until_failure(store, pump)
            assert acked > 10
            ballast.unlink()
            pump.wait(store.begin_turn(start("afterwards")))
            assert len(pump.wait(store.history(KEY, 0)).messages) == acked + 1
            pump.wait(store.close())
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)

    def _turns_until_failure(self, store: SqliteSessionStore, pump: Pump) -> int:
        message = (UserMessage(content="x" * 2000),)
        reasons: list[str] = []
        acked = 0
        while not reasons:
            begun = store.begin_turn(start(f"run-{acked}", messages=message))
            try:
                pump.wait(begun)
                acked += 1
            except StoreFailed as error:
                reasons.append(error.message)
        assert reasons == ["The session store failed: the disk is full."]
        return acked


class TestUnusableStorage:
    def test_read_only_is_told_and_survived(
        self, store: SqliteSessionStore, pump: Pump
    ) -> None:
        pump.wait(store.begin_turn(start()))
        _on_writer(store, pump, lambda own: own.execute("PRAGMA query_only=1"))
        with pytest.raises(StoreFailed, match="failed: it is read-only"):
            pump.wait(store.end_turn(end()))
        pump.wait(store.end_turn(end()))

    def test_folder_that_is_a_file_is_told_and_survived(
        self, path: Path, store: SqliteSessionStore, pump: Pump
    ) -> None:
        path.parent.write_text("in the way")
        with pytest.raises(StoreFailed, match="cannot be opened: its file cannot be"):
            pump.wait(store.list_sessions())
        path.parent.unlink()
        assert pump.wait(store.list_sessions()) == []

    def test_client_never_hears_the_path(
        self, path: Path, store: SqliteSessionStore, pump: Pump, logged: Logged
    ) -> None:
        path.parent.mkdir()
        path.mkdir()
        with pytest.raises(StoreFailed) as caught:
            pump.wait(store.open())
        assert str(path) not in caught.value.message
        assert _details(logged)

    def test_refusal_is_repeated_without_a_look_at_the_file(
        self, path: Path, pump: Pump, logged: Logged
    ) -> None:
        path.parent.mkdir()
        path.write_bytes(b"garbage" * 1000)
        store = SqliteSessionStore(path, pump, reopen_interval=3600.0)
        for _ in range(3):
            with pytest.raises(StoreFailed, match="it is damaged"):
                pump.wait(store.open())
        path.unlink()
        with pytest.raises(StoreFailed, match="it is damaged"):
            pump.wait(store.begin_turn(start()))
        assert len(_details(logged)) == 1
        pump.wait(store.close())

    def test_locked_by_another_is_told_and_survived(
        self, path: Path, store: SqliteSessionStore, pump: Pump
    ) -> None:
        pump.wait(store.begin_turn(start()))
        _on_writer(store, pump, lambda own: own.execute("PRAGMA busy_timeout=1"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreFailed, match="another program has locked it"):
                pump.wait(store.end_turn(end()))
        pump.wait(store.end_turn(end()))

    def test_nothing_is_acknowledged_into_a_deleted_file(
        self, path: Path, store: SqliteSessionStore, pump: Pump, logged: Logged
    ) -> None:
        pump.wait(store.begin_turn(start()))
        assert pump.wait(store.history(KEY, 0)).session_id == "id-1"
        for file in path.parent.iterdir():
            file.unlink()
        with pytest.raises(StoreFailed, match="its file was moved or replaced"):
            pump.wait(store.end_turn(end()))
        assert str(path) in _details(logged)[0]

    def test_failure_to_mark_the_interrupted_is_survived(
        self,
        store: SqliteSessionStore,
        pump: Pump,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(_: sqlite3.Connection) -> int:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr("moltbot_gw.sessions.runs.interrupt", fail)
            with pytest.raises(StoreFailed, match="cannot be opened: the disk is full"):
                pump.wait(store.open())
        assert pump.wait(store.open()) == 0


class _Coded(sqlite3.OperationalError):
    """An error as Python 3.11 and later raise it."""

    def __init__(self, code: int) -> None:
        super().__init__("words that nobody knows")
        self.sqlite_errorcode = code


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (_Coded(13), "the disk is full"),
        (_Coded(1032), "it is read-only"),
        (_Coded(2826), "the disk reports errors"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
        (
            sqlite3.OperationalError("attempt to write a readonly database"),
            "it is read-only",
        ),
        (sqlite3.OperationalError("disk I/O error"), "the disk reports errors"),
        (sqlite3.DatabaseError("file is not a database"), "it is damaged"),
        (sqlite3.DatabaseError("database disk image is malformed"), "it is damaged"),
        (
            sqlite3.OperationalError("database is locked"),
            "another program has locked it",
        ),
        (
            sqlite3.OperationalError("unable to open database file"),
            "its file cannot be opened",
        ),
        (
            sqlite3.OperationalError("no such table: x"),
            "an internal error, see the log",
        ),
        (OSError(28, "No space left on device", "/secret"), "the disk is full"),
        (OSError(30, "Read-only file system", "/secret"), "it is read-only"),
        (PermissionError(13, "Permission denied"), "its file cannot be opened"),
        (KeyError("x"), "an internal error, see the log"),
    ],
)
def test_client_hears_one_reason(error: Exception, reason: str) -> None:
    failed = faults.for_client(error)
    assert failed.message == f"The session store failed: {reason}."


def test_permissions_of_another_user(
    path: Path, make_store: MakeStore, pump: Pump
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    store = make_store()
    pump.wait(store.open())
    pump.wait(store.close())
    path.chmod(0o400)
    with pytest.raises(StoreFailed, match="it is read-only"):
        pump.wait(make_store().open())
    path.chmod(0o600)
