"""Clients that do not read: what waits for them, and how they catch up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.control import JSON, Client, Control
from tests.support.gateway import Call
from tests.support.http_client import chat_request
from tests.ws.connecting import stop

Make = Callable[..., Control]


def begin(client: Client, control: Control, key: str = "k1", **more: Any) -> Call:
    params = {"message": "hi", "agentId": "main", "idempotencyKey": key, **more}
    client.ask("agent", params)
    return control.model.calls[-1]


def say_much(control: Control, call: Call, count: int = 50, size: int = 1000) -> str:
    """Let the model say *count* different texts over some time; return them."""
    texts = [f"{number:04d}{'x' * (size - 4)}" for number in range(count)]
    for text in texts:
        call.say(text)
        control.advance(0.1)
    return "".join(texts)


def deltas(messages: list[JSON]) -> list[str]:
    """Return the new words of the ``agent`` events among *messages*."""
    payloads = [m["payload"] for m in messages if m.get("event") == "agent"]
    return [p["data"]["delta"] for p in payloads if p["stream"] == "assistant"]


def names(messages: list[JSON]) -> list[str]:
    return [m.get("event") or m["id"] for m in messages]


def test_nothing_is_written_for_a_client_that_does_not_read(control: Control) -> None:
    watcher, slow = control.member(), control.member()
    slow.stall()
    say_much(control, begin(watcher, control))
    assert slow.connection.socket.unsent == b""
    control.model.calls[0].finish()
    assert slow.connection.socket.unsent == b""


def test_whoever_reads_again_gets_all_words_once_and_merged(control: Control) -> None:
    watcher, slow = control.member(), control.member()
    call = begin(watcher, control)
    call.say("first")
    control.advance(0.1)
    assert deltas(slow.messages()) == ["first"]
    slow.stall()
    text = say_much(control, call)
    slow.read_on()
    got = deltas(slow.messages())
    assert "".join(got) == text
    assert len(got) <= 1 + len(text) // 8192
    control.advance(1.0)
    call.finish()
    assert names(slow.messages()) == ["agent", "chat"]


def test_whoever_reads_again_after_the_end_gets_the_end_too(control: Control) -> None:
    watcher, slow = control.member(), control.member()
    slow.stall()
    call = begin(watcher, control)
    text = say_much(control, call)
    call.finish()
    slow.read_on()
    messages = slow.messages()
    assert "".join(deltas(messages)) == text
    final = messages[-1]["payload"]
    assert final["state"] == "final"
    assert final["message"]["content"][0]["text"] == text
    numbers = [message["seq"] for message in messages]
    assert numbers == sorted(set(numbers))


def test_several_runs_are_all_caught_up_with(control: Control) -> None:
    watcher, slow = control.member(), control.member()
    slow.stall()
    calls = [
        begin(watcher, control, key, sessionKey=key) for key in ("one", "two", "three")
    ]
    said = {
        f"k {number}": say_much(control, call, count=5)
        for number, call in enumerate(calls)
    }
    for call in calls:
        call.finish()
    slow.read_on()
    messages = slow.messages()
    finals = [m["payload"] for m in messages if m["event"] == "chat"]
    ended = [payload["runId"] for payload in finals if payload["state"] == "final"]
    assert sorted(ended) == ["one", "three", "two"]
    assert sum(map(len, deltas(messages))) == sum(map(len, said.values()))


def test_others_are_not_disturbed(control: Control) -> None:
    watcher, slow = control.member(), control.member()
    slow.stall()
    call = begin(watcher, control)
    watcher.messages()
    call.say("hello")
    control.advance(0.1)
    assert deltas(watcher.messages()) == ["hello"]
    call.finish()
    assert names(watcher.messages()) == ["agent", "chat", "r1"]


def test_an_answer_waits_for_the_events_before_it(control: Control) -> None:
    slow = control.member()
    call = begin(slow, control)
    slow.messages()
    slow.stall()
    call.say("hello")
    call.finish()
    assert slow.connection.socket.unsent == b""
    slow.read_on()
    told = names(slow.messages())
    assert told[-1] == "r1"
    assert told.count("r1") == 1


def test_nothing_is_read_from_a_client_that_does_not_read(control: Control) -> None:
    slow = control.member()
    slow.stall()
    assert not slow.connection.socket.reading
    slow.read_on()
    assert slow.connection.socket.reading
    assert slow.call("device.pair.list")["ok"]


STALL: JSON = {"gateway": {"http": {"stallTimeoutSeconds": 12}}}


def test_no_more_than_four_answers_are_made_for_a_client_that_does_not_read(
    control: Control,
) -> None:
    slow = control.member()
    control.hold_threads()
    asked = [slow.ask("config.get") for _ in range(12)]
    slow.stall()
    control.release_threads()
    (control.folder / "moltbot.json").unlink()
    slow.read_on()
    answers = slow.answers()
    assert sorted(answer["id"] for answer in answers) == sorted(asked)
    exists = [answer["payload"]["exists"] for answer in answers]
    assert exists == [True] * 4 + [False] * 8


def test_calls_that_wait_for_their_client_end_with_it(control: Control) -> None:
    slow = control.member()
    control.hold_threads()
    for _ in range(12):
        slow.ask("config.get")
    slow.stall()
    control.release_threads()
    slow.connection.hang_up()
    assert control.control.hub.members == 0


def test_whoever_takes_nothing_for_long_is_closed(make_control: Make) -> None:
    control = make_control(STALL)
    watcher, slow = control.member(), control.member()
    slow.stall()
    control.advance(11.9)
    assert slow.connection.socket.unsent == b""
    control.advance(0.2)
    slow.read_on()
    assert slow.close == (1008, "slow consumer")
    assert watcher.close is None
    assert control.control.hub.members == 2
    control.advance(2.0)
    assert control.control.hub.members == 1


def test_whoever_never_reads_again_is_dropped(make_control: Make) -> None:
    control = make_control(STALL)
    slow = control.member()
    call = begin(slow, control)
    slow.stall()
    say_much(control, call)
    control.advance(12.0)
    assert slow.connection.aborted
    assert control.control.hub.members == 0
    assert not call.cancelled
    call.finish()


def test_whoever_reads_a_little_in_time_may_stay(make_control: Make) -> None:
    control = make_control(STALL)
    slow = control.member()
    for _ in range(5):
        slow.stall()
        control.advance(11.0)
        slow.read_on()
    assert slow.close is None


def test_whoever_is_behind_in_too_many_runs_is_closed(control: Control) -> None:
    watcher, slow = control.member(), control.member()
    slow.stall()
    for number in range(257):
        begin(watcher, control, f"k{number}").finish()
    slow.read_on()
    assert slow.close == (1008, "slow consumer")
    assert watcher.close is None


@pytest.mark.parametrize("count", [1, 3])
def test_only_the_newest_state_is_kept(control: Control, count: int) -> None:
    slow = control.member()
    slow.stall()
    for number in range(count):
        screen = {
            "id": "test",
            "version": "1",
            "platform": "linux",
            "mode": "ui",
            "instanceId": f"screen {number}",
        }
        control.member(client=screen).connection.hang_up()
    assert slow.connection.socket.unsent == b""
    slow.read_on()
    (event,) = slow.events("presence")
    gone = {e.get("instanceId") for e in event["payload"]["presence"]}
    assert gone >= {f"screen {number}" for number in range(count)}


def test_a_client_that_goes_while_it_is_slow_leaves_nothing(control: Control) -> None:
    watcher, slow = control.member(), control.member()
    slow.stall()
    call = begin(watcher, control)
    say_much(control, call)
    slow.connection.hang_up()
    call.finish()
    assert names(watcher.messages())[-1] == "r1"


def test_a_stop_does_not_wait_for_those_who_do_not_read(control: Control) -> None:
    slow = control.member()
    slow.stall()
    closing = stop(control)
    control.advance(2.0)
    assert closing.called
    assert slow.connection.aborted


def test_members_that_watch_keep_a_run_going_while_its_reader_stalls(
    control: Control,
) -> None:
    watcher = control.member()
    reader, call = control.chat(stream=True)
    reader.socket.fill()
    say_much(control, call)
    assert not call.paused
    call.finish()
    assert len(watcher.events("chat")[-1]["payload"]["message"]["content"][0]["text"])
    reader.socket.drain()


def test_a_slow_member_does_not_hold_a_run_back(control: Control) -> None:
    slow = control.member()
    slow.stall()
    connection = control.send(chat_request())
    (call,) = control.model.calls
    text = say_much(control, call)
    assert not call.paused
    call.finish()
    assert connection.answer().json["choices"][0]["message"]["content"] == text


def test_runs_are_not_followed_for_nobody(control: Control) -> None:
    watcher = control.member()
    reader = control.send(chat_request(stream=True))
    call = control.model.calls[-1]
    watcher.connection.hang_up()
    reader.socket.fill()
    assert call.paused
