"""``/v1/runs/{id}/stream``: whoever was cut off goes on exactly where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.agents.endedruns import KEPT_SECONDS
from moltbot_gw.agents.run import Run
from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import ToolCallDelta, Usage
from moltbot_gw.messages import ToolCall
from tests.support.gateway import Call, Connection, Gateway
from tests.support.http_client import (
    Answer,
    Event,
    chat_request,
    http_request,
    read_events,
)

MakeGateway = Callable[..., Gateway]
USAGE = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
WITH_IDS = {"X-Moltbot-Event-Ids": "true"}
OPTIONS = {"include_usage": True}


def attach(
    gateway: Gateway, run_id: str, last: str | None = None, query: str = ""
) -> Connection:
    headers = {} if last is None else {"Last-Event-ID": last}
    path = f"/v1/runs/{run_id}/stream{query}"
    return gateway.send(http_request("GET", path, **headers))


def run_id_of(connection: Connection) -> str:
    """Return the id that each chunk of a stream has."""
    return str(msgspec.json.decode(connection.stream().events[0].data)["id"])


def data_of(answer: Answer) -> list[str]:
    return [event.data for event in answer.events]


def text_of(events: list[Event]) -> str:
    chunks = [msgspec.json.decode(e.data) for e in events if e.data != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return "".join(choice["delta"].get("content", "") for choice in choices)


# -- the same stream


def test_ended_run_is_told_again_as_its_client_got_it(gateway: Gateway) -> None:
    connection, call = gateway.chat(
        stream=True, model="gpt-4", stream_options=OPTIONS, user="alice"
    )
    call.think("hm")
    gateway.advance(2)
    call.say("hello")
    call.finish("length", USAGE)
    again = attach(gateway, run_id_of(connection)).answer()
    assert data_of(again) == data_of(connection.answer())
    assert '"model":"gpt-4"' in data_of(again)[0]
    assert '"total_tokens":3' in data_of(again)[-2]
    for name in ("content-type", "cache-control", "x-accel-buffering"):
        assert again.header(name) == connection.answer().header(name)
    assert again.header("x-moltbot-agent-id") == "main"
    assert again.header("x-moltbot-session-key") == "agent:main:openai-user:alice"


def test_usage_is_told_only_to_whom_asked_for_it(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    call.finish("stop", USAGE)
    assert '"usage"' not in "".join(
        data_of(attach(gateway, run_id_of(connection)).answer())
    )


def test_calls_of_tools_are_told_again(gateway: Gateway) -> None:
    tool = {"type": "function", "function": {"name": "look"}}
    connection, call = gateway.chat(stream=True, tools=[tool])
    call.sink.extend(
        [
            ToolCallDelta(index=0, id="c-1", name="look"),
            ToolCallDelta(index=0, arguments='{"a"'),
            ToolCallDelta(index=0, arguments=":1}"),
        ]
    )
    call.finish("tool_calls")
    again = attach(gateway, run_id_of(connection)).answer()
    assert data_of(again) == data_of(connection.answer())
    assert ToolCall("c-1", "look", '{"a":1}').name in "".join(data_of(again))


def test_run_of_a_whole_answer_can_be_streamed(gateway: Gateway) -> None:
    answer = gateway.complete()
    events = attach(gateway, answer.json["id"]).answer().events
    assert text_of(events) == "hello"
    assert events[-1].data == "[DONE]"


def test_run_that_goes_on_is_read_beside_its_client(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    call.say("hel")
    second = attach(gateway, run_id_of(connection))
    assert text_of(second.stream().events) == "hel"
    call.say("lo")
    call.finish()
    assert data_of(second.answer())[-2:] == data_of(connection.answer())[-2:]
    assert text_of(second.answer().events) == "hello"


def test_who_attaches_to_a_waiting_run_sees_that_it_is_attached(
    gateway: Gateway,
) -> None:
    _, first = gateway.chat(user="alice")
    gateway.send(chat_request(user="alice", stream=True))
    waiting = attach(gateway, gateway.agents.active[-1].run_id)
    assert waiting.stream().status == 200
    assert waiting.stream().events == []
    first.finish()
    gateway.model.calls[-1].say("hello")
    gateway.model.calls[-1].finish()
    assert text_of(waiting.answer().events) == "hello"


@pytest.mark.parametrize(
    ("spelled", "told"), [("my key", "my key"), ("é", None), ("a\nb: c", None)]
)
def test_session_is_named_as_far_as_a_header_can(
    gateway: Gateway, start: Callable[..., Run], spelled: str, told: str | None
) -> None:
    start(gateway, "r", session_key=spelled)
    answer = attach(gateway, "r").stream()
    assert answer.header("x-moltbot-session-key") == told
    assert answer.header("b") is None
    assert '"model":"moltbot:main"' in answer.events[0].data


def test_failure_is_told_in_the_stream(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    call.say("hel")
    call.fail(ProviderFailed("It broke."))
    again = attach(gateway, run_id_of(connection)).answer()
    assert again.status == 200
    assert data_of(again) == data_of(connection.answer())


def test_run_without_a_word_tells_its_failure_too(gateway: Gateway) -> None:
    _, first = gateway.chat(user="alice")
    gateway.send(chat_request(user="alice"))
    run = gateway.agents.active[-1]
    run.cancel(ProviderFailed("No."))
    again = attach(gateway, run.run_id).answer()
    assert again.status == 200
    assert msgspec.json.decode(data_of(again)[0])["error"]["message"] == "No."
    first.finish()


def test_head_tells_that_there_is_a_stream(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    run_id = run_id_of(connection)
    data = http_request("HEAD", f"/v1/runs/{run_id}/stream")
    head = gateway.connect()
    head.send(data).send(data)
    for answer in head.answers(head_only=True):
        assert (answer.status, answer.body) == (200, b"")
        assert answer.header("content-type") == "text/event-stream; charset=utf-8"
    call.finish()


def test_stream_ends_with_the_time_that_runs_are_kept(gateway: Gateway) -> None:
    run_id = gateway.complete().json["id"]
    slow = gateway.connect()
    slow.socket.full = True
    slow.send(http_request("GET", f"/v1/runs/{run_id}/stream"))
    gateway.advance(20)
    slow.socket.drain()
    assert text_of(slow.answer().events) == "hello"
    gateway.advance(KEPT_SECONDS)
    assert attach(gateway, run_id).answer().status == 404


# -- going on


def play(
    call: Call, words: list[str], pauses: list[bool], connection: Connection
) -> None:
    """Let the model say *words*; the client stops and goes on reading meanwhile."""
    for word, pause in zip(words, pauses, strict=False):
        if pause and connection.socket.full:
            connection.socket.drain()
        elif pause:
            connection.socket.fill()
        if word.startswith("~"):
            call.think(word)
        else:
            call.say(word)
    if connection.socket.full:
        connection.socket.drain()


WORDS = st.lists(
    st.one_of(
        st.sampled_from(["~hm", "é\u2028\n\n", "x" * 20_000, "data: [DONE]"]),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    ),
    max_size=6,
)


@settings(max_examples=60)
@given(
    words=WORDS,
    pauses=st.lists(st.booleans(), min_size=6, max_size=6),
    chance=st.floats(0, 1),
    ends=st.sampled_from(["before", "after", "fails"]),
    include_usage=st.booleans(),
)
def test_wherever_a_client_is_cut_off_the_joined_answer_is_exact(
    words: list[str],
    pauses: list[bool],
    chance: float,
    ends: str,
    include_usage: bool,
) -> None:
    gateway = Gateway(on_disconnect="finish")
    options = {"include_usage": include_usage}
    connection, call = gateway.chat(WITH_IDS, stream=True, stream_options=options)
    run_id = run_id_of(connection)

    def end() -> None:
        if ends == "fails":
            call.fail(ProviderFailed("It broke."))
        else:
            call.finish("stop", USAGE)

    play(call, words, pauses, connection)
    if ends == "before":
        end()
    body = connection.stream().body
    cut = round(chance * len(body))  # the rest was lost on the way
    connection.hang_up()
    if ends != "before":
        end()
    had = read_events(body[:cut])
    answer = attach(gateway, run_id, had[-1].id if had else None).answer()
    whole = attach(gateway, run_id).answer().events
    joined = had + answer.events
    assert (
        text_of(joined)
        == text_of(whole)
        == "".join(word for word in words if not word.startswith("~"))
    )
    assert _merged(joined) == _merged(whole)
    assert joined[-1].data == "[DONE]"
    assert answer.status == (204 if had and had[-1].data == "[DONE]" else 200)
    gateway.close()


def _merged(events: list[Event]) -> list[Any]:
    """Return what events say, whatever pieces text came in."""
    merged: list[Any] = []
    for event in events:
        said: Any = event.data
        if said != "[DONE]":
            said = msgspec.json.decode(said)
            for choice in said.get("choices", ()):
                for kind in ("content", "reasoning_content"):
                    last = merged[-1] if merged else None
                    words = choice["delta"].get(kind)
                    if words and isinstance(last, tuple) and last[0] == kind:
                        said = (kind, merged.pop()[1] + words)
                    elif words:
                        said = (kind, words)
        merged.append(said)
    return merged


def test_each_record_of_the_end_has_its_own_place(gateway: Gateway) -> None:
    connection, call = gateway.chat(WITH_IDS, stream=True, stream_options=OPTIONS)
    call.say("hello")
    call.finish("stop", USAGE)
    events = connection.answer().events
    assert len({event.id for event in events}) == len(events) == 5
    run_id = run_id_of(connection)
    for number, event in enumerate(events[:-1]):
        assert attach(gateway, run_id, event.id).answer().events == events[number + 1 :]


def test_event_source_that_comes_back_after_the_end_is_told_to_stay_away(
    gateway: Gateway,
) -> None:
    run_id = gateway.complete().json["id"]
    events = attach(gateway, run_id).answer().events
    answer = attach(gateway, run_id, events[-1].id).answer()
    assert (answer.status, answer.body) == (204, b"")


def test_reader_who_has_all_so_far_waits_for_more(gateway: Gateway) -> None:
    connection, call = gateway.chat(WITH_IDS, stream=True)
    call.say("hel")
    last = connection.stream().events[-1].id
    second = attach(gateway, run_id_of(connection), last)
    assert second.stream().events == []
    call.say("lo")
    assert text_of(second.stream().events) == "lo"
    call.finish()


def test_place_may_stand_in_the_query(gateway: Gateway) -> None:
    connection, call = gateway.chat(WITH_IDS, stream=True)
    call.say("hello")
    first, second = connection.stream().events
    call.finish()
    run_id = run_id_of(connection)
    later = attach(gateway, run_id, query=f"?from={first.id}").answer().events
    assert later[0] == second
    start = attach(gateway, run_id, query="?from=start").answer().events
    assert start[:2] == [first, second]
    # An EventSource comes back to the same address, with its header.
    last = attach(gateway, run_id, second.id, "?from=start").answer().events
    assert last == start[2:]


@pytest.mark.parametrize(
    "last",
    [
        "x",
        "1",
        "1:",
        "-1:0",
        "1:-1",
        "1:0:0",
        " 1 : 0",
        "1:6",
        "0:1",
        "2:3",
        "3:1",
        "4:0",
        "0" * 10 + ":0",
        "9" * 4000 + ":1",
        "1:0,2:0",
    ],
)
def test_what_is_no_place_of_the_run_is_refused(gateway: Gateway, last: str) -> None:
    run_id = gateway.complete().json["id"]
    answer = attach(gateway, run_id, last).answer()
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == (
        "invalid_value",
        "last-event-id",
    )
    assert len(answer.body) < 500


def test_two_places_are_refused(gateway: Gateway) -> None:
    run_id = gateway.complete().json["id"]
    answer = attach(gateway, run_id, query="?from=1:0&from=1:1").answer()
    assert (answer.status, answer.error["param"]) == (400, "from")
    wrong = attach(gateway, run_id, query="?from=%C3%A9").answer()
    assert (wrong.status, wrong.error["param"]) == (400, "from")


# -- ids on the first stream


def test_nobody_gets_ids_unasked(gateway: Gateway) -> None:
    connection, call = gateway.chat({"X-Moltbot-Event-Ids": "false"}, stream=True)
    call.finish()
    assert all(event.id is None for event in connection.answer().events)


def test_ids_are_asked_for_with_true(gateway: Gateway) -> None:
    headers = {"X-Moltbot-Event-Ids": "1"}
    answer = gateway.send(chat_request(headers, stream=True)).answer()
    assert answer.status == 400
    assert answer.error["param"] == "x-moltbot-event-ids"
    assert gateway.model.calls == []


def test_repeat_may_ask_for_ids_or_not(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k"}
    first, call = gateway.chat(key, stream=True)
    second = gateway.send(chat_request({**key, **WITH_IDS}, stream=True))
    call.say("hello")
    call.finish()
    assert data_of(first.answer()) == data_of(second.answer())
    assert all(event.id for event in second.answer().events)


def test_replay_has_no_ids_because_its_log_is_another(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k", **WITH_IDS}
    connection, call = gateway.chat(key, stream=True)
    call.say("hello")
    call.finish()
    replay = gateway.send(chat_request(key, stream=True)).answer()
    assert replay.header("idempotent-replayed") == "true"
    assert all(event.id is None for event in replay.events)
    assert text_of(replay.events) == text_of(connection.answer().events)


# -- flow


def test_attached_reader_governs_the_flow_like_any(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    second = attach(gateway, run_id_of(connection))
    connection.socket.fill()
    assert not call.paused
    second.socket.fill()
    assert call.paused
    second.socket.drain()
    assert not call.paused
    connection.socket.drain()
    call.finish()


def test_attached_reader_that_stalls_is_cut_off(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    second = attach(gateway, run_id_of(connection))
    second.socket.fill()
    gateway.advance(30)
    assert second.aborted
    assert not call.cancelled
    call.finish()
    assert connection.answer().complete
