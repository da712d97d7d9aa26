"""What one client gets: its order, and the bounds of what is kept for it."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from moltbot_gw.events import RunOutcome, TextDelta
from moltbot_gw.wire.frames import StateVersion, encode_result
from moltbot_gw.ws.outbox import MAX_FEEDS_BEHIND, MAX_STATES

from .boxes import Client, Stage

DONE = RunOutcome(state="done", finish_reason="stop", ended_at_ms=9)


@pytest.fixture
def client() -> Client:
    return Client()


def names(client: Client) -> list[str]:
    """Return what came, in order: ids of answers, and names of events."""
    return [one.get("event") or one["id"] for one in client.frames]


def test_client_that_reads_gets_everything_at_once(client: Client) -> None:
    client.answer(1)
    client.state("tick", {"ts": 5})
    client.state("presence", [], version=StateVersion(presence=2, health=3))
    assert client.frames == [
        {"type": "res", "id": "1", "ok": True, "payload": {}},
        {"type": "event", "event": "tick", "payload": {"ts": 5}, "seq": 1},
        {
            "type": "event",
            "event": "presence",
            "payload": [],
            "seq": 2,
            "stateVersion": {"presence": 2, "health": 3},
        },
    ]


def test_answers_wait_for_a_client_that_does_not_read(client: Client) -> None:
    client.stall()
    for number in range(5):
        client.answer(number)
    assert client.frames == []
    client.read(room=2)
    assert client.answers == [0, 1]
    client.answer(5)
    client.read()
    assert client.answers == [0, 1, 2, 3, 4, 5]


def test_answer_comes_after_the_run_events_before_it() -> None:
    stage = Stage()
    client = stage.join()
    client.stall()
    stage.run.extend([TextDelta("hello")])
    client.answer(1)
    stage.run.end(DONE)
    client.answer(2)
    client.read(room=1)
    client.read(room=2)
    assert client.answers == []
    client.read()
    assert client.answers == [1, 2]
    assert names(client) == ["agent", "chat", "agent", "chat", "1", "2"]


def test_step_waits_behind_answers_that_wait() -> None:
    stage = Stage()
    client = stage.join()
    client.stall()
    client.answer(1)
    client.paused, client.room = False, None  # it reads on: nobody was told yet
    stage.run.extend([TextDelta("hello")])
    client.answer(2)
    assert client.frames == []
    client.read()
    assert client.text == "hello"
    assert client.answers == [1, 2]


def test_step_of_another_run_waits_behind_one_that_waits() -> None:
    clock = Clock()
    first, second = Stage("first", clock), Stage("second", clock)
    client = first.join()
    second.join(client)
    client.stall()
    first.run.extend([TextDelta("a")])
    second.run.extend([TextDelta("b")])
    first.run.end(DONE)
    second.run.end(DONE)
    client.read()
    told = [(one["runId"], one["data"]) for one in client.events("agent")]
    assert [run_id for run_id, _ in told] == ["first", "first", "second", "second"]


def test_only_the_newest_state_of_a_key_is_kept(client: Client) -> None:
    client.stall()
    for number in range(5):
        client.state("tick", number)
        client.state("health", number)
    client.state("pair", "one", key="pair:1")
    client.state("pair", "two", key="pair:2")
    client.state("tick", 5)
    client.read()
    told = [(one["event"], one["payload"]) for one in client.frames]
    assert told == [("health", 4), ("pair", "one"), ("pair", "two"), ("tick", 5)]


def test_states_come_after_answers(client: Client) -> None:
    client.stall()
    client.state("tick", 1)
    client.answer(1)
    client.read(room=1)
    client.state("tick", 2)
    client.read()
    assert names(client) == ["1", "tick"]
    assert client.events("tick") == [2]


def test_oldest_state_goes_when_there_are_too_many(client: Client) -> None:
    client.stall()
    for number in range(MAX_STATES + 2):
        client.state("pair", number, key=str(number))
    client.read()
    assert client.events("pair") == list(range(2, MAX_STATES + 2))


def test_client_that_misses_too_many_runs_is_closed() -> None:
    clock = Clock()
    client = Client()
    client.stall()
    stages = [Stage(str(number), clock) for number in range(MAX_FEEDS_BEHIND + 1)]
    for number, stage in enumerate(stages):
        assert client.closed is None, number
        stage.join(client)
        stage.run.begin(5)
        stage.run.extend([TextDelta("a")])
    assert client.closed == (1008, "slow consumer")


def test_run_that_goes_on_counts_once() -> None:
    stage = Stage()
    client = stage.join()
    client.stall()
    for _ in range(2 * MAX_FEEDS_BEHIND):
        stage.run.extend([TextDelta("a")])
        stage.clock.advance(1)
    assert client.closed is None
    stage.run.end(DONE)
    client.read()
    assert client.text == "a" * 2 * MAX_FEEDS_BEHIND


def test_large_answer_goes_on_when_the_client_reads(client: Client) -> None:
    client.room = 1
    client.box.answer(encode_result("1", "x" * 100_000))
    client.answer(2)
    client.read(room=1)
    client.state("tick", 1)
    assert client.frames == []
    client.read()
    assert names(client) == ["1", "2", "tick"]


def test_nothing_is_kept_for_a_client_that_has_gone() -> None:
    stage = Stage()
    client = stage.join()
    client.room = 1
    client.box.answer(encode_result("1", "x" * 100_000))
    stage.run.extend([TextDelta("a")])
    client.answer(1)
    client.state("tick", 1)
    client.box.clear()
    stage.clients.clear()
    client.read()
    assert client.frames == []
    stage.run.end(DONE)
