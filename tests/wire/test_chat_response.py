from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.errors import InvalidRequest, ProviderFailed
from moltbot_gw.events import (
    FinishReason,
    ReasoningDelta,
    RunEnded,
    RunEvent,
    RunOutcome,
    RunStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.messages import ToolCall
from moltbot_gw.wire.chat_response import (
    ChunkRenderer,
    render_completion,
    render_error,
    render_model,
    render_models,
    usage_object,
)

USAGE = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
DONE = RunOutcome(state="done", finish_reason="stop", usage=USAGE, ended_at_ms=1)
FAILED = RunOutcome(
    state="failed", error=ProviderFailed("It\nbroke.", param="p"), ended_at_ms=1
)


def renderer(include_usage: bool = False, model: str = "moltbot") -> ChunkRenderer:
    return ChunkRenderer(
        completion_id="chatcmpl_1",
        created=1700000000,
        model=model,
        include_usage=include_usage,
    )


def payloads(records: bytes) -> list[Any]:
    """Return what each record says; each must be one line of JSON or ``[DONE]``."""
    *parts, rest = records.decode().split("\n\n")
    assert rest == ""
    values = []
    for part in parts:
        [line] = part.splitlines()
        data = line.removeprefix("data: ")
        assert data != line
        values.append(data if data == "[DONE]" else json.loads(data))
    return values


def choice(event: RunEvent) -> Any:
    [chunk] = payloads(renderer().render(event))
    [only] = chunk["choices"]
    return only


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1), st.text())
def test_chunk_is_one_line_of_json_for_any_text(text: str, model: str) -> None:
    [chunk] = payloads(renderer(model=model).render(TextDelta(text)))
    assert chunk["model"] == model
    assert chunk["choices"][0]["delta"] == {"content": text}


def test_chunk_has_all_that_clients_check() -> None:
    [chunk] = payloads(renderer().render(TextDelta("hi")))
    assert chunk == {
        "id": "chatcmpl_1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "moltbot",
        "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}],
    }


def test_first_chunk_names_the_role() -> None:
    delta = {"role": "assistant", "content": ""}
    assert choice(RunStarted(1)) == {"index": 0, "delta": delta, "finish_reason": None}


def test_reasoning_has_its_own_field() -> None:
    assert choice(ReasoningDelta("hm\u2028"))["delta"] == {
        "reasoning_content": "hm\u2028"
    }


def test_first_piece_of_a_call_has_id_type_and_name() -> None:
    assert choice(ToolCallDelta(index=1, id="c1", name="f"))["delta"] == {
        "tool_calls": [
            {
                "index": 1,
                "id": "c1",
                "type": "function",
                "function": {"name": "f", "arguments": ""},
            }
        ]
    }


def test_later_piece_of_a_call_has_only_its_arguments() -> None:
    piece = ToolCallDelta(index=1, arguments='{"a":"\u2028')
    assert choice(piece) == {
        "index": 0,
        "delta": {
            "tool_calls": [{"index": 1, "function": {"arguments": '{"a":"\u2028'}}]
        },
        "finish_reason": None,
    }


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_stream_closes_with_the_finish_reason(reason: FinishReason) -> None:
    outcome = RunOutcome(state="done", finish_reason=reason, ended_at_ms=1)
    chunk, done = payloads(renderer().render(RunEnded(outcome)))
    assert chunk["choices"] == [{"index": 0, "delta": {}, "finish_reason": reason}]
    assert done == "[DONE]"
    assert "usage" not in chunk


def test_usage_is_null_until_its_own_last_chunk() -> None:
    chunks = renderer(include_usage=True)
    events: list[RunEvent] = [
        RunStarted(1),
        TextDelta("a"),
        ReasoningDelta("b"),
        RunEnded(DONE),
    ]
    *others, usage, done = payloads(b"".join(map(chunks.render, events)))
    assert [chunk["usage"] for chunk in others] == [None] * 4
    assert (usage["choices"], usage["usage"]) == ([], usage_object(USAGE))
    assert usage["id"] == others[0]["id"]
    assert done == "[DONE]"


@pytest.mark.parametrize("include_usage", [False, True])
def test_failure_is_told_as_an_error_and_never_as_an_end(include_usage: bool) -> None:
    error, done = payloads(renderer(include_usage).render(RunEnded(FAILED)))
    assert error == {
        "error": {
            "message": "It\nbroke.",
            "type": "api_error",
            "param": "p",
            "code": "provider_error",
        }
    }
    assert done == "[DONE]"


def completion(**changes: Any) -> Any:
    fields: dict[str, Any] = {
        "completion_id": "chatcmpl_1",
        "created": 5,
        "model": "m",
        "text": "hi",
        "reasoning": "",
        "tool_calls": (),
        "outcome": DONE,
    }
    return json.loads(render_completion(**(fields | changes)))


def test_whole_answer_is_a_chat_completion() -> None:
    message = {"role": "assistant", "content": "hi"}
    assert completion() == {
        "id": "chatcmpl_1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def test_whole_answer_shows_reasoning_apart() -> None:
    message = completion(reasoning="hm", text="")["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "", "reasoning_content": "hm"}


@pytest.mark.parametrize(("text", "content"), [("", None), ("See.", "See.")])
def test_whole_answer_shows_calls_beside_its_words(
    text: str, content: str | None
) -> None:
    calls = [ToolCall("c1", "f", "{}"), ToolCall("c2", "g", '{"a":"é"}')]
    message = completion(text=text, tool_calls=calls)["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
            },
            {
                "id": "c2",
                "type": "function",
                "function": {"name": "g", "arguments": '{"a":"é"}'},
            },
        ],
    }


def test_details_of_usage_are_told_where_they_are_known() -> None:
    assert usage_object(Usage(cached_tokens=0, reasoning_tokens=5)) == {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }


def test_error_envelope_has_all_four_members_on_one_line() -> None:
    body = render_error(InvalidRequest("a\u2028b", param="n"))
    assert len(body.decode().splitlines()) == 1
    assert json.loads(body)["error"] == {
        "message": "a\u2028b",
        "type": "invalid_request_error",
        "param": "n",
        "code": "invalid_value",
    }


def test_models_are_listed_as_openai_does() -> None:
    model = {"id": "moltbot", "object": "model", "created": 5, "owned_by": "moltbot"}
    assert json.loads(render_model("moltbot", 5)) == model
    listed = json.loads(render_models(["moltbot", "moltbot:a"], 5))
    assert listed == {"object": "list", "data": [model, {**model, "id": "moltbot:a"}]}
    assert json.loads(render_models([], 5)) == {"object": "list", "data": []}


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("outcome", [DONE, FAILED])
def test_ids_change_nothing_else(outcome: RunOutcome, include_usage: bool) -> None:
    with_ids = renderer(include_usage).render_with_ids(RunEnded(outcome), (4, 0))
    ids = [line for line in with_ids.split(b"\n") if line.startswith(b"id: ")]
    bare = b"".join(
        line + b"\n" for line in with_ids.split(b"\n")[:-1] if line not in ids
    )
    assert bare == renderer(include_usage).render(RunEnded(outcome))
    assert len(ids) == len(set(ids)) == bare.count(b"data: ")
    assert (ids[0], ids[-1]) == (b"id: 3:1", b"id: 4:0")


def test_stream_always_has_its_end_marker() -> None:
    for had in range(4):
        records = renderer().render_with_ids(RunEnded(DONE), (4, 0), had)
        assert records.endswith(b"id: 4:0\ndata: [DONE]\n\n")


def test_id_is_the_place_behind_the_text() -> None:
    records = renderer().render_with_ids(TextDelta("hi"), (3, 17))
    assert records == b"id: 3:17\n" + renderer().render(TextDelta("hi"))
