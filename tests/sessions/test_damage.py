"""What a damaged row costs beside the history: that one thing, and clear words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from moltbot_gw.errors import StoreFailed
from moltbot_gw.messages import UserMessage
from moltbot_gw.sessions import SqliteSessionStore
from moltbot_gw.stored import SessionSettings, Summary
from tests.sessions.conftest import MakeStore
from tests.sessions.support import DONE, KEY, Pump, end, start

Call = Callable[[SqliteSessionStore], Deferred[Any]]


@pytest.fixture
def details() -> Iterator[list[str]]:
    """What the operator is told."""
    told: list[str] = []

    def observe(event: LogEvent) -> None:
        told.extend([event["detail"]] if "detail" in event else [])

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    yield told
    globalLogPublisher.removeObserver(observer)


@pytest.fixture
def filled(make_store: MakeStore, pump: Pump, path: Path) -> Path:
    """A file with a session of six entries with settings, another, and a key."""
    store = make_store()
    asked = tuple(UserMessage(content=str(n)) for n in range(1, 6))
    pump.wait(store.begin_turn(start(messages=asked, idempotency_key="k")))
    pump.wait(store.end_turn(end(kept=DONE)))
    pump.wait(store.begin_turn(start(key="other", session_id="id-other")))
    pump.wait(store.end_turn(end(key="other", session_id="id-other")))
    _label(store, pump, KEY, "mine")
    pump.wait(store.close())
    return path


def _label(store: SqliteSessionStore, pump: Pump, key: str, label: str) -> None:
    changes = {"label": label}
    pump.wait(
        store.patch(key, changes, agent_id="main", new_session_id="x", now_ms=3000)
    )


def _edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as own:
        assert own.execute(statement).rowcount == 1


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("DELETE FROM entries WHERE session = 1 AND seq = 3", 3),
        ("UPDATE entries SET hash = x'00' WHERE session = 1 AND seq = 3", 4),
        ("UPDATE entries SET run_id = 'x' WHERE session = 1 AND seq = 4", 4),
        ("DELETE FROM entries WHERE session = 1 AND seq = 5", 5),
        ("UPDATE entries SET message = x'00' WHERE session = 1 AND seq = 6", 6),
        ("DELETE FROM entries WHERE session = 1 AND seq = 6", 6),
        ("UPDATE sessions SET head = x'00' WHERE number = 1", 7),
        ("UPDATE sessions SET last_seq = 99 WHERE number = 1", 96),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.transcript(KEY, 3),
        lambda store: store.compact(KEY, 3, "id-2", 9000),
    ],
)
def test_damage_in_the_end_of_a_session_is_seen(
    statement: str,
    seq: int,
    call: Call,
    filled: Path,
    make_store: MakeStore,
    pump: Pump,
    details: list[str],
) -> None:
    _edit(filled, statement)
    store = make_store()
    with pytest.raises(StoreFailed, match="stored conversation is damaged"):
        pump.wait(call(store))
    assert details == [f"session id-1 is damaged at entry {seq}"]
    found = pump.wait(store.find_session(KEY))
    assert found is not None
    assert found.session_id == "id-1"


def test_damage_before_the_end_of_a_session_is_not_looked_at(
    filled: Path, make_store: MakeStore, pump: Pump
) -> None:
    _edit(filled, "UPDATE entries SET message = x'00' WHERE session = 1 AND seq = 3")
    store = make_store()
    transcript = pump.wait(store.transcript(KEY, 3))
    assert transcript is not None
    assert [one.seq for one in transcript.entries] == [4, 5, 6]
    compacted = pump.wait(store.compact(KEY, 3, "id-2", 9000))
    assert compacted is not None
    assert len(pump.wait(store.history(KEY, 0)).messages) == compacted.kept == 3


@pytest.mark.parametrize("text", ['{"label":1}', "{", '{"label":"\ufffd'])
def test_damaged_settings_are_told_to_who_would_obey_them(
    text: str,
    filled: Path,
    make_store: MakeStore,
    pump: Pump,
    details: list[str],
) -> None:
    _edit(filled, f"UPDATE sessions SET settings = '{text}' WHERE number = 1")
    store = make_store()
    calls: tuple[Callable[[], Deferred[Any]], ...] = (
        lambda: store.history(KEY, 0),
        lambda: store.transcript(KEY, 1),
        lambda: store.patch(KEY, {}, agent_id="a", new_session_id="x", now_ms=0),
    )
    for call in calls:
        with pytest.raises(StoreFailed, match="What was set for this session is"):
            pump.wait(call())
    assert details == ["the settings of session id-1 are damaged"] * 3


@pytest.mark.parametrize(
    "text",
    ["'{'", "CAST(x'7bff7d' AS TEXT)", "CAST(x'7b226c6162656c223a22ff227d' AS TEXT)"],
)
def test_damaged_settings_harm_no_other_and_can_be_mended(
    text: str, filled: Path, make_store: MakeStore, pump: Pump
) -> None:
    _edit(filled, f"UPDATE sessions SET settings = {text} WHERE number = 1")
    store = make_store()
    listed = pump.wait(store.list_sessions())
    assert [one.settings for one in listed] == [SessionSettings()] * 2
    _label(store, pump, "other", "mine")
    assert pump.wait(store.reset(KEY, "id-2", 9000))
    assert pump.wait(store.history(KEY, 0)).settings == SessionSettings()


def test_damaged_settings_pass_through_a_turn_without_a_look(
    filled: Path, make_store: MakeStore, pump: Pump
) -> None:
    _edit(
        filled,
        "UPDATE sessions SET settings = CAST(x'7bff7d' AS TEXT) WHERE number = 1",
    )
    store = make_store()
    pump.wait(store.begin_turn(start("run-2", session_id="id-2")))
    with pytest.raises(StoreFailed, match="What was set for this session is"):
        pump.wait(store.history(KEY, 0))


@pytest.mark.parametrize("outcome", ["x'7b'", "x'7b227374617465223a22ff227d'"])
def test_damaged_outcome_is_told(
    outcome: str, filled: Path, make_store: MakeStore, pump: Pump
) -> None:
    _edit(filled, f"UPDATE kept_runs SET outcome = {outcome} WHERE key = 'k'")
    store = make_store()
    with pytest.raises(StoreFailed, match="kept outcome of this request is damaged"):
        pump.wait(store.find_kept("k", 0))


def test_unknown_setting_fails_its_caller_alone(
    store: SqliteSessionStore, pump: Pump
) -> None:
    with pytest.raises(StoreFailed, match="internal error"):
        pump.wait(
            store.patch(KEY, {"x": ""}, agent_id="a", new_session_id="x", now_ms=0)
        )
    assert pump.wait(store.list_sessions()) == []


@pytest.fixture
def summarized(filled: Path, make_store: MakeStore, pump: Pump) -> Path:
    """The file with a summary for the first three entries."""
    store = make_store()
    summary = Summary(
        session_key=KEY,
        session_id="id-1",
        first_seq=4,
        text="gist",
        tokens_before=1,
        at_ms=4000,
    )
    assert pump.wait(store.summarize(summary)) is True
    pump.wait(store.close())
    return filled


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE summaries SET text = x'67'",
        "UPDATE summaries SET text = x'ff'",
        "UPDATE summaries SET hash = x'00'",
        "UPDATE sessions SET first_kept = 5 WHERE number = 1",
        "UPDATE sessions SET compactions = 2 WHERE number = 1",
        "DELETE FROM summaries",
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.history(KEY, 0),
        lambda store: store.compact(KEY, 3, "id-2", 9000),
    ],
)
def test_damage_of_a_summary_is_seen(
    statement: str,
    call: Call,
    summarized: Path,
    make_store: MakeStore,
    pump: Pump,
    details: list[str],
) -> None:
    _edit(summarized, statement)
    store = make_store()
    with pytest.raises(StoreFailed, match="older part is damaged"):
        pump.wait(call(store))
    assert details == ["the summary of session id-1 is damaged"]
    assert pump.wait(store.reset(KEY, "id-3", 9500)) is True
    assert pump.wait(store.history(KEY, 0)).summary is None


def test_what_a_summary_stands_for_is_not_read(
    summarized: Path, make_store: MakeStore, pump: Pump
) -> None:
    """The work of a turn does not grow with what lies before."""
    _edit(
        summarized, "UPDATE entries SET message = x'00' WHERE session = 1 AND seq = 2"
    )
    _edit(summarized, "DELETE FROM entries WHERE session = 1 AND seq = 1")
    history = pump.wait(make_store().history(KEY, 0))
    assert (history.first_seq, len(history.messages)) == (4, 3)


@pytest.mark.parametrize("seq", [3, 4, 6])
def test_damage_behind_a_summary_is_seen(
    seq: int, summarized: Path, make_store: MakeStore, pump: Pump
) -> None:
    _edit(summarized, f"DELETE FROM entries WHERE session = 1 AND seq = {seq}")
    with pytest.raises(StoreFailed, match="is damaged"):
        pump.wait(make_store().history(KEY, 0))
