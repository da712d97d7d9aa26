"""Jobs that share a transaction."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from moltbot_gw.errors import StoreFailed
from moltbot_gw.messages import UserMessage
from moltbot_gw.sessions import SqliteSessionStore
from tests.sessions.support import KEY, PATIENCE, Pump, end, start


class Hold:
    """Keeps the writer busy, so that what is asked for meanwhile waits together."""

    def __init__(self, store: SqliteSessionStore, pump: Pump) -> None:
        self._released = threading.Event()
        self._pump = pump
        held = threading.Event()
        self._done: Deferred[bool] = store._writer.ask(
            lambda _, __: self._wait(held), None
        )
        assert held.wait(PATIENCE)

    def _wait(self, held: threading.Event) -> bool:
        held.set()
        return self._released.wait(PATIENCE)

    def release(self) -> None:
        self._released.set()
        assert self._pump.wait(self._done)


def test_waiting_turns_share_one_commit(store: SqliteSessionStore, pump: Pump) -> None:
    pump.wait(store.open())
    hold = Hold(store, pump)
    waiting = [store.begin_turn(start(f"run-{n}", key=f"key-{n}")) for n in range(200)]
    before = store.commits
    hold.release()
    for one in waiting:
        pump.wait(one)
    assert store.commits - before == 2
    assert len(pump.wait(store.list_sessions())) == 200


def test_more_than_a_batch_is_done_in_batches(
    store: SqliteSessionStore, pump: Pump
) -> None:
    pump.wait(store.open())
    hold = Hold(store, pump)
    waiting = [store.begin_turn(start(f"run-{n}")) for n in range(600)]
    before = store.commits
    hold.release()
    for one in waiting:
        pump.wait(one)
    assert store.commits - before == 4
    assert len(pump.wait(store.history(KEY, 0)).messages) == 600


def test_failing_turn_harms_no_neighbour(store: SqliteSessionStore, pump: Pump) -> None:
    pump.wait(store.open())
    hold = Hold(store, pump)
    first = store.begin_turn(start("run-1"))
    twice = store.begin_turn(start("run-1", messages=(UserMessage(content="again"),)))
    unknown = store.end_turn(end("run-9"))
    last = store.begin_turn(start("run-2"))
    hold.release()
    assert pump.wait(first) is pump.wait(last) is None
    for failed in (twice, unknown):
        with pytest.raises(StoreFailed):
            pump.wait(failed)
    messages = pump.wait(store.history(KEY, 0)).messages
    assert messages == (UserMessage(content="hello"), UserMessage(content="hello"))


def test_lost_transaction_fails_the_whole_batch(
    store: SqliteSessionStore, pump: Pump
) -> None:
    def lose(own: sqlite3.Connection, _: None) -> None:
        own.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    pump.wait(store.open())
    hold = Hold(store, pump)
    batch = [
        store.begin_turn(start("run-1")),
        store._writer.ask(lose, None),
        store.begin_turn(start("run-2")),
    ]
    hold.release()
    for one in batch:
        with pytest.raises(StoreFailed, match="the disk is full"):
            pump.wait(one)
    pump.wait(store.begin_turn(start("run-1")))
    assert len(pump.wait(store.history(KEY, 0)).messages) == 1


def test_failing_commit_fails_the_whole_batch(
    store: SqliteSessionStore, pump: Pump
) -> None:
    def orphan(own: sqlite3.Connection, _: None) -> None:
        own.execute("PRAGMA defer_foreign_keys=ON")
        own.execute("INSERT INTO summaries VALUES (77, 1, 0, x'00', x'00')")

    pump.wait(store.open())
    hold = Hold(store, pump)
    batch = [store.begin_turn(start("run-1")), store._writer.ask(orphan, None)]
    hold.release()
    for one in batch:
        with pytest.raises(StoreFailed):
            pump.wait(one)
    assert pump.wait(store.list_sessions()) == []
    pump.wait(store.begin_turn(start("run-1")))


@pytest.mark.parametrize(
    "turn",
    [
        start(key="\ud800"),
        start(messages=(UserMessage(content="\ud800"),)),
        start(at_ms=2**63),
    ],
)
def test_value_that_cannot_be_stored_fails_its_turn_alone(
    turn: object, store: SqliteSessionStore, pump: Pump
) -> None:
    with pytest.raises(StoreFailed, match="internal error"):
        pump.wait(store.begin_turn(turn))  # type: ignore[arg-type]
    pump.wait(store.begin_turn(start()))


def test_cancelled_turn_is_stored_and_its_neighbours_hear_of_theirs(
    store: SqliteSessionStore, pump: Pump
) -> None:
    pump.wait(store.open())
    hold = Hold(store, pump)
    heard: list[Failure] = []
    gone = [store.begin_turn(start("run-1")), store.end_turn(end("run-9"))]
    kept = store.begin_turn(start("run-2"))
    for one in gone:
        one.addErrback(heard.append)
        one.cancel()
    hold.release()
    pump.wait(kept)
    assert len(heard) == 2
    assert len(pump.wait(store.history(KEY, 0)).messages) == 2


def test_close_finishes_what_was_asked_for(
    store: SqliteSessionStore, pump: Pump
) -> None:
    asked = [store.begin_turn(start(f"run-{n}")) for n in range(5)]
    read = store.history(KEY, 0)
    closed = [store.close(), store.close()]
    for one in asked:
        pump.wait(one)
    assert len(pump.wait(read).messages) == 5
    for one in closed:
        pump.wait(one)


def test_pruning_works_through_many_sessions_in_steps(
    store: SqliteSessionStore, pump: Pump
) -> None:
    turns = [
        store.begin_turn(start("run", key=f"key-{n:04}", anonymous=True))
        for n in range(1230)
    ]
    ended = [store.end_turn(end("run", key=f"key-{n:04}")) for n in range(1, 1230)]
    for one in (*turns, *ended):
        pump.wait(one)
    before = store.commits
    assert pump.wait(store.prune_anonymous(5000)) == 1229
    assert store.commits - before == 13
    assert [one.session_key for one in pump.wait(store.list_sessions())] == ["key-0000"]


def test_cancelled_pruning_goes_on(store: SqliteSessionStore, pump: Pump) -> None:
    pump.wait(store.begin_turn(start(anonymous=True)))
    pump.wait(store.end_turn(end()))
    hold = Hold(store, pump)
    pruning = store.prune_anonymous(5000)
    heard: list[Failure] = []
    pruning.addErrback(heard.append)
    pruning.cancel()
    hold.release()
    while pump.wait(store.list_sessions()):
        pass
    assert len(heard) == 1
