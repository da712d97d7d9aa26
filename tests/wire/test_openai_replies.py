"""What providers say."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.events import ModelEvent, ReasoningDelta, TextDelta, Usage
from moltbot_gw.wire.openai import (
    MAX_EVENT_BYTES,
    ChatStreamDecoder,
    decode_error,
    decode_reply,
)
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.sse import EventTooLarge

RECORDED = (
    ": connected\n\n"
    'data: {"id":"1","choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
    'data: {"choices":[{"delta":{"reasoning_content":"Let me "}}]}\n\n'
    'data: {"choices":[{"delta":{"reasoning":"see\u2028"}}],"usage":null}\r\n\r\n'
    'data: {"choices":[{"delta":{"content":"Grüße, "},"finish_reason":""}]}\n\n'
    'data: {"choices":[{"delta":{"content":"Welt \U0001f30d"}}]}\n\n'
    'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n'
    'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6,'
    '"total_tokens":11,"prompt_tokens_details":{"cached_tokens":2},'
    '"completion_tokens_details":{"reasoning_tokens":3}}}\n\n'
    "data: [DONE]\n\n"
).encode()


def joined(events: list[ModelEvent]) -> tuple[str, str]:
    """Return reasoning and text of *events*."""
    reasoning = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
    return reasoning, "".join(e.text for e in events if isinstance(e, TextDelta))


def record(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(finish_reason: str | None = None, **delta: Any) -> bytes:
    return record({"choices": [{"delta": delta, "finish_reason": finish_reason}]})


def decoded(*pieces: bytes) -> tuple[ChatStreamDecoder, list[ModelEvent]]:
    decoder = ChatStreamDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return decoder, events + decoder.flush()


def check_recorded(*pieces: bytes) -> None:
    decoder, events = decoded(*pieces)
    assert joined(events) == ("Let me see\u2028", "Grüße, Welt \U0001f30d")
    assert (decoder.finish_reason, decoder.done) == ("length", True)
    assert decoder.usage == Usage(
        prompt_tokens=5,
        completion_tokens=6,
        total_tokens=11,
        cached_tokens=2,
        reasoning_tokens=3,
    )


def test_recorded_stream_reads_the_same_wherever_it_is_cut() -> None:
    for cut in range(len(RECORDED) + 1):
        check_recorded(RECORDED[:cut], RECORDED[cut:])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(RECORDED)), max_size=20))
def test_recorded_stream_reads_the_same_in_many_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(RECORDED)]
    check_recorded(*(RECORDED[a:b] for a, b in pairwise(edges)))


def test_neighbouring_pieces_of_one_read_are_joined() -> None:
    decoder = ChatStreamDecoder()
    stream = chunk(content="a") + chunk(content="b") + chunk(reasoning="c")
    assert decoder.feed(stream + chunk(content="d")) == [
        TextDelta("ab"),
        ReasoningDelta("c"),
        TextDelta("d"),
    ]


def test_reasoning_comes_before_the_words_of_its_chunk() -> None:
    decoder = ChatStreamDecoder()
    assert decoder.feed(chunk(content="b", reasoning_content="a")) == [
        ReasoningDelta("a"),
        TextDelta("b"),
    ]


def test_empty_pieces_are_no_events() -> None:
    stream = chunk(content="", reasoning="", reasoning_content=None) + record({})
    stream += record({"choices": [{}]})
    decoder, events = decoded(stream, b"data:\n\n", b"data:  \n\n")
    assert (events, decoder.done, decoder.finish_reason) == ([], False, None)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("eos", "stop"),
        (None, None),
        ("", None),
    ],
)
def test_finish_reason_is_told_in_openais_words(
    said: str | None, meant: str | None
) -> None:
    decoder, _ = decoded(chunk(said))
    assert decoder.finish_reason == meant


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({}, Usage()),
        (
            {"prompt_tokens": 2, "completion_tokens": 3},
            Usage(prompt_tokens=2, completion_tokens=3, total_tokens=5),
        ),
        (
            {"prompt_tokens": 2, "completion_tokens": None, "total_tokens": 9},
            Usage(prompt_tokens=2, total_tokens=9),
        ),
        ({"prompt_tokens_details": {}}, Usage()),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, Usage(cached_tokens=0)),
        (
            {"completion_tokens_details": {"reasoning_tokens": 4}, "cost": 0.1},
            Usage(reasoning_tokens=4),
        ),
    ],
)
def test_usage_with_and_without_details(said: Any, usage: Usage) -> None:
    decoder, _ = decoded(record({"choices": [], "usage": said}))
    assert decoder.usage == usage


def test_last_usage_counts() -> None:
    first, last = ({"usage": {"prompt_tokens": n}} for n in (1, 2))
    decoder, _ = decoded(record(first) + record(last))
    assert decoder.usage == Usage(prompt_tokens=2, total_tokens=2)


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        ({"message": "no", "code": "x", "type": "y"}, "no", "x"),
        ({"message": "no", "type": "y"}, "no", "y"),
        ({"message": "no", "code": 429}, "no", "429"),
        ({"code": "x"}, "", "x"),
        ({}, "", None),
        ("boom", "boom", None),
    ],
)
def test_error_in_the_stream_is_raised(
    error: Any, message: str, code: str | None
) -> None:
    with pytest.raises(ProviderError) as caught:
        decoded(chunk(content="a") + record({"error": error}))
    assert (caught.value.message, caught.value.code) == (message, code)


@pytest.mark.parametrize(
    "payload",
    [
        b"garbage",
        b"[1]",
        b"5",
        b"null",
        b'{"choices":5}',
        b'{"choices":[{"delta":{"content":5}}]}',
        b'{"choices":[{"delta":{"content":"\\ud800"}}]}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b"[" * 100_000,
        b'{"x":' + b"[" * 100_000,
        b'{"error":[]}',
    ],
)
def test_garbage_is_the_providers_failure(payload: bytes) -> None:
    with pytest.raises(ProviderError, match="no chunk"):
        decoded(b"data: " + payload + b"\n\n")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    try:
        decoded(b"data: " + payload)
        decode_error(payload)
        decode_reply(payload)
    except ProviderError:
        pass


@pytest.mark.parametrize(
    "payloads",
    [
        [b'{"error":""}', b"{}"],
        [b'{"choices":[{}', b"{}]}"],
        [b"{}", b"{},{}"],
        [b"{}", b"garbage"],
    ],
)
def test_records_of_one_read_are_judged_one_by_one(payloads: list[bytes]) -> None:
    stream = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    with pytest.raises(ProviderError):
        ChatStreamDecoder().feed(stream)


def test_endless_event_is_refused() -> None:
    with pytest.raises(EventTooLarge):
        ChatStreamDecoder().feed(b"data: " + b"x" * MAX_EVENT_BYTES)


@pytest.mark.parametrize(
    "end",
    [
        b"data: [DONE]\n\n",
        b"data:[DONE]\n\n",
        b"data: [DONE] \r\n\r\n",
        b"data: [DONE]",
        b"data: [DONE]\n",
        b"event: done\ndata: [DONE]\n\n",
    ],
)
def test_end_marker_is_seen_in_each_form(end: bytes) -> None:
    decoder, _ = decoded(end)
    assert decoder.done


def test_nothing_counts_after_the_end_marker() -> None:
    decoder, events = decoded(b"data: [DONE]\n\ndata: garbage\n\n" + chunk(content="a"))
    assert (decoder.done, events) == (True, [])
    assert decoder.feed(b"data: garbage\n\n") == []


def test_stream_of_whole_messages_is_understood() -> None:
    _, events = decoded(record({"choices": [{"message": {"content": "hi"}}]}))
    assert events == [TextDelta("hi")]


def test_whole_reply_is_read() -> None:
    message = {"role": "assistant", "content": "hi", "reasoning_content": "hm"}
    body = {
        "choices": [{"message": message, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    events, reason, usage = decode_reply(json.dumps(body).encode())
    assert events == [ReasoningDelta("hm"), TextDelta("hi")]
    assert reason == "length"
    assert usage == Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)


def test_refusal_is_told_in_its_words_and_is_no_plain_answer() -> None:
    pieces = [chunk(refusal="I can"), chunk(refusal="not."), chunk("stop")]
    decoder, events = decoded(*pieces)
    assert events == [TextDelta("I can"), TextDelta("not.")]
    assert decoder.finish_reason == "content_filter"
    body = b'{"choices": [{"message": {"refusal": "No."}, "finish_reason": "stop"}]}'
    assert decode_reply(body)[:2] == ([TextDelta("No.")], "content_filter")


def test_whole_reply_may_leave_out_all_but_the_choice() -> None:
    assert decode_reply(b'{"choices":[{}]}') == ([], "stop", Usage())


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"choices":[]}', b'{"error":"x"}']
)
def test_reply_without_a_choice_is_a_failure(body: bytes) -> None:
    with pytest.raises(ProviderError):
        decode_reply(body)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error":{"message":"m","type":"t","code":null}}', "m", "t"),
        (b'{"error":{"message":"m","type":"t","code":"c"}}', "m", "c"),
        (b'[{"error":{"message":"m","code":400}}]', "m", "400"),
        (b'{"error":"m"}', "m", None),
        (b'{"detail":"m"}', "m", None),
        (b'{"detail":[{"loc":["body"],"msg":"m"}]}', "", None),
        (b'{"message":"m","detail":"d"}', "m", None),
        (b"{}", "", None),
        (b"[]", "", None),
        (b"<html><h1>502 Bad Gateway</h1></html>", "", None),
        (b"", "", None),
        (b'{"error":{"message":"\xff"}}', "", None),
        (b"[" * 100_000, "", None),
    ],
)
def test_error_body_is_read_in_every_known_form(
    body: bytes, message: str, code: str | None
) -> None:
    error = decode_error(body)
    assert (error.message, error.code) == (message, code)


def fed(*chunks: str) -> tuple[ChatStreamDecoder, str]:
    decoder = ChatStreamDecoder()
    events = decoder.feed("".join(f"data: {c}\n\n" for c in chunks).encode())
    return decoder, "".join(event.text for event in events)


@pytest.mark.parametrize(
    ("said", "prompt"),
    [("5.0", 5), (str(2**63), 0), ("-1", 0), ('"many"', 0), ("null", 0), ("[]", 0)],
)
def test_counts_that_make_no_sense_are_unsaid(said: str, prompt: int) -> None:
    usage = f'{{"prompt_tokens":{said},"completion_tokens":1}}'
    decoder, _ = fed(f'{{"choices":[],"usage":{usage}}}')
    assert decoder.usage is not None
    assert decoder.usage.prompt_tokens == prompt
    assert decoder.usage.total_tokens == prompt + 1


def test_usage_that_is_no_object_is_unsaid() -> None:
    decoder, _ = fed('{"choices":[],"usage":7}')
    assert decoder.usage == Usage()


def test_text_may_come_in_parts() -> None:
    parts = '[{"type":"text","text":"a"},{"type":"x"},{"text":5},"b",{"text":"c"}]'
    _, text = fed(f'{{"choices":[{{"delta":{{"content":{parts}}}}}]}}')
    assert text == "ac"


def test_a_second_choice_is_not_mixed_into_the_first() -> None:
    one = '{"choices":[{"index":0,"delta":{"content":"a"}}]}'
    two = '{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"length"}]}'
    decoder, text = fed(one, two)
    assert (text, decoder.finish_reason) == ("a", None)


def test_an_error_message_may_be_an_object() -> None:
    with pytest.raises(ProviderError) as caught:
        fed('{"error":{"message":{"why":"full"}}}')
    assert caught.value.message == '{"why":"full"}'
