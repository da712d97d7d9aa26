"""What providers answer that speak Anthropic Messages: recordings of our own making."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.events import (
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.wire.anthropic import MessageStreamDecoder, decode_message
from moltbot_gw.wire.callpieces import MAX_CALLS
from moltbot_gw.wire.openai import MAX_EVENT_BYTES
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.sse import EventTooLarge
from tests.support.fake_anthropic import (
    MODEL,
    PING,
    STOP,
    begin,
    call,
    end,
    event,
    failure,
    finish,
    grow,
    reply,
    start,
    thoughts,
    whole,
    words,
)

RECORDED = b"".join(
    [
        start(
            input_tokens=20, cache_read_input_tokens=5, cache_creation_input_tokens=3
        ),
        PING,
        thoughts(0, "Let me ", "see\u2028"),
        words(1, "Grüße, ", "Welt \U0001f30d"),
        call(2, "toolu_1", "look", "", '{"a', 't": "hé', 'r"}'),
        call(3, "toolu_2", "wait"),
        finish("tool_use", output_tokens=30),
        STOP,
    ]
)
CALLS = [("toolu_1", "look", '{"at": "hér"}'), ("toolu_2", "wait", "{}")]


def said(events: list[ModelEvent], kind: type[TextDelta] | type[ReasoningDelta]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def calls(events: list[ModelEvent]) -> list[tuple[str, str, str]]:
    """Return id, name and arguments of the calls, put together as clients do."""
    found: list[tuple[str, str, str]] = []
    for piece in events:
        if isinstance(piece, ToolCallDelta):
            if piece.name:
                assert piece.index == len(found)
                found.append((piece.id, piece.name, piece.arguments))
            else:
                call_id, name, arguments = found[piece.index]
                found[piece.index] = (call_id, name, arguments + piece.arguments)
    return found


def decoded(*pieces: bytes) -> tuple[MessageStreamDecoder, list[ModelEvent]]:
    decoder = MessageStreamDecoder(MODEL)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return decoder, events + decoder.flush()


def refused(*pieces: bytes) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        decoded(*pieces)
    return caught.value


def check_recorded(*pieces: bytes) -> None:
    decoder, events = decoded(*pieces)
    assert said(events, ReasoningDelta) == "Let me see\u2028"
    assert said(events, TextDelta) == "Grüße, Welt \U0001f30d"
    assert calls(events) == CALLS
    assert (decoder.finish_reason, decoder.done) == ("tool_calls", True)
    assert decoder.usage == Usage(
        prompt_tokens=28,
        completion_tokens=30,
        total_tokens=58,
        cached_tokens=5,
    )


# -- cut anywhere


def test_recorded_stream_reads_the_same_wherever_it_is_cut() -> None:
    for cut in range(len(RECORDED) + 1):
        check_recorded(RECORDED[:cut], RECORDED[cut:])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(RECORDED)), max_size=20))
def test_recorded_stream_reads_the_same_in_many_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(RECORDED)]
    check_recorded(*(RECORDED[a:b] for a, b in pairwise(edges)))


def test_stream_that_breaks_off_is_never_whole_with_half_a_call() -> None:
    outcomes = set()
    for cut in range(len(RECORDED)):
        try:
            decoder, events = decoded(RECORDED[:cut])
        except ProviderError:
            outcomes.add("refused")
            continue
        whole = decoder.done or decoder.finish_reason is not None
        outcomes.add("whole" if whole else "cut")
        if whole:
            assert decoder.finish_reason == "tool_calls"
            assert calls(events) == CALLS
    assert outcomes == {"refused", "cut", "whole"}


# -- pieces


def test_neighbouring_pieces_of_one_read_are_joined() -> None:
    decoder = MessageStreamDecoder(MODEL)
    stream = thoughts(0, "a", "b") + words(1, "c", "d") + call(2, "t", "look", "{", "}")
    assert decoder.feed(stream) == [
        ReasoningDelta("ab"),
        TextDelta("cd"),
        ToolCallDelta(index=0, id="t", name="look"),
        ToolCallDelta(index=0, arguments="{}"),
    ]


def test_pieces_come_as_they_are_said() -> None:
    decoder = MessageStreamDecoder(MODEL)
    assert decoder.feed(begin(0, "text", text="")) == []
    assert decoder.feed(grow(0, "text_delta", text="a")) == [TextDelta("a")]
    assert decoder.feed(grow(0, "text_delta", text="")) == []
    assert decoder.feed(grow(0, "text_delta", text="b")) == [TextDelta("b")]


def test_blocks_that_begin_with_their_words() -> None:
    blocks = begin(0, "thinking", thinking="hm") + end(0) + begin(1, "text", text="x")
    _, events = decoded(blocks)
    assert events == [ReasoningDelta("hm"), TextDelta("x")]


def test_calls_side_by_side_are_told_apart() -> None:
    mixed = [
        begin(0, "tool_use", id="a", name="look"),
        begin(1, "tool_use", id="b", name="wait"),
        grow(1, "input_json_delta", partial_json='{"b":'),
        grow(0, "input_json_delta", partial_json='{"a":'),
        grow(1, "input_json_delta", partial_json="1}"),
        grow(0, "input_json_delta", partial_json="2}"),
        end(0),
        end(1),
        finish("tool_use"),
    ]
    _, events = decoded(b"".join(mixed))
    assert calls(events) == [("a", "look", '{"a":2}'), ("b", "wait", '{"b":1}')]


@pytest.mark.parametrize(
    ("begun", "pieces", "arguments"),
    [
        ({"at": 1}, [], '{"at":1}'),
        ({"at": 1}, ['{"at":2}'], '{"at":2}'),
        ({}, [], "{}"),
        (None, [], "{}"),
        ("x", [], "{}"),
    ],
)
def test_arguments_that_a_call_begins_with(
    begun: object, pieces: list[str], arguments: str
) -> None:
    stream = begin(0, "tool_use", id="t", name="look", input=begun)
    for piece in pieces:
        stream += grow(0, "input_json_delta", partial_json=piece)
    _, events = decoded(stream + end(0) + finish("tool_use"))
    assert calls(events) == [("t", "look", arguments)]


def test_call_without_an_id_of_its_own_gets_one() -> None:
    stream = call(0, "t", "look") + call(1, "t", "look") + call(2, "", "look")
    _, events = decoded(stream)
    ids = [call_id for call_id, _, _ in calls(events)]
    assert ids[0] == "t"
    assert len(set(ids)) == 3
    assert all(ids)


def test_tools_of_the_provider_itself_are_no_calls() -> None:
    stream = begin(0, "server_tool_use", id="s", name="web_search", input={})
    stream += grow(0, "input_json_delta", partial_json='{"query"') + end(0)
    stream += begin(1, "web_search_tool_result", content=[{"type": "x"}]) + end(1)
    decoder, events = decoded(stream + words(2, "found") + finish("pause_turn"))
    assert (events, decoder.finish_reason) == ([TextDelta("found")], "stop")


def test_what_is_not_known_is_passed_over() -> None:
    stream = event("weather", index=0, sun=True)
    stream += begin(0, "redacted_thinking", data="x") + end(0)
    stream += begin(1, "text", text="", citations=[])
    stream += grow(1, "citations_delta", citation={"cited_text": "x"}) + end(1)
    stream += event("content_block_delta", index=1) + event("content_block_start")
    stream += event("message_start") + event("message_delta")
    decoder, events = decoded(stream + b"data: {}\n\n" + b"data:\n\n" + b": x\n\n")
    assert (events, decoder.finish_reason, decoder.done) == ([], None, False)


# -- the end


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("tool_use", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("bored", "stop"),
    ],
)
def test_stop_reasons(told: str, meant: str) -> None:
    decoder, _ = decoded(words(0, "x") + finish(told))
    assert (decoder.finish_reason, decoder.done) == (meant, False)


@pytest.mark.parametrize(
    ("told", "meant"),
    [("tool_use", "tool_calls"), ("end_turn", "tool_calls"), ("max_tokens", "length")],
)
def test_stop_reason_behind_a_call(told: str, meant: str) -> None:
    decoder, _ = decoded(call(0, "t", "look", "{}") + finish(told))
    assert decoder.finish_reason == meant


def test_call_that_the_limit_cut_gets_no_arguments() -> None:
    _, events = decoded(call(0, "t", "look") + finish("max_tokens"))
    assert calls(events) == [("t", "look", "")]


@pytest.mark.parametrize(
    ("block", "meant"), [(words(0, "x"), "stop"), (call(0, "t", "look"), "tool_calls")]
)
def test_reason_told_twice(block: bytes, meant: str) -> None:
    decoder, events = decoded(block + finish("tool_use") + finish("end_turn") + STOP)
    assert decoder.finish_reason == meant
    assert [arguments for _, _, arguments in calls(events)] in ([], ["{}"])


@pytest.mark.parametrize(
    ("block", "meant"), [(words(0, "x"), "stop"), (call(0, "t", "look"), "tool_calls")]
)
def test_end_without_a_reason(block: bytes, meant: str) -> None:
    decoder, events = decoded(block + finish(None))
    assert decoder.finish_reason is None
    decoder, events = decoded(block + STOP)
    assert (decoder.finish_reason, decoder.done) == (meant, True)
    assert all(arguments for _, _, arguments in calls(events))


def test_nothing_counts_behind_the_end() -> None:
    behind = words(1, "more") + failure("api_error", "late") + b"data: nonsense\n\n"
    decoder, events = decoded(b"".join(whole(words(0, "x"))) + behind, behind)
    assert (events, decoder.finish_reason) == ([TextDelta("x")], "stop")


def test_last_event_may_lack_its_blank_line() -> None:
    decoder, events = decoded((words(0, "x") + finish("max_tokens")).rstrip())
    assert (events, decoder.finish_reason) == ([TextDelta("x")], "length")


# -- usage

SMALLEST = Usage(prompt_tokens=7, completion_tokens=3, total_tokens=10)


@pytest.mark.parametrize(
    ("first", "last", "usage"),
    [
        ({}, {}, SMALLEST),
        (
            {"input_tokens": 0, "cache_read_input_tokens": 0},
            {"input_tokens": 9, "cache_read_input_tokens": 4},
            Usage(
                prompt_tokens=13, completion_tokens=3, total_tokens=16, cached_tokens=4
            ),
        ),
        (
            {"input_tokens": 9},
            {"input_tokens": 0},
            Usage(prompt_tokens=9, completion_tokens=3, total_tokens=12),
        ),
        (
            {"input_tokens": -1},
            {"output_tokens": 2**60},
            Usage(prompt_tokens=0, completion_tokens=1, total_tokens=1),
        ),
        (
            {},
            {"output_tokens_details": {"thinking_tokens": 2, "more": 1}},
            Usage(
                prompt_tokens=7,
                completion_tokens=3,
                total_tokens=10,
                reasoning_tokens=2,
            ),
        ),
        ({"output_tokens_details": 3}, {}, SMALLEST),
        (
            {"input_tokens": "7"},
            {"cache_creation_input_tokens": None, "output_tokens": 2.0},
            Usage(prompt_tokens=0, completion_tokens=2, total_tokens=2),
        ),
    ],
)
def test_usage_is_what_was_reported_last_and_makes_sense(
    first: dict[str, Any], last: dict[str, Any], usage: Usage
) -> None:
    decoder, _ = decoded(start(**first) + finish(**last))
    assert decoder.usage == usage


def test_usage_of_the_prompt_is_known_from_the_beginning() -> None:
    decoder, _ = decoded(start())
    assert decoder.usage == Usage(prompt_tokens=7, completion_tokens=1, total_tokens=8)


# -- failures


def test_failure_in_the_stream_keeps_what_was_said_before_it() -> None:
    stream = words(0, "Hel") + failure("overloaded_error", "Overloaded")
    error = refused(stream + words(1, "lo"))
    assert (error.message, error.code) == ("Overloaded", "overloaded_error")
    assert error.events == [TextDelta("Hel")]


@pytest.mark.parametrize(
    ("payload", "message", "code"),
    [
        ('{"type": "error"}', "", None),
        ('{"type": "error", "message": "no"}', "no", None),
        ('{"error": "no"}', "no", None),
        ('{"error": {"message": "no", "code": 500}}', "no", "500"),
    ],
)
def test_other_ways_to_tell_a_failure(
    payload: str, message: str, code: str | None
) -> None:
    error = refused(f"data: {payload}\n\n".encode())
    assert (error.message, error.code) == (message, code)


@pytest.mark.parametrize(
    "stream",
    [
        b"data: nonsense\n\n",
        b"data: []\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"type": 1}\n\n',
        event("content_block_delta", index="0", delta={}),
        event("content_block_delta", index=0, delta={"text": 1}),
        grow(0, "input_json_delta", partial_json="{}"),
        begin(0, "tool_use", id="t") + end(0),
        begin(0, "tool_use", id="t", name="look") + finish("tool_use"),
        begin(0, "tool_use", id="t", name="look") + STOP,
        begin(0, "tool_use", id="t", name="look") + words(0, "x"),
        finish("end_turn") + call(0, "t", "look"),
        b"".join(begin(n, "text") for n in range(MAX_CALLS + 1)),
        b"".join(call(n, "", "look") for n in range(MAX_CALLS + 1)),
    ],
)
def test_what_makes_no_sense_is_a_failure(stream: bytes) -> None:
    assert refused(stream).code is None


def test_event_without_end_is_too_large() -> None:
    with pytest.raises(EventTooLarge):
        MessageStreamDecoder(MODEL).feed(b"data: " + b"x" * MAX_EVENT_BYTES)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_a_clean_failure(data: bytes) -> None:
    cut = len(RECORDED) // 2
    with suppress(ProviderError):
        decoded(RECORDED[:cut], data, RECORDED[cut:])


# -- whole messages


def test_whole_message() -> None:
    body = reply(
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"at": 1}},
        {"type": "tool_use", "id": "u", "name": "wait", "input": {}},
        reason="tool_use",
    )
    events, reason, usage = decode_message(json.dumps(body).encode(), MODEL)
    assert said(events, ReasoningDelta) == "hm"
    assert said(events, TextDelta) == "Hello"
    assert calls(events) == [("t", "look", '{"at":1}'), ("u", "wait", "{}")]
    assert reason == "tool_calls"
    assert usage == Usage(prompt_tokens=7, completion_tokens=3, total_tokens=10)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"nonsense", "no message"),
        (b"[]", "no message"),
        (b"{}", "no content"),
        (b'{"content": null}', "no content"),
        (b'{"type": "error", "error": {"message": "too much"}}', "too much"),
    ],
)
def test_whole_message_that_is_none(body: bytes, message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        decode_message(body, MODEL)


def test_whole_message_without_a_reason() -> None:
    events, reason, usage = decode_message(b'{"content": []}', MODEL)
    assert (events, reason, usage) == ([], "stop", Usage())
