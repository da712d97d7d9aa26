"""Tools that the client runs: a call ends the run, the next request goes on with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moltbot_gw.agents.toolcalls import NO_RESULT
from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import FinishReason, ToolCallDelta, Usage
from moltbot_gw.messages import (
    AssistantMessage,
    NamedTool,
    ToolCall,
    ToolChoice,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from moltbot_gw.wire.chat_request import MAX_TOOLS
from tests.support.gateway import Call, Gateway
from tests.support.http_client import Answer, chat_request

MakeGateway = Callable[..., Gateway]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Sky", "parameters": SCHEMA},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
TOOLS = [WEATHER, CLOCK]
PARIS = ToolCall("c1", "weather", '{"city":"Paris"}')
NOON = ToolCall("c2", "clock", "{}")
SESSION = "agent:main:openai-user:alice"


def write(call: Call, *calls: ToolCall, by: int = 5) -> None:
    """Let the model write *calls*, in pieces of *by* characters."""
    for index, one in enumerate(calls):
        start = ToolCallDelta(index=index, id=one.id, name=one.name)
        call.sink.extend([start])
        for at in range(0, len(one.arguments), by):
            piece = one.arguments[at : at + by]
            call.sink.extend([ToolCallDelta(index=index, arguments=piece)])
    call.clock.advance(0)


def play(
    gateway: Gateway, *calls: ToolCall, reason: FinishReason = "tool_calls"
) -> None:
    """Let the model answer its last call with *calls*."""
    call = gateway.model.calls[-1]
    write(call, *calls)
    call.finish(reason, Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3))


def wire(*calls: ToolCall) -> list[dict[str, Any]]:
    """Return *calls* as a whole message shows them."""
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


def deltas(answer: Answer) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in answer.chunks if chunk["choices"]]


def fragments(answer: Answer) -> list[dict[str, Any]]:
    """Return the pieces of calls in a stream, each of which comes alone."""
    lists = [delta["tool_calls"] for delta in deltas(answer) if "tool_calls" in delta]
    return [fragment for (fragment,) in lists]


def assembled(answer: Answer) -> list[ToolCall]:
    """Return the calls of a stream, checked as the strictest clients check them."""
    calls: list[ToolCall] = []
    for fragment in fragments(answer):
        function = fragment["function"]
        if "id" in fragment:
            assert fragment["index"] == len(calls)
            assert list(fragment) == ["index", "id", "type", "function"]
            assert (fragment["type"], function["arguments"]) == ("function", "")
            calls.append(ToolCall(fragment["id"], function["name"], ""))
        else:
            assert list(fragment) == ["index", "function"]
            assert list(function) == ["arguments"]
            assert function["arguments"]
            old = calls[fragment["index"]]
            whole = old.arguments + function["arguments"]
            calls[fragment["index"]] = ToolCall(old.id, old.name, whole)
    return calls


def finish_reason(answer: Answer) -> str | None:
    """Return that of the last chunk; all others have none."""
    choices = [chunk["choices"][0] for chunk in answer.chunks if chunk["choices"]]
    reasons = [choice["finish_reason"] for choice in choices]
    assert set(reasons[:-1]) <= {None}
    reason: str | None = reasons[-1]
    return reason


# -- the answer


def test_whole_answer_shows_the_calls(gateway: Gateway) -> None:
    connection, _ = gateway.chat(tools=TOOLS)
    play(gateway, PARIS, NOON)
    answer = connection.answer()
    assert answer.json["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": wire(PARIS, NOON),
            },
            "finish_reason": "tool_calls",
        }
    ]
    assert answer.json["usage"]["total_tokens"] == 3


def test_words_stand_beside_the_calls(gateway: Gateway) -> None:
    connection, call = gateway.chat(tools=TOOLS)
    call.say("I will look.")
    play(gateway, PARIS)
    message = connection.answer().json["choices"][0]["message"]
    assert (message["content"], message["tool_calls"]) == ("I will look.", wire(PARIS))


def test_streamed_calls_come_in_openais_fragments(gateway: Gateway) -> None:
    connection, call = gateway.chat(tools=TOOLS, stream=True)
    call.say("Well.")
    call.sink.extend([ToolCallDelta(index=0, id="c1", name="weather")])
    assert fragments(connection.stream())[-1] == {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": ""},
    }
    call.sink.extend([ToolCallDelta(index=0, arguments='{"city"')])
    assert fragments(connection.stream())[-1] == {
        "index": 0,
        "function": {"arguments": '{"city"'},
    }
    call.sink.extend([ToolCallDelta(index=0, arguments=':"Paris"}')])
    call.sink.extend([ToolCallDelta(index=1, id="c2", name="clock", arguments="{}")])
    call.finish("tool_calls")
    answer = connection.answer()
    assert (answer.text, assembled(answer)) == ("Well.", [PARIS, NOON])
    assert finish_reason(answer) == "tool_calls"
    assert answer.records[-1] == "[DONE]"


def test_pieces_are_merged_for_a_slow_client(gateway: Gateway) -> None:
    connection, call = gateway.chat(tools=TOOLS, stream=True)
    connection.socket.fill()
    write(call, PARIS, NOON, by=1)
    assert call.paused
    connection.socket.drain()
    call.finish("tool_calls")
    answer = connection.answer()
    assert assembled(answer) == [PARIS, NOON]
    assert len(fragments(answer)) == 4


def test_long_arguments_come_in_bounded_writes(gateway: Gateway) -> None:
    connection, call = gateway.chat(tools=TOOLS, stream=True)
    connection.socket.fill()
    long = ToolCall("c1", "weather", '{"city":"' + "x" * 100_000 + '"}')
    write(call, long, by=10_000)
    connection.socket.drain()
    call.finish("tool_calls")
    answer = connection.answer()
    assert assembled(answer) == [long]
    assert max(map(len, answer.pieces)) < 20_000


def test_calls_that_take_turns_are_told_apart(gateway: Gateway) -> None:
    connection, call = gateway.chat(tools=TOOLS, stream=True)
    starts = [
        ToolCallDelta(index=index, id=one.id, name=one.name)
        for index, one in enumerate((PARIS, NOON))
    ]
    call.sink.extend(starts)
    for index, piece in [(0, '{"city"'), (1, "{"), (0, ':"Paris"'), (1, "}"), (0, "}")]:
        call.sink.extend([ToolCallDelta(index=index, arguments=piece)])
    call.finish("tool_calls")
    assert assembled(connection.answer()) == [PARIS, NOON]


def test_calls_count_for_the_limit_of_a_run(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_run_bytes=100)
    connection, call = gateway.chat(tools=TOOLS)
    write(call, ToolCall("c1", "weather", "x" * 101))
    answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (502, "provider_error")


# -- what the model is told


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "weather"}}, NamedTool("weather")),
    ],
)
def test_model_is_offered_the_tools(
    gateway: Gateway, said: Any, meant: ToolChoice
) -> None:
    extra = {"cache_control": {"type": "ephemeral"}}
    tools = [{**WEATHER, **extra}, {**CLOCK, "x": 1}]
    connection, call = gateway.chat(
        tools=tools, tool_choice=said, parallel_tool_calls=False
    )
    assert call.request.tools == (
        ToolSpec(name="weather", description="Sky", parameters=SCHEMA),
        ToolSpec(name="clock"),
    )
    assert call.request.tool_choice == meant
    assert call.request.options.parallel_tool_calls is False
    play(gateway, PARIS)
    assert connection.answer().status == 200


CHOOSE_WEATHER = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("choice", "calls", "what"),
    [
        ("required", (), "did not call a tool"),
        (CHOOSE_WEATHER, (), 'did not call the tool "weather"'),
        (CHOOSE_WEATHER, (NOON,), 'did not call the tool "weather"'),
        ("none", (NOON,), "was told not to"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_ignored_choice_fails_with_a_clear_error(
    gateway: Gateway,
    choice: Any,
    calls: tuple[ToolCall, ...],
    what: str,
    stream: bool,
) -> None:
    connection, call = gateway.chat(tools=TOOLS, tool_choice=choice, stream=stream)
    call.say("Sunny.")
    play(gateway, *calls, reason="tool_calls" if calls else "stop")
    answer = connection.answer()
    error = answer.chunks[-1]["error"] if stream else answer.error
    assert (error["code"], error["param"]) == ("tool_choice_ignored", "tool_choice")
    assert what in error["message"]
    if stream:
        assert all(c["choices"][0]["finish_reason"] is None for c in answer.chunks[:-1])
    else:
        assert answer.status == 502


def test_choice_that_was_obeyed_by_words_is_a_plain_answer(gateway: Gateway) -> None:
    answer = gateway.complete(tools=TOOLS, tool_choice="none")
    assert answer.json["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize("tools", [[CLOCK], []])
def test_call_of_a_tool_that_was_not_offered_fails(
    gateway: Gateway, tools: list[Any]
) -> None:
    connection, _ = gateway.chat(tools=tools)
    play(gateway, PARIS)
    answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (502, "bad_tool_call")


NAMED_X = {"type": "function", "function": {"name": "x"}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].function"),
        ({"tools": [CLOCK, {"type": "function"}]}, "tools[1].function"),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [CLOCK, WEATHER, CLOCK]}, "tools[2].function.name"),
        ({"tools": [CLOCK] * (MAX_TOOLS + 1)}, "tools"),
        ({"tools": TOOLS, "tool_choice": NAMED_X}, "tool_choice.function.name"),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    ],
)
def test_bad_tools_are_refused_by_their_path(
    gateway: Gateway, fields: dict[str, Any], param: str
) -> None:
    answer = gateway.ask(chat_request(**fields))
    assert (answer.status, answer.error["param"]) == (400, param)
    assert gateway.model.calls == []
    assert gateway.sessions() == {}


# -- the end of an answer that was cut


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_half_a_call_is_not_kept_as_one(gateway: Gateway, reason: FinishReason) -> None:
    connection, call = gateway.chat(tools=TOOLS, user="alice")
    call.say("I will")
    play(gateway, ToolCall("c1", "weather", '{"ci'), reason=reason)
    (choice,) = connection.answer().json["choices"]
    assert choice["message"] == {"role": "assistant", "content": "I will"}
    assert choice["finish_reason"] == reason
    assert gateway.history(SESSION)[-1] == AssistantMessage("I will", "", (), reason)


def test_half_a_call_of_a_provider_that_fails_is_not_kept(gateway: Gateway) -> None:
    connection, call = gateway.chat(tools=TOOLS, user="alice", stream=True)
    call.say("I will")
    write(call, ToolCall("c1", "weather", '{"ci'))
    call.fail(ProviderFailed("The provider broke off."))
    answer = connection.answer()
    assert answer.chunks[-1]["error"]["code"] == "provider_error"
    assert gateway.history(SESSION)[-1] == AssistantMessage("I will", "", (), "error")


# -- the next request


USER = {"role": "user", "content": "Weather in Paris, and when?"}
ASKED = UserMessage("Weather in Paris, and when?")
CALLED = {"role": "assistant", "content": None, "tool_calls": wire(PARIS, NOON)}
RESULTS = [
    {"role": "tool", "tool_call_id": "c2", "content": "noon"},
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]
READ = (ToolMessage("noon", "c2"), ToolMessage("sunny", "c1"))
STORED = AssistantMessage(
    "",
    "",
    (
        ToolCall("c1", "weather", '{"city":"Paris"}', for_client=True),
        ToolCall("c2", "clock", "{}", for_client=True),
    ),
    "tool_calls",
)


def test_results_go_on_with_the_turn_in_a_stateless_request(gateway: Gateway) -> None:
    connection, call = gateway.chat(tools=TOOLS, messages=[USER, CALLED, *RESULTS])
    calls = AssistantMessage("", "", (PARIS, NOON))
    assert call.request.messages == (ASKED, calls, *READ)
    call.say("Sunny at noon.")
    call.finish()
    (choice,) = connection.answer().json["choices"]
    assert choice["message"]["content"] == "Sunny at noon."
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("whole", [True, False], ids=["whole history", "news"])
@pytest.mark.parametrize("stream", [True, False])
def test_results_go_on_with_the_turn_of_a_session(
    gateway: Gateway, whole: bool, stream: bool
) -> None:
    gateway.chat(tools=TOOLS, user="alice", messages=[USER], stream=stream)
    play(gateway, PARIS, NOON)
    assert gateway.history(SESSION) == (ASKED, STORED)
    messages = [USER, CALLED, *RESULTS] if whole else RESULTS
    connection, call = gateway.chat(
        tools=TOOLS, user="alice", messages=messages, stream=stream
    )
    assert call.request.messages == (ASKED, STORED, *READ)
    call.say("Sunny at noon.")
    call.finish()
    assert connection.answer().status == 200
    last = AssistantMessage("Sunny at noon.", "", (), "stop")
    assert gateway.history(SESSION) == (ASKED, STORED, *READ, last)


def test_turn_may_call_again_and_again(gateway: Gateway) -> None:
    gateway.chat(tools=TOOLS, user="alice", messages=[USER])
    play(gateway, PARIS)
    for number in range(3):
        result = {"role": "tool", "tool_call_id": f"c{number or 1}", "content": "x"}
        gateway.chat(tools=TOOLS, user="alice", messages=[result])
        play(gateway, ToolCall(f"c{number + 1}", "clock", "{}"))
    kinds = [type(message) for message in gateway.model.calls[-1].request.messages]
    assert kinds == [UserMessage] + [AssistantMessage, ToolMessage] * 3


def test_call_without_a_result_has_one_that_says_so(gateway: Gateway) -> None:
    gateway.chat(tools=TOOLS, user="alice", messages=[USER])
    play(gateway, PARIS, NOON)
    never_mind = {"role": "user", "content": "Never mind."}
    connection, call = gateway.chat(user="alice", messages=[RESULTS[1], never_mind])
    assert call.request.messages[2:] == (
        ToolMessage("sunny", "c1"),
        ToolMessage(NO_RESULT, "c2"),
        UserMessage("Never mind."),
    )
    call.finish()
    assert connection.answer().status == 200
    stored = gateway.history(SESSION)
    assert ToolMessage(NO_RESULT, "c2") not in stored


@pytest.mark.parametrize("spoken", ["", "Sun"])
def test_results_that_are_sent_again_after_a_failure_count_once(
    gateway: Gateway, spoken: str
) -> None:
    gateway.chat(tools=TOOLS, user="alice", messages=[USER])
    play(gateway, PARIS, NOON)
    again = [USER, CALLED, *RESULTS]
    _, call = gateway.chat(tools=TOOLS, user="alice", messages=again)
    if spoken:
        call.say(spoken)
    call.fail(ProviderFailed("The provider broke off."))
    connection, call = gateway.chat(tools=TOOLS, user="alice", messages=again)
    assert call.request.messages == (ASKED, STORED, *READ)
    call.finish()
    assert connection.answer().status == 200


def test_results_of_no_call_are_refused(gateway: Gateway) -> None:
    for user in (None, "bob"):
        answer = gateway.ask(chat_request(messages=RESULTS, tools=TOOLS, user=user))
        assert (answer.status, answer.error["param"]) == (400, "messages")
        assert "belong to no call" in answer.error["message"]
    assert (gateway.model.calls, gateway.sessions()) == ([], {})


# -- replays


@pytest.mark.parametrize("stream", [True, False])
def test_repeated_request_gets_the_same_calls(gateway: Gateway, stream: bool) -> None:
    def ask() -> bytes:
        return chat_request({"Idempotency-Key": "k"}, tools=TOOLS, stream=stream)

    first = gateway.send(ask())
    gateway.model.calls[0].say("Well.")
    play(gateway, PARIS, NOON)
    repeated = gateway.ask(ask())
    assert repeated.header("idempotent-replayed") == "true"
    assert len(gateway.model.calls) == 1
    if stream:
        assert assembled(repeated) == assembled(first.answer()) == [PARIS, NOON]
        assert finish_reason(repeated) == "tool_calls"
        assert repeated.text == "Well."
    else:
        assert repeated.json == first.answer().json


def test_repeat_joins_a_run_that_is_writing_a_call(gateway: Gateway) -> None:
    def ask() -> bytes:
        return chat_request({"Idempotency-Key": "k"}, tools=TOOLS, stream=True)

    first = gateway.send(ask())
    call = gateway.model.calls[0]
    call.sink.extend([ToolCallDelta(index=0, id="c1", name="weather", arguments='{"')])
    second = gateway.send(ask())
    call.sink.extend([ToolCallDelta(index=0, arguments='city":"Paris"}')])
    call.finish("tool_calls")
    assert assembled(first.answer()) == assembled(second.answer()) == [PARIS]


def test_other_tools_make_another_request_of_a_key(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k"}
    gateway.send(chat_request(key, tools=TOOLS))
    play(gateway, PARIS)
    assert gateway.ask(chat_request(key, tools=[CLOCK])).status == 409
