"""What providers answer that speak OpenAI Responses: recordings of our own making."""

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
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.wire.callpieces import MAX_CALLS
from moltbot_gw.wire.openai import MAX_EVENT_BYTES
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.responses import ResponseStreamDecoder, decode_response
from moltbot_gw.wire.sse import EventTooLarge
from tests.support.fake_responses import (
    MODEL,
    START,
    added,
    call,
    delta,
    done,
    event,
    failed,
    failure,
    finish,
    function_call,
    incomplete,
    message,
    refusal,
    response,
    thought,
    thoughts,
    whole,
    words,
)
from tests.wire.test_anthropic_replies import calls, said

RECORDED = b"".join(
    whole(
        thoughts(0, "Let me ", "see\u2028"),
        words(1, "Grüße, ", "Welt \U0001f30d"),
        call(2, "call_1", "look", '{"a', 't": "hé', 'r"}'),
        call(3, "call_2", "wait"),
    )
)
CALLS = [("call_1", "look", '{"at": "hér"}'), ("call_2", "wait", "{}")]
USAGE = Usage(
    prompt_tokens=7,
    completion_tokens=3,
    total_tokens=10,
    cached_tokens=5,
    reasoning_tokens=2,
)


def decoded(*pieces: bytes) -> tuple[ResponseStreamDecoder, list[ModelEvent]]:
    decoder = ResponseStreamDecoder(MODEL)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return decoder, events + decoder.flush()


def refused(*pieces: bytes) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        decoded(*pieces)
    return caught.value


def check_recorded(*pieces: bytes) -> None:
    decoder, events = decoded(*pieces)
    assert said(events, ReasoningDelta) == "Let me \n\nsee\u2028"
    assert said(events, TextDelta) == "Grüße, Welt \U0001f30d"
    assert calls(events) == CALLS
    assert isinstance(events[-1], ReasoningState)
    assert (decoder.finish_reason, decoder.done) == ("tool_calls", True)
    assert decoder.usage == USAGE


# -- cut anywhere


def test_recorded_stream_reads_the_same_wherever_it_is_cut() -> None:
    for cut in range(len(RECORDED) + 1):
        check_recorded(RECORDED[:cut], RECORDED[cut:])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(RECORDED)), max_size=20))
def test_recorded_stream_reads_the_same_in_many_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(RECORDED)]
    check_recorded(*(RECORDED[a:b] for a, b in pairwise(edges)))


def test_stream_that_breaks_off_is_whole_only_by_its_last_event() -> None:
    end = RECORDED.rindex(b"data: ")
    for cut in range(len(RECORDED)):
        with suppress(ProviderError):
            decoder, _ = decoded(RECORDED[:cut])
            is_whole = decoder.done
            assert (decoder.finish_reason is not None) is is_whole
            assert not is_whole or cut > end


# -- pieces


def test_neighbouring_pieces_of_one_read_are_joined() -> None:
    decoder = ResponseStreamDecoder(MODEL)
    stream = words(0, "a", "b") + call(1, "c", "look", "{", "}") + words(2, "d")
    assert decoder.feed(stream) == [
        TextDelta("ab"),
        ToolCallDelta(index=0, id="c", name="look"),
        ToolCallDelta(index=0, arguments="{}"),
        TextDelta("d"),
    ]


def test_pieces_come_as_they_are_said() -> None:
    decoder = ResponseStreamDecoder(MODEL)
    assert decoder.feed(START) == []
    assert decoder.feed(delta(0, "output_text", "x")) == [TextDelta("x")]
    assert decoder.feed(delta(1, "reasoning_text", "y")) == [ReasoningDelta("y")]
    assert (decoder.done, decoder.finish_reason, decoder.usage) == (False, None, None)


def test_calls_side_by_side_are_told_apart() -> None:
    first, second = (function_call(i, f"c{i}", "look", f'{{"a":{i}}}') for i in (0, 1))
    kind = "function_call_arguments"
    stream = added(0, first) + added(1, second)
    stream += delta(0, kind, '{"a') + delta(1, kind, '{"a":') + delta(0, kind, '":0}')
    stream += done(1, second) + done(0, first)
    _, events = decoded(stream, finish())
    assert calls(events) == [("c0", "look", '{"a":0}'), ("c1", "look", '{"a":1}')]


def test_items_may_be_known_by_their_ids_alone() -> None:
    item = function_call(0, "c", "look", '{"a":1}')
    stream = event("response.output_item.added", item=item)
    stream += event(
        "response.function_call_arguments.delta", item_id="fc_0", delta='{"a"'
    )
    stream += event("response.output_item.done", item=item)
    _, events = decoded(stream, finish())
    assert calls(events) == [("c", "look", '{"a":1}')]


ITEM = function_call(0, "c", "look", '{"a":1}')


@pytest.mark.parametrize(
    "stream",
    [
        done(0, ITEM),
        added(0, ITEM) + done(0, ITEM),
        added(0, ITEM) + delta(0, "function_call_arguments", '{"a') + done(0, ITEM),
        added(0, ITEM)
        + event(
            "response.function_call_arguments.done", output_index=0, arguments='{"a":1}'
        ),
        added(0, ITEM)
        + delta(0, "function_call_arguments", '{"a":1}')
        + done(0, {**ITEM, "arguments": ""}),
        done(0, ITEM) + delta(0, "function_call_arguments", "late"),
        call(0, "c", "look", '{"a":1}')
        + event("response.function_call_arguments.done", output_index=9, arguments=""),
    ],
)
def test_ways_to_stream_a_call(stream: bytes) -> None:
    decoder, events = decoded(stream, finish())
    assert calls(events) == [("c", "look", '{"a":1}')]
    assert decoder.finish_reason == "tool_calls"


def test_call_without_arguments_has_an_empty_object() -> None:
    _, events = decoded(done(0, {**ITEM, "arguments": ""}), finish())
    assert calls(events) == [("c", "look", "{}")]


@pytest.mark.parametrize(
    ("stream", "output"),
    [
        (added(0, ITEM), [ITEM]),
        (added(0, ITEM) + delta(0, "function_call_arguments", '{"a"'), [ITEM]),
        (done(0, ITEM), [ITEM]),
        (words(0, "x"), [message(0, "x"), ITEM]),
        (words(0, "x"), [message(0, "x"), {**ITEM, "call_id": "c"}]),
        (b"", [ITEM]),
    ],
)
def test_call_that_only_the_end_tells_whole(stream: bytes, output: list[Any]) -> None:
    decoder, events = decoded(stream, finish("completed", *output))
    assert calls(events) == [("c", "look", '{"a":1}')]
    assert decoder.finish_reason == "tool_calls"


def test_call_without_an_id_of_its_own_gets_one() -> None:
    stream = [call(i, call_id, "look") for i, call_id in enumerate(("c", "c", ""))]
    _, events = decoded(*stream, finish())
    ids = [call_id for call_id, _, _ in calls(events)]
    assert ids[0] == "c"
    assert len(set(ids)) == 3
    assert all(ids)


def test_message_and_thought_without_their_pieces_are_said_at_their_end() -> None:
    stream = done(0, thought(0, "a", "b")) + done(1, message(1, "x"))
    stream += done(2, {"type": "reasoning", "content": [{"text": "raw"}]})
    stream += done(3, {"type": "reasoning", "summary": []}) + done(4, {"type": "odd"})
    stream += done(5, {"type": "message", "content": "odd"})
    decoder, events = decoded(stream, finish())
    assert said(events, ReasoningDelta) == "a\n\nbraw"
    assert said(events, TextDelta) == "x"
    assert decoder.finish_reason == "stop"


def test_what_is_not_known_is_passed_over() -> None:
    stream = (
        b": comment\n\ndata: \n\n"
        + event("response.web_search_call.searching", output_index=0, item_id="x")
        + event("response.odd", delta={"a": 1}, item=3, response="x", error="y")
        + event("response.output_text.delta", output_index=True, delta=None)
        + event("response.reasoning_summary_part.added", summary_index=0)
        + added(0, {"type": "web_search_call", "id": "ws_1"})
        + delta(0, "function_call_arguments", "x")
        + words(1, "x")
        + event("", odd=1)
    )
    decoder, events = decoded(stream, finish(), b"data: [DONE]\n\n")
    assert events == [TextDelta("x")]
    assert decoder.finish_reason == "stop"


# -- the end


@pytest.mark.parametrize(
    ("end", "meant"),
    [
        (finish(), "stop"),
        (incomplete("max_output_tokens"), "length"),
        (incomplete("content_filter"), "content_filter"),
        (incomplete("odd"), "length"),
        (event("response.incomplete"), "length"),
        (event("response.incomplete", response=response("in_progress")), "length"),
        (event("response.completed", response=response("incomplete")), "length"),
        (event("response.completed"), "stop"),
    ],
)
def test_finish_reasons(end: bytes, meant: str) -> None:
    assert decoded(words(0, "x"), end)[0].finish_reason == meant


def test_refusal_is_told_in_its_words_and_is_no_plain_answer() -> None:
    decoder, events = decoded(*whole(refusal(0, "I can", "not.")))
    assert said(events, TextDelta) == "I cannot."
    assert decoder.finish_reason == "content_filter"


def test_call_that_the_limit_cut_is_none() -> None:
    half = function_call(0, "c", "look", '{"a')
    stream = added(0, half) + delta(0, "function_call_arguments", '{"a')
    stream += done(0, {**half, "status": "incomplete"})
    decoder, events = decoded(stream, incomplete("max_output_tokens"))
    assert decoder.finish_reason == "length"
    assert calls(events) == [("c", "look", '{"a')]


def test_nothing_counts_behind_the_end() -> None:
    decoder, events = decoded(words(0, "x") + finish() + words(1, "y") + b"data: {\n\n")
    assert events == [TextDelta("x")]
    assert decoder.finish_reason == "stop"


def test_last_event_may_lack_its_blank_line() -> None:
    decoder, _ = decoded(words(0, "x"), finish().rstrip())
    assert decoder.done


def test_done_of_another_format_ends_nothing() -> None:
    decoder, _ = decoded(words(0, "x"), b"data: [DONE]\n\n")
    assert not decoder.done
    assert decoder.finish_reason is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage()),
        ({}, Usage()),
        ("odd", Usage()),
        (
            {"input_tokens": 1, "output_tokens": 2},
            Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3),
        ),
        (
            {"input_tokens": -1, "output_tokens": True, "input_tokens_details": 3},
            Usage(completion_tokens=1, total_tokens=1),
        ),
    ],
)
def test_usage_is_what_makes_sense(usage: Any, expected: Usage) -> None:
    assert decoded(finish(usage=usage))[0].usage == expected


# -- failures


@pytest.mark.parametrize(
    ("told", "message", "code"),
    [
        (
            failed("rate_limit_exceeded", "Slow down"),
            "Slow down",
            "rate_limit_exceeded",
        ),
        (failure("server_error", "Oops"), "Oops", "server_error"),
        (failure(None, "Oops"), "Oops", None),
        (event("error", error={"type": "x", "message": "Oops"}), "Oops", "x"),
        (b'data: {"error": "Oops"}\n\n', "Oops", None),
        (event("response.failed"), "", None),
        (event("response.failed", response=response("in_progress")), "", None),
        (event("response.completed", response=response("cancelled")), "", None),
    ],
)
def test_failure_keeps_what_was_said_before_it(
    told: bytes, message: str, code: str | None
) -> None:
    error = refused(words(0, "x") + told)
    assert (error.message, error.code) == (message, code)
    assert error.events == [TextDelta("x")]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: x\n\n",
        b"data: []\n\n",
        b'data: {"type": 3}\n\n',
        b"data: " + b'{"response":' * 5000 + b"\n\n",
        added(0, {**ITEM, "name": ""}),
        added(0, ITEM) + added(0, ITEM),
        delta(0, "function_call_arguments", "{"),
        added(0, ITEM) + finish(),
        added(0, ITEM) + delta(0, "function_call_arguments", '{"a":1}') + finish(),
        added(0, ITEM)
        + delta(0, "function_call_arguments", '{"a":1, "b"')
        + done(0, ITEM),
        done(0, {**ITEM, "status": "incomplete"}) + finish(),
        b"".join(call(i, f"c{i}", "look") for i in range(MAX_CALLS + 1)),
    ],
)
def test_what_makes_no_sense_is_a_failure(stream: bytes) -> None:
    assert refused(stream).code is None


def test_event_without_end_is_too_large() -> None:
    with pytest.raises(EventTooLarge):
        ResponseStreamDecoder(MODEL).feed(b"data: " + b"x" * MAX_EVENT_BYTES)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "id", "call_id", "name", "arguments", "content"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
KINDS = st.sampled_from(
    [
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_part.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    ]
)
ITEM_KINDS = st.sampled_from(["function_call", "message", "reasoning", "odd"])
ITEM_MEMBERS = ("call_id", "name", "arguments", "content", "summary", "status")
ITEMS = st.fixed_dictionaries(
    {"type": ITEM_KINDS}, optional=dict.fromkeys(ITEM_MEMBERS, VALUES)
)
MEMBERS = ("item_id", "delta", "arguments", "response", "error", "code", "message")
EVENTS = st.fixed_dictionaries(
    {"type": KINDS},
    optional={
        **dict.fromkeys(MEMBERS, VALUES),
        "output_index": st.integers(0, 2) | VALUES,
        "item": ITEMS | VALUES,
        "response": st.fixed_dictionaries({"output": st.lists(ITEMS)}) | VALUES,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=6))
def test_any_events_are_read_or_a_clean_failure(wires: list[Any]) -> None:
    with suppress(ProviderError):
        decoded(*(b"data: " + json.dumps(wire).encode() + b"\n\n" for wire in wires))


@given(st.binary(max_size=60))
def test_any_bytes_are_events_or_a_clean_failure(data: bytes) -> None:
    with suppress(ProviderError):
        decoded(b"data: " + data, b"\n\n" + data)


# -- whole replies


def test_whole_response() -> None:
    body = response("completed", thought(0, "hm"), message(1, "Hi"), ITEM)
    events, reason, usage = decode_response(json.dumps(body).encode(), MODEL)
    assert events[:2] == [ReasoningDelta("hm"), TextDelta("Hi")]
    assert calls(events) == [("c", "look", '{"a":1}')]
    assert isinstance(events[-1], ReasoningState)
    assert (reason, usage) == ("tool_calls", USAGE)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b"x", "the provider sent something that is no response", None),
        (b"[]", "the provider sent something that is no response", None),
        (b"{}", "the reply has no output", None),
        (b'{"error": {"message": "no", "code": "c"}}', "no", "c"),
        (json.dumps(response("failed", error={"message": "no"})).encode(), "no", None),
    ],
)
def test_whole_response_that_is_none(
    body: bytes, message: str, code: str | None
) -> None:
    with pytest.raises(ProviderError) as caught:
        decode_response(body, MODEL)
    assert (caught.value.message, caught.value.code) == (message, code)


def test_whole_response_of_a_refusal() -> None:
    part = {"type": "refusal", "refusal": "No."}
    body = response("completed", message(0, "", content=[part]))
    events, reason, _ = decode_response(json.dumps(body).encode(), MODEL)
    assert (events, reason) == ([TextDelta("No.")], "content_filter")
