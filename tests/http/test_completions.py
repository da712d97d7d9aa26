"""A whole answer, and every failure that takes the place of one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from moltbot_gw.errors import (
    GatewayError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    ProviderUnauthorized,
    StoreFailed,
)
from moltbot_gw.events import Usage
from tests.support.gateway import CREATED, Gateway, LogTape
from tests.support.http_client import chat_request, chunked, http_request

MakeGateway = Callable[..., Gateway]
PATH = "/v1/chat/completions"
USAGE = Usage(
    prompt_tokens=7,
    completion_tokens=5,
    total_tokens=12,
    cached_tokens=3,
    reasoning_tokens=2,
)
COUNTS = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def test_a_whole_answer_has_the_shape_of_openai(gateway: Gateway) -> None:
    connection, call = gateway.chat(model="moltbot:beta")
    call.think("hm")
    call.say("hel", "lo")
    call.finish("length", USAGE)
    answer = connection.answer().json
    assert re.fullmatch(r"chatcmpl_[0-9a-f-]{36}", answer.pop("id"))
    message = {"role": "assistant", "content": "hello", "reasoning_content": "hm"}
    assert answer == {
        "object": "chat.completion",
        "created": CREATED,
        "model": "moltbot:beta",
        "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
        "usage": COUNTS,
    }


def test_unknown_details_of_usage_are_left_out(gateway: Gateway) -> None:
    usage = gateway.complete().json["usage"]
    assert usage == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def test_the_echo_agent_answers_from_socket_to_socket(gateway: Gateway) -> None:
    connection = gateway.send(chat_request(model="agent:echo"))
    gateway.advance(1)
    assert connection.answer().json["choices"][0]["message"]["content"] == "hi"


def test_a_chunked_request_is_as_good(gateway: Gateway) -> None:
    head = http_request("POST", PATH, Transfer_Encoding="chunked")
    body = [b'{"messages":', b'[{"role":"user","content":"hi"}]}']
    connection = gateway.send(head + chunked(*body), by=1)
    gateway.model.calls[0].finish()
    assert connection.answer().status == 200


def test_the_form_content_type_is_not_parsed(gateway: Gateway) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert gateway.complete(headers).status == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [{"role": "x", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
            "messages[0].content[0].type",
        ),
        ({"model": 1}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"user": "u" * 257}, "user"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"stop": [1]}, "stop[0]"),
        ({"n": 2}, "n"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_bad_field_is_named_by_its_path(
    gateway: Gateway, fields: dict[str, Any], param: str
) -> None:
    connection = gateway.send(chat_request(**fields))
    answer = connection.answer()
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.error["type"] == "invalid_request_error"
    assert not connection.closed
    assert gateway.sessions() == {}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"a":NaN}', b"\xff{}", b'"\xed\xa0\x80"']
)
def test_a_body_that_is_no_json_object_is_refused(
    gateway: Gateway, body: bytes
) -> None:
    answer = gateway.ask(http_request("POST", PATH, body))
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


def test_a_missing_field_has_its_own_code(gateway: Gateway) -> None:
    answer = gateway.ask(http_request("POST", PATH, b"{}"))
    assert answer.error["code"] == "missing_field"
    assert answer.error["param"] == "messages"


FAILURES = [
    (ProviderFailed("It failed."), 502, "provider_error", None),
    (ProviderUnauthorized("No."), 502, "provider_unauthorized", "false"),
    (ProviderOverloaded("Later.", retry_after=7), 502, "provider_overloaded", None),
    (ProviderTimedOut("Silence."), 504, "provider_timeout", None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status", "code", "retry"), FAILURES)
def test_a_failure_at_once_is_a_status(
    gateway: Gateway,
    error: GatewayError,
    status: int,
    code: str,
    retry: str | None,
    stream: bool,
) -> None:
    gateway.model.error = error
    answer = gateway.ask(chat_request(stream=stream))
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.error["message"] == error.message
    assert answer.header("x-should-retry") == retry
    assert answer.header("x-moltbot-agent-id") == "main"
    wait = None if error.retry_after is None else str(error.retry_after)
    assert answer.header("retry-after") == wait


def test_a_failure_halfway_of_a_whole_answer_is_a_status(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    call.say("hel")
    call.fail(ProviderFailed("It broke."))
    answer = connection.answer()
    assert answer.status == 502
    assert b"hel" not in answer.body


def test_a_store_that_fails_is_told_and_not_to_be_retried(gateway: Gateway) -> None:
    gateway.store.failure = StoreFailed("The disk is full.")
    answer = gateway.ask(chat_request())
    assert (answer.status, answer.error["code"]) == (500, "session_store_error")
    assert answer.header("x-should-retry") == "false"


def test_a_run_that_takes_too_long_is_told(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(run_timeout=60.0)
    connection, call = gateway.chat()
    gateway.advance(60)
    answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (504, "run_timeout")
    assert call.cancelled


def test_a_missing_provider_is_told(make_gateway: MakeGateway) -> None:
    answer = make_gateway(missing_provider=True).ask(chat_request())
    assert (answer.status, answer.error["code"]) == (502, "provider_error")


def test_a_full_queue_says_when_to_come_back(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_waiting_per_session=1)
    for _ in range(2):
        gateway.send(chat_request(user="alice"))
    answer = gateway.ask(chat_request(user="alice"))
    assert (answer.status, answer.error["code"]) == (429, "queue_full")
    assert answer.error["type"] == "rate_limit_error"
    assert int(answer.header("retry-after") or "") > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_stopping_gateway_takes_no_run(gateway: Gateway, stream: bool) -> None:
    _, call = gateway.chat()
    gateway.drain()
    answer = gateway.ask(chat_request(stream=stream))
    assert (answer.status, answer.error["code"]) == (503, "draining")
    assert int(answer.header("retry-after") or "") > 0
    call.finish()


def test_a_stopping_gateway_lets_go_whoever_waits(gateway: Gateway) -> None:
    _, call = gateway.chat(user="alice")
    waiting = gateway.send(chat_request(user="alice"))
    gateway.drain()
    assert waiting.answer().status == 503
    call.finish()


def test_a_run_that_is_cut_off_by_the_stop_is_told(
    gateway: Gateway, log: LogTape
) -> None:
    connection, call = gateway.chat(user="alice")
    call.say("hel")
    gateway.drain(5.0)
    gateway.advance(5)
    assert connection.answer().status == 503
    assert log.take_problems() == ["cutting off what still runs: 1\n"]
    assert gateway.sessions() == {"agent:main:openai-user:alice": True}


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_cancels_its_run(gateway: Gateway, stream: bool) -> None:
    connection, call = gateway.chat(user="alice", stream=stream)
    call.say("hel")
    connection.hang_up()
    assert call.cancelled
    assert gateway.agents.idle
    assert gateway.sessions() == {"agent:main:openai-user:alice": True}
    last = gateway.history("agent:main:openai-user:alice")[-1]
    assert (last.text, last.stop_reason) == ("hel", "aborted")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_may_leave_its_run(
    make_gateway: MakeGateway, stream: bool
) -> None:
    gateway = make_gateway(on_disconnect="finish")
    connection, call = gateway.chat(user="alice", stream=stream)
    connection.hang_up()
    assert not call.cancelled
    call.say("hello")
    call.finish()
    assert gateway.history("agent:main:openai-user:alice")[-1].text == "hello"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_while_it_waits_gives_up_its_place(
    gateway: Gateway, stream: bool
) -> None:
    _, call = gateway.chat(user="alice")
    waiting = gateway.send(chat_request(user="alice", stream=stream))
    waiting.hang_up()
    assert gateway.agents.running == 1
    call.finish()
    assert len(gateway.model.calls) == 1
