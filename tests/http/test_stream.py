"""A streamed answer: its order, its words, its silence and its failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import Usage
from moltbot_gw.http.sse import Reading, SSEStream
from moltbot_gw.interfaces import IRunSubscriber
from tests.support.gateway import CREATED, Gateway
from tests.support.http_client import chat_request, http_request

MakeGateway = Callable[..., Gateway]
KEEP_ALIVE = ": keep-alive"


def choices(chunks: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    """Return delta and finish reason of each chunk with a choice."""
    found = [choice for chunk in chunks for choice in chunk["choices"]]
    assert all(choice["index"] == 0 for choice in found)
    return [(choice["delta"], choice["finish_reason"]) for choice in found]


def test_a_stream_has_its_order(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    call.think("hm")
    call.say("hello")
    call.finish("length")
    answer = connection.answer()
    assert choices(answer.chunks) == [
        ({"role": "assistant", "content": ""}, None),
        ({"reasoning_content": "hm"}, None),
        ({"content": "hello"}, None),
        ({}, "length"),
    ]
    assert answer.records[-1] == "[DONE]"
    assert answer.records.count("[DONE]") == 1
    assert all("usage" not in chunk for chunk in answer.chunks)


def test_a_stream_has_its_headers(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True, user="alice")
    answer = connection.stream()
    call.finish()
    assert answer.status == 200
    assert answer.header("content-type") == "text/event-stream; charset=utf-8"
    assert answer.header("cache-control") == "no-cache, no-transform"
    assert answer.header("x-accel-buffering") == "no"
    assert answer.header("content-encoding") is None
    assert answer.header("x-request-id")
    assert answer.header("x-moltbot-agent-id") == "main"
    assert answer.header("x-moltbot-session-key") == "agent:main:openai-user:alice"


def test_all_chunks_share_id_created_and_model(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True, model="moltbot/beta")
    gateway.advance(5)
    call.say("a")
    gateway.advance(1)
    call.finish()
    chunks = connection.answer().chunks
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["id"].startswith("chatcmpl_")
    assert {(c["created"], c["model"], c["object"]) for c in chunks} == {
        (CREATED, "moltbot/beta", "chat.completion.chunk")
    }


def test_usage_comes_last_when_it_is_asked_for(gateway: Gateway) -> None:
    options = {"include_usage": True}
    connection, call = gateway.chat(stream=True, stream_options=options)
    call.say("a")
    call.finish(usage=Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3))
    *others, last = connection.answer().chunks
    assert [chunk["usage"] for chunk in others] == [None, None, None]
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
    }


def test_the_role_comes_before_the_first_word(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    (chunk,) = connection.stream().chunks
    assert chunk["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    call.finish()


def test_each_word_leaves_at_once_in_one_write(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    for text in ("a", "b"):
        before = len(connection.socket.writes)
        call.say(text)
        assert connection.stream().text.endswith(text)
        assert len(connection.socket.writes) == before + 1
    call.finish()


def test_line_separators_stay_inside_their_record(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    text = "a\n\nb\r\u2028c\u2029d\u0085e\x00 data: [DONE]\n\n"
    call.say(text)
    call.finish()
    assert connection.answer().text == text


def test_the_echo_agent_streams(gateway: Gateway) -> None:
    messages = [{"role": "user", "content": "one two three"}]
    body = chat_request(model="agent:echo", stream=True, messages=messages)
    connection = gateway.send(body)
    gateway.advance(1)
    assert connection.answer().text == "one two three"


def test_a_connection_streams_again_and_again(gateway: Gateway) -> None:
    connection = gateway.connect()
    for _ in range(3):
        connection.send(chat_request(stream=True))
        gateway.model.calls[-1].finish()
    assert [answer.status for answer in connection.answers()] == [200, 200, 200]


def test_http_1_0_gets_its_stream_unchunked_and_closed(gateway: Gateway) -> None:
    old = chat_request(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    connection = gateway.send(old)
    gateway.model.calls[0].say("hello")
    gateway.model.calls[0].finish()
    answer = connection.stream()
    assert answer.header("transfer-encoding") is None
    assert answer.records[-1] == "[DONE]"
    assert connection.closed


def test_a_stream_that_does_not_serve_yet_may_be_paused() -> None:
    request: Any = None
    renderer: Any = None
    stream = SSEStream(request, renderer, Clock(), 10.0, Reading())
    assert verifyObject(IRunSubscriber, stream)
    assert verifyObject(IPushProducer, stream)
    stream.pauseProducing()
    assert stream.paused
    stream.resumeProducing()
    stream.stopProducing()
    assert not stream.paused


# -- silence


def test_silence_is_filled_every_ten_seconds(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    gateway.advance(9.9)
    assert KEEP_ALIVE not in connection.stream().records
    gateway.advance(0.1)
    assert connection.stream().records[1:] == [KEEP_ALIVE]
    gateway.advance(20)
    assert connection.stream().records[1:] == [KEEP_ALIVE] * 3
    call.finish()


def test_only_silence_is_filled(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    for _ in range(5):
        gateway.advance(6)
        call.say("a")
    gateway.advance(9.9)
    assert KEEP_ALIVE not in connection.stream().records
    gateway.advance(0.1)
    assert KEEP_ALIVE in connection.stream().records
    call.finish()


def test_silence_is_filled_while_the_run_waits_for_its_lane(gateway: Gateway) -> None:
    _, first = gateway.chat(user="alice")
    waiting = gateway.send(chat_request(user="alice", stream=True))
    assert waiting.received == b""
    gateway.advance(20)
    assert waiting.stream().records == [KEEP_ALIVE] * 2
    first.finish()
    gateway.model.calls[-1].say("hello")
    gateway.model.calls[-1].finish()
    assert waiting.answer().text == "hello"


def test_a_failure_after_a_comment_is_told_in_the_stream(gateway: Gateway) -> None:
    _, first = gateway.chat(user="alice")
    waiting = gateway.send(chat_request(user="alice", stream=True))
    gateway.advance(10)
    gateway.drain()
    answer = waiting.answer()
    assert answer.status == 200
    assert answer.chunks[0]["error"]["code"] == "draining"
    first.finish()


def test_no_comment_looks_like_a_ping(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    gateway.advance(100)
    assert b": ping" not in connection.received
    call.finish()


def test_the_reader_who_is_paused_gets_no_comment(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    connection.socket.fill()
    gateway.advance(25)
    connection.socket.drain()
    assert KEEP_ALIVE not in connection.stream().records
    call.finish()
    assert connection.answer().records[-1] == "[DONE]"


def test_the_pace_of_comments_is_configured(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(keep_alive=2.0)
    connection, _ = gateway.chat(stream=True)
    gateway.advance(4)
    assert connection.stream().records[1:] == [KEEP_ALIVE] * 2


# -- failures


@pytest.mark.parametrize("words", [(), ("hel", "lo")])
def test_a_failure_after_the_first_byte_is_the_last_record(
    gateway: Gateway, words: tuple[str, ...]
) -> None:
    connection, call = gateway.chat(stream=True)
    call.say(*words)
    call.fail(ProviderFailed("It broke."))
    answer = connection.answer()
    assert answer.status == 200
    assert answer.records[-1] == "[DONE]"
    assert msgspec.json.decode(answer.records[-2]) == {
        "error": {
            "message": "It broke.",
            "type": "api_error",
            "param": None,
            "code": "provider_error",
        }
    }
    assert all(reason is None for _, reason in choices(answer.chunks[:-1]))


def test_a_failure_keeps_the_connection(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    call.fail(ProviderFailed("It broke."))
    connection.send(http_request())
    assert [answer.status for answer in connection.answers()] == [200, 200]


def test_an_answer_that_is_too_long_is_a_failure(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_run_bytes=100)
    connection, call = gateway.chat(stream=True)
    call.say("x" * 101)
    assert connection.answer().chunks[-1]["error"]["code"] == "provider_error"
    assert call.cancelled


def test_the_run_timeout_ends_a_stream(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(run_timeout=60.0)
    connection, _ = gateway.chat(stream=True)
    gateway.advance(60)
    assert connection.answer().chunks[-1]["error"]["code"] == "run_timeout"


def test_open_streams_are_counted(gateway: Gateway) -> None:
    connections = [gateway.chat(stream=True, user=user)[0] for user in "ab"]
    gateway.chat(user="c")
    assert len(gateway.site.streams) == 2
    connections[0].hang_up()
    assert len(gateway.site.streams) == 1
    gateway.model.calls[1].finish()
    assert len(gateway.site.streams) == 0
