"""What outlives a restart of what idempotency keys stand for, and its pruning."""

from __future__ import annotations

import pytest
from twisted.python.failure import Failure

from moltbot_gw.sessions import SqliteSessionStore
from tests.sessions.conftest import MakeStore
from tests.sessions.support import DONE, KEY, Pump, end, start


def test_run_cut_off_by_a_stop_has_no_outcome(
    make_store: MakeStore, pump: Pump
) -> None:
    store = make_store()
    for number in (1, 2):
        begun = start(f"run-{number}", idempotency_key=f"k{number}")
        pump.wait(store.begin_turn(begun))
    pump.wait(store.end_turn(end("run-1", kept=DONE)))
    pump.wait(store.close())

    store = make_store()
    assert pump.wait(store.open()) == 1
    found = [pump.wait(store.find_kept(key, 0)) for key in ("k1", "k2")]
    assert [one and one.outcome for one in found] == [DONE, None]


def test_run_cut_off_by_a_stop_can_be_begun_again(
    make_store: MakeStore, pump: Pump
) -> None:
    store = make_store()
    pump.wait(store.begin_turn(start(idempotency_key="k")))
    pump.wait(store.close())

    store = make_store()
    pump.wait(store.begin_turn(start(idempotency_key="k", at_ms=9000)))
    pump.wait(store.end_turn(end(kept=DONE)))
    found = pump.wait(store.find_kept("k", 0))
    assert found is not None
    assert (found.created_at_ms, found.outcome) == (9000, DONE)
    assert len(pump.wait(store.history(KEY, 0)).messages) == 3


def test_older_run_of_a_key_is_begun_again_in_one_batch(
    store: SqliteSessionStore, pump: Pump
) -> None:
    first = store.begin_turn(start(idempotency_key="k"))
    again = store.begin_turn(start(idempotency_key="k", at_ms=9000))
    ended = store.end_turn(end(kept=DONE))
    for one in (first, again, ended):
        pump.wait(one)
    found = pump.wait(store.find_kept("k", 0))
    assert found is not None
    assert found.outcome == DONE


@pytest.mark.parametrize(("due", "steps"), [(0, 1), (99, 1), (100, 2), (250, 3)])
def test_pruning_works_in_steps(
    due: int, steps: int, store: SqliteSessionStore, pump: Pump
) -> None:
    turns = [
        store.begin_turn(start(f"run-{n}", idempotency_key=f"k{n}", at_ms=n))
        for n in range(due + 1)
    ]
    for one in turns:
        pump.wait(one)
    before = store.commits
    assert pump.wait(store.prune_kept(due)) == due
    assert store.commits - before == steps
    assert pump.wait(store.find_kept(f"k{due}", 0)) is not None


def test_cancelled_pruning_goes_on(store: SqliteSessionStore, pump: Pump) -> None:
    pump.wait(store.begin_turn(start(idempotency_key="k")))
    heard: list[Failure] = []
    pruning = store.prune_kept(5000)
    pruning.addErrback(heard.append)
    pruning.cancel()
    while pump.wait(store.find_kept("k", 0)) is not None:
        pass
    assert len(heard) == 1
