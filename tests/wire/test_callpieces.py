"""Tool calls as the servers that people run stream them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.events import ModelEvent, TextDelta, ToolCallDelta
from moltbot_gw.messages import ToolCall
from moltbot_gw.wire.callpieces import MAX_CALLS
from moltbot_gw.wire.openai import ChatStreamDecoder, decode_reply
from moltbot_gw.wire.providererror import ProviderError

DONE = b"data: [DONE]\n\n"


def record(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def pieces(*calls: dict[str, Any], reason: str | None = None) -> bytes:
    """Return a chunk with *calls*."""
    return record(
        {"choices": [{"delta": {"tool_calls": calls}, "finish_reason": reason}]}
    )


def finish(reason: str = "tool_calls") -> bytes:
    return record({"choices": [{"delta": {}, "finish_reason": reason}]})


def piece(
    index: int | None = None,
    arguments: Any = None,
    *,
    id: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Return a piece with those members that are said."""
    function = {"name": name, "arguments": arguments}
    wire = {
        "index": index,
        "id": id,
        "function": {k: v for k, v in function.items() if v is not None},
    }
    return {k: v for k, v in wire.items() if v is not None}


def assembled(events: Iterable[ModelEvent]) -> tuple[ToolCall, ...]:
    """Return the calls in *events*, checked as strictly as the SDKs need it."""
    calls: list[ToolCall] = []
    for event in events:
        if not isinstance(event, ToolCallDelta):
            continue
        if event.name:
            assert event.index == len(calls)
            assert event.id
            calls.append(ToolCall(event.id, event.name, event.arguments))
        else:
            assert not event.id
            old = calls[event.index]
            whole = old.arguments + event.arguments
            calls[event.index] = ToolCall(old.id, old.name, whole)
    assert len({call.id for call in calls}) == len(calls)
    return tuple(calls)


def decoded(*data: bytes) -> tuple[tuple[ToolCall, ...], str | None]:
    """Return the calls of a stream, and why it stopped."""
    decoder = ChatStreamDecoder()
    events = [event for part in data for event in decoder.feed(part)]
    events += decoder.flush()
    return assembled(events), decoder.finish_reason


def said(*data: bytes) -> list[tuple[str, str]]:
    """Return names and arguments of the calls of a stream that ends with calls."""
    calls, reason = decoded(*data)
    assert reason == "tool_calls"
    return [(call.name, call.arguments) for call in calls]


F, G = ("f", '{"a":1}'), ("g", '{"b":2}')

ODD: dict[str, bytes] = {
    "openai": pieces(piece(0, "", id="c1", name="f"))
    + pieces(piece(0, '{"a"'))
    + pieces(piece(0, ":1}"))
    + pieces(piece(1, "", id="c2", name="g"))
    + pieces(piece(1, '{"b":2}'))
    + finish(),
    "both calls in each chunk": pieces(
        piece(0, "", id="c1", name="f"), piece(1, "", id="c2", name="g")
    )
    + pieces(piece(0, '{"a"'), piece(1, '{"b"'))
    + pieces(piece(1, ":2}"), piece(0, ":1}"))
    + finish(),
    "whole calls without index": pieces(piece(None, F[1], id="c1", name="f"))
    + pieces(piece(None, G[1], id="c2", name="g"))
    + finish("stop"),
    "whole calls without index and id": pieces(
        piece(None, F[1], name="f"), piece(None, G[1], name="g")
    )
    + finish("stop"),
    "whole calls that all have index 0": pieces(piece(0, F[1], id="c1", name="f"))
    + pieces(piece(0, G[1], id="c2", name="g"))
    + finish(),
    "whole calls with index 0 and no id": pieces(piece(0, F[1], name="f"))
    + pieces(piece(0, G[1], name="g"))
    + finish(),
    "pieces told apart by id alone": pieces(
        piece(None, "", id="c1", name="f"), piece(None, "", id="c2", name="g")
    )
    + pieces(piece(None, F[1], id="c1"), piece(None, G[1], id="c2"))
    + finish(),
    "pieces of index 0 told apart by id": pieces(
        piece(0, "", id="c1", name="f"), piece(0, "", id="c2", name="g")
    )
    + pieces(piece(0, F[1], id="c1"), piece(0, G[1], id="c2"))
    + finish(),
    "name and id in each piece": pieces(piece(0, '{"a"', id="c1", name="f"))
    + pieces(piece(0, ":1}", id="c1", name="f"))
    + pieces(piece(1, '{"b"', id="c2", name="g"))
    + pieces(piece(1, ":2}", id="c2", name="g"))
    + finish(),
    "name in each piece, no id": pieces(piece(0, '{"a"', name="f"))
    + pieces(piece(0, ":1}", name="f"))
    + pieces(piece(1, '{"b"', name="g"))
    + pieces(piece(1, ":2}", name="g"))
    + finish(),
    "a fresh id in each piece": pieces(piece(0, '{"a"', id="x1", name="f"))
    + pieces(piece(0, ":1}", id="x2"))
    + pieces(piece(1, '{"b"', id="x3", name="g"))
    + pieces(piece(1, ":2}", id="x4"))
    + finish(),
    "no index, the rest without id": pieces(piece(None, '{"a"', id="c1", name="f"))
    + pieces(piece(None, ":1}"))
    + pieces(piece(None, '{"b"', id="c2", name="g"))
    + pieces(piece(None, ":2}"))
    + finish(),
    "indexes from 1": pieces(piece(1, F[1], id="c1", name="f"))
    + pieces(piece(2, G[1], id="c2", name="g"))
    + finish(),
    "one id for both": pieces(piece(0, F[1], id="call", name="f"))
    + pieces(piece(1, G[1], id="call", name="g"))
    + finish(),
    "one id and one index for both": pieces(piece(0, F[1], id="call", name="f"))
    + pieces(piece(0, G[1], id="call", name="g"))
    + finish(),
    "arguments as an object": pieces(piece(0, {"a": 1}, id="c1", name="f"))
    + pieces(piece(1, {"b": 2}, id="c2", name="g"))
    + finish(),
    "empty name and id later": pieces(piece(0, "", id="c1", name="f"))
    + pieces(piece(0, F[1], id="", name=""))
    + pieces(piece(1, G[1], id="c2", name="g"))
    + finish(),
    "empty pieces before and behind": pieces(piece(0, "", name=""))
    + pieces(piece(0, F[1], id="c1", name="f"), piece(1, G[1], id="c2", name="g"))
    + pieces(piece(0, ""), {})
    + finish(),
    "a finish with each chunk": pieces(
        piece(0, "", id="c1", name="f"), reason="tool_calls"
    )
    + pieces(piece(0, F[1]), reason="tool_calls")
    + pieces(piece(1, G[1], id="c2", name="g"), reason="tool_calls"),
    "a stop before the calls": finish("stop")
    + pieces(piece(0, F[1], id="c1", name="f"), piece(1, G[1], id="c2", name="g")),
    "no finish but the end": pieces(
        piece(0, F[1], id="c1", name="f"), piece(1, G[1], id="c2", name="g")
    ),
    "words between": pieces(piece(0, '{"a"', id="c1", name="f"))
    + record({"choices": [{"delta": {"content": "one moment"}}]})
    + pieces(piece(0, ":1}"), piece(1, G[1], id="c2", name="g"))
    + finish(),
}

EARLY = {"a finish with each chunk", "a stop before the calls"}
"""Those that say before the last call why they stop: a cut looks like their end."""


@pytest.mark.parametrize("stream", ODD.values(), ids=ODD.keys())
def test_calls_of_all_servers_are_understood(stream: bytes) -> None:
    assert said(stream, DONE) == [F, G]


@pytest.mark.parametrize("stream", ODD.values(), ids=ODD.keys())
def test_cut_stream_goes_on_with_the_same_calls(stream: bytes) -> None:
    whole = stream + DONE
    for cut in range(len(whole)):
        assert said(whole[:cut], whole[cut:]) == [F, G]


@pytest.mark.parametrize("name", sorted(set(ODD) - EARLY))
def test_stream_that_breaks_off_is_not_whole_with_half_a_call(name: str) -> None:
    whole = ODD[name] + DONE
    for cut in range(len(whole)):
        try:
            calls, reason = decoded(whole[:cut])
        except ProviderError:
            continue
        if reason is not None:
            assert reason == "tool_calls"
            assert [(call.name, call.arguments) for call in calls] == [F, G]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(ODD)), st.lists(st.integers(0, 2000), max_size=20))
def test_stream_in_many_pieces_gives_the_same_calls(name: str, cuts: list[int]) -> None:
    whole = ODD[name] + DONE
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    assert said(*(whole[a:b] for a, b in pairwise(edges))) == [F, G]


def test_ids_are_kept_and_made_where_there_are_none() -> None:
    calls, _ = decoded(
        pieces(piece(0, "{}", id="c1", name="f"), piece(1, "{}", name="g")), DONE
    )
    assert calls[0].id == "c1"
    assert calls[1].id.startswith("call_")


@pytest.mark.parametrize("arguments", [None, "", {}])
def test_call_without_arguments_has_an_empty_object(arguments: Any) -> None:
    stream = pieces(piece(0, arguments, id="c1", name="f")) + finish()
    assert said(stream, DONE) == said(stream) == [("f", "{}")]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_call_that_was_cut_off_is_not_completed(reason: str) -> None:
    stream = pieces(piece(0, "", id="c1", name="f")) + finish(reason)
    calls, told = decoded(stream, DONE)
    assert (calls, told) == ((ToolCall("c1", "f", ""),), reason)


@pytest.mark.parametrize(
    "deltas",
    [
        [{"function_call": {"name": "f", "arguments": '{"a":1}'}}],
        [
            {"function_call": {"name": "f", "arguments": ""}},
            {"function_call": {"arguments": '{"a"'}},
            {"function_call": {"arguments": ":1}"}},
        ],
    ],
)
def test_call_of_the_old_form_is_a_call(deltas: list[Any]) -> None:
    stream = b"".join(record({"choices": [{"delta": delta}]}) for delta in deltas)
    assert said(stream + finish("function_call"), DONE) == [F]


def test_empty_call_of_the_old_form_is_none() -> None:
    empty = {"content": "hi", "function_call": {"name": "", "arguments": ""}}
    decoder = ChatStreamDecoder()
    events = decoder.feed(record({"choices": [{"delta": empty}]}) + finish("stop"))
    assert (events, decoder.finish_reason) == ([TextDelta("hi")], "stop")


@pytest.mark.parametrize(
    "first",
    [piece(0, "{}"), piece(0, "", id="c1"), piece(None, '{"a"'), piece(3, {"a": 1})],
)
def test_piece_before_its_name_is_the_providers_failure(first: dict[str, Any]) -> None:
    decoder = ChatStreamDecoder()
    with pytest.raises(ProviderError, match="before its name"):
        decoder.feed(pieces(first))


@pytest.mark.parametrize(
    "wire",
    [
        {"index": "0", "function": {"name": "f"}},
        {"index": 0, "function": {"name": 5}},
        {"index": 0, "function": {"name": "f", "arguments": [1]}},
        {"index": 0, "function": "f"},
        {"index": 0, "id": 7, "function": {"name": "f"}},
        5,
    ],
)
def test_piece_that_is_none_is_the_providers_failure(wire: Any) -> None:
    decoder = ChatStreamDecoder()
    with pytest.raises(ProviderError):
        decoder.feed(pieces(wire))


def test_what_was_said_before_a_bad_piece_comes_with_the_failure() -> None:
    decoder = ChatStreamDecoder()
    stream = pieces(piece(0, '{"a"', id="c1", name="f")) + pieces(piece(1, "x"))
    with pytest.raises(ProviderError) as caught:
        decoder.feed(stream)
    assert caught.value.events == [
        ToolCallDelta(index=0, id="c1", name="f", arguments='{"a"')
    ]
    assert decoder.finish_reason is None


def test_calls_are_counted() -> None:
    decoder = ChatStreamDecoder()
    for number in range(MAX_CALLS):
        decoder.feed(pieces(piece(number, "{}", id=f"c{number}", name="f")))
    with pytest.raises(ProviderError, match=f"more than {MAX_CALLS}"):
        decoder.feed(pieces(piece(MAX_CALLS, "{}", id="more", name="f")))


def test_nothing_is_taken_after_the_end() -> None:
    decoder = ChatStreamDecoder()
    first = decoder.feed(pieces(piece(0, "", id="c1", name="f")) + finish() + DONE)
    assert assembled(first) == (ToolCall("c1", "f", "{}"),)
    assert decoder.feed(pieces(piece(0, "x"))) == []
    assert decoder.flush() == []


def test_whole_reply_has_its_calls() -> None:
    calls = [piece(None, F[1], id="c1", name="f"), piece(None, None, id="c2", name="g")]
    message = {"role": "assistant", "content": "See.", "tool_calls": calls}
    for reason in ("stop", "tool_calls", None):
        choice = {"message": message, "finish_reason": reason}
        events, told, _ = decode_reply(json.dumps({"choices": [choice]}).encode())
        assert events[0] == TextDelta("See.")
        assert assembled(events) == (ToolCall("c1", *F), ToolCall("c2", "g", "{}"))
        assert told == "tool_calls"


def test_whole_reply_that_was_cut_off_keeps_its_half_call() -> None:
    message = {"content": None, "tool_calls": [piece(None, None, id="c1", name="f")]}
    choice = {"message": message, "finish_reason": "length"}
    events, told, _ = decode_reply(json.dumps({"choices": [choice]}).encode())
    assert (assembled(events), told) == ((ToolCall("c1", "f", ""),), "length")
