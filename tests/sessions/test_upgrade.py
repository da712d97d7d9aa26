"""A file of an earlier schema goes on as if it had always had the last one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest

from moltbot_gw.messages import AssistantMessage, UserMessage
from moltbot_gw.stored import SessionSettings
from tests.sessions.conftest import MakeStore
from tests.sessions.support import DONE, KEY, Pump, end, start

_MESSAGES = (
    b'{"role":"user","content":"hello"}',
    b'{"role":"assistant","text":"hi","stop_reason":"stop"}',
    b'{"role":"user","content":"and then?"}',
)


def _chain() -> list[tuple[int, str, int, bytes, bytes]]:
    """Return rows as version 1 wrote them; the format of their hashes never changes."""
    rows = []
    current = sha256(b"id-1").digest()
    for seq, body in enumerate(_MESSAGES, 1):
        run_id = "run-2" if seq == 3 else "run-1"
        place = json.dumps(["id-1", seq, run_id, 1000 * seq], separators=(",", ":"))
        current = sha256(current + place.encode() + body).digest()
        rows.append((seq, run_id, 1000 * seq, body, current))
    return rows


@pytest.fixture
def version_1(path: Path) -> Path:
    """A file of version 1: one whole turn, and one that a stop cut off."""
    path.parent.mkdir()
    script = files("moltbot_gw.sessions") / "schema" / "0001.sql"
    rows = _chain()
    with closing(sqlite3.connect(path, isolation_level=None)) as own:
        own.execute("PRAGMA journal_mode=WAL")
        own.executescript(script.read_text("utf-8"))
        own.execute(
            "INSERT INTO sessions VALUES (1, ?, 'id-1', 1, 'main', 1000, 3000, 0, 0,"
            " 'local', 'm1', 7, 3, 10, 3, ?)",
            (KEY, rows[-1][-1]),
        )
        own.executemany("INSERT INTO entries VALUES (1, ?, ?, ?, ?, ?)", rows)
        own.execute(
            "INSERT INTO runs VALUES (1, 'run-1', 'local', 'm1', 1000, 'done', 2000,"
            " NULL, 7, 3, 10, 4, 2)"
        )
        own.execute(
            "INSERT INTO runs (session, run_id, provider, model, started_ms, state)"
            " VALUES (1, 'run-2', 'local', 'm1', 3000, 'running')"
        )
    return path


_RUNS = [
    (1, "run-1", "local", "m1", 1000, "done", 2000, None, 7, 3, 10, 4, 2, None),
    (1, "run-2", "local", "m1", 3000, "interrupted", *[None] * 7, "key"),
]

_OTHERS = {
    "kept_runs": ("key", b"\x01", "run-9", "main", KEY, 5000, b"{}"),
    "summaries": (1, 1, 6000, b"what was said", b"\x02"),
}


@pytest.fixture
def version_3(version_1: Path) -> Path:
    """The same, upgraded twice, with a kept run and a summary."""
    folder = files("moltbot_gw.sessions") / "schema"
    with closing(sqlite3.connect(version_1, isolation_level=None)) as own:
        for number in (2, 3):
            own.executescript((folder / f"{number:04}.sql").read_text("utf-8"))
        own.execute(
            "INSERT INTO runs SELECT 9, 'orphan', provider, model, started_ms, state,"
            " ended_ms, error_code, NULL, NULL, NULL, NULL, NULL, NULL FROM runs"
            " WHERE run_id = 'run-1'"
        )
        own.execute("UPDATE runs SET kept_key = 'key' WHERE run_id = 'run-2'")
        for table, row in _OTHERS.items():
            marks = ", ".join("?" * len(row))
            own.execute(f"INSERT INTO {table} VALUES ({marks})", row)
    return version_1


def test_rows_are_taken_over_as_they_are(
    version_3: Path, make_store: MakeStore, pump: Pump
) -> None:
    store = make_store()
    pump.wait(store.open())
    pump.wait(store.close())
    with closing(sqlite3.connect(version_3)) as own:
        for table, row in _OTHERS.items():
            assert own.execute(f"SELECT * FROM {table}").fetchall() == [row]
        entries = own.execute(
            "SELECT session, seq, run_id, created_ms, message, hash FROM entries"
        )
        assert entries.fetchall() == [(1, *row) for row in _chain()]
        assert own.execute("SELECT * FROM runs").fetchall() == _RUNS
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            own.execute("UPDATE runs SET state = 'walking'")
        assert own.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not own.execute("PRAGMA foreign_key_check").fetchall()


@pytest.mark.usefixtures("version_1")
def test_all_that_was_stored_is_read(make_store: MakeStore, pump: Pump) -> None:
    store = make_store()
    assert pump.wait(store.open()) == 1
    history = pump.wait(store.history(KEY, 0))
    assert history.messages == (
        UserMessage(content="hello"),
        AssistantMessage(text="hi", stop_reason="stop"),
        UserMessage(content="and then?"),
    )
    assert history.settings == SessionSettings()
    (summary,) = pump.wait(store.list_sessions())
    assert (summary.messages, summary.total_tokens) == (3, 10)
    transcript = pump.wait(store.transcript(KEY, 10))
    assert transcript is not None
    states = [one.state for one in transcript.entries]
    assert states == ["done", "done", "interrupted"]
    (line,) = pump.wait(store.usage(0))
    assert (line.runs, line.total_tokens) == (1, 10)


@pytest.mark.usefixtures("version_1")
def test_what_is_stored_next_is_of_the_last_version(
    make_store: MakeStore, pump: Pump
) -> None:
    store = make_store()
    begun = start("run-2", idempotency_key="k", at_ms=5000)
    pump.wait(store.begin_turn(begun))
    pump.wait(store.end_turn(end("run-2", kept=DONE, at_ms=6000)))
    pump.wait(
        store.patch(
            KEY, {"label": "mine"}, agent_id="main", new_session_id="x", now_ms=7000
        )
    )
    pump.wait(store.close())

    store = make_store()
    assert pump.wait(store.open()) == 0
    history = pump.wait(store.history(KEY, 0))
    assert (len(history.messages), history.settings.label) == (5, "mine")
    found = pump.wait(store.find_kept("k", 0))
    assert found is not None
    assert found.outcome == DONE
