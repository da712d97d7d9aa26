"""What providers that speak OpenAI Responses are sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moltbot_gw.events import ModelEvent
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    ModelRequest,
    NamedTool,
    SamplingOptions,
    TextPart,
    ToolCall,
    ToolChoice,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from moltbot_gw.wire.responses import ResponseStreamDecoder
from moltbot_gw.wire.responses_request import ResponsesDialect, encode_request
from tests.support.fake_responses import (
    MODEL,
    added,
    call,
    done,
    finish,
    incomplete,
    thought,
    thoughts,
    whole,
    words,
)
from tests.wire.test_thoughts import message_of

HI = UserMessage("hi")
LOOK = ToolSpec(name="look", description="Look.", parameters={"a": 1}, strict=True)
WAIT = ToolSpec(name="wait")
PICTURE = ImagePart("data:image/png;base64,AA==")
ENCRYPTED = ["reasoning.encrypted_content"]


def encode(
    *messages: Message,
    dialect: ResponsesDialect | None = None,
    system: str = "",
    tools: tuple[ToolSpec, ...] = (),
    tool_choice: ToolChoice = "auto",
    model: str = MODEL,
    **options: Any,
) -> Any:
    request = ModelRequest(
        model=model,
        system=system,
        messages=messages or (HI,),
        options=SamplingOptions(**options),
        tools=tools,
        tool_choice=tool_choice,
    )
    return json.loads(encode_request(request, dialect or ResponsesDialect()))


def items(*messages: Message, **members: Any) -> list[Any]:
    found: list[Any] = encode(*messages, **members)["input"]
    return found


# -- options


def test_smallest_request_streams_and_leaves_nothing_behind() -> None:
    assert encode() == {
        "model": MODEL,
        "input": [{"role": "user", "content": "hi"}],
        "stream": True,
        "store": False,
    }


def test_system_prompt_is_the_instructions() -> None:
    assert encode(system="Be kind.")["instructions"] == "Be kind."


@pytest.mark.parametrize(
    ("wish", "limit", "sent"),
    [
        (None, None, None),
        (100, None, 100),
        (None, 200, 200),
        (300, 200, 200),
        (1, None, 16),
    ],
)
def test_limit_of_a_model_bounds_the_wish(
    wish: int | None, limit: int | None, sent: int | None
) -> None:
    body = encode(dialect=ResponsesDialect(max_tokens=limit), max_tokens=wish)
    assert body.get("max_output_tokens") == sent


def test_options_that_the_format_has() -> None:
    body = encode(
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop=("x",),
        frequency_penalty=1.0,
        presence_penalty=1.0,
        parallel_tool_calls=False,
    )
    assert {
        k: body[k] for k in body.keys() - {"model", "input", "stream", "store"}
    } == {
        "temperature": 0.5,
        "top_p": 0.9,
    }


@pytest.mark.parametrize(
    ("wish", "sent"),
    [
        ({"type": "json_object"}, {"type": "json_object"}),
        ({"type": "json_schema"}, {"type": "json_schema"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
            {"type": "json_schema", "name": "n", "schema": {}},
        ),
    ],
)
def test_form_of_the_answer(wish: dict[str, Any], sent: dict[str, Any]) -> None:
    assert encode(response_format=wish)["text"] == {"format": sent}


@pytest.mark.parametrize(
    ("dialect", "effort", "reasoning", "include"),
    [
        ({}, None, None, None),
        ({}, "low", {"effort": "low", "summary": "auto"}, ENCRYPTED),
        ({}, "none", {"effort": "none"}, None),
        ({"reasons": True}, None, None, ENCRYPTED),
        ({"reasoning_effort": False}, "low", None, None),
        ({"reasons": True, "reasoning_effort": False}, "low", None, ENCRYPTED),
    ],
)
def test_thoughts_are_asked_for_where_there_are_some(
    dialect: dict[str, Any], effort: str | None, reasoning: Any, include: Any
) -> None:
    body = encode(dialect=ResponsesDialect(**dialect), reasoning_effort=effort)
    assert body.get("reasoning") == reasoning
    assert body.get("include") == include


def test_tools_are_offered_and_strict_only_where_it_is_asked_for() -> None:
    assert encode(tools=(LOOK, WAIT))["tools"] == [
        {
            "type": "function",
            "name": "look",
            "description": "Look.",
            "parameters": {"a": 1},
            "strict": True,
        },
        {
            "type": "function",
            "name": "wait",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        (NamedTool("look"), {"type": "function", "name": "look"}),
    ],
)
def test_choice_among_tools(choice: ToolChoice, sent: Any) -> None:
    body = encode(tools=(LOOK,), tool_choice=choice, parallel_tool_calls=False)
    assert body.get("tool_choice") == sent
    assert body["parallel_tool_calls"] is False


# -- messages


def test_conversation_becomes_items() -> None:
    calls = (ToolCall("c1", "look", '{"at": "x"}'), ToolCall("c2", "wait", ""))
    assert items(
        UserMessage((TextPart("see"), PICTURE, ImagePart("u", "low")), name="kim"),
        AssistantMessage("Well.", reasoning="hm", tool_calls=calls),
        ToolMessage("a cat", "c1"),
        ToolMessage((TextPart("no"), TextPart("luck")), "c2", is_error=True),
        AssistantMessage("A cat."),
        HI,
    ) == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": PICTURE.url, "detail": "auto"},
                {"type": "input_image", "image_url": "u", "detail": "low"},
            ],
        },
        {"role": "assistant", "content": "Well."},
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "look",
            "arguments": '{"at": "x"}',
        },
        {"type": "function_call", "call_id": "c2", "name": "wait", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
        {"type": "function_call_output", "call_id": "c2", "output": "no\nluck"},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "hi"},
    ]


def test_picture_that_a_tool_brings() -> None:
    result = items(ToolMessage((TextPart("see"), PICTURE), "c1"))[0]
    assert [part["type"] for part in result["output"]] == ["input_text", "input_image"]


@pytest.mark.parametrize("content", ["seen", (TextPart("seen"),)])
def test_result_without_an_id_is_told_in_words(content: Any) -> None:
    [item] = items(ToolMessage(content, None, "look"))
    assert [part["text"] for part in item["content"]] == ["Result of look:", "seen"]


@pytest.mark.parametrize("call_id", ["", "x" * 65])
def test_ids_that_are_refused_are_replaced_on_both_sides(call_id: str) -> None:
    calls = (ToolCall(call_id, "look", "{}"),)
    _, use, result = items(
        HI, AssistantMessage(tool_calls=calls), ToolMessage("a", call_id)
    )
    assert use["call_id"] == result["call_id"]
    assert 0 < len(use["call_id"]) <= 64


def test_conversation_without_any_words_is_still_one() -> None:
    assert items(AssistantMessage()) == [{"role": "user", "content": "(no words)"}]


# -- thoughts


def heard(*stream: bytes) -> AssistantMessage:
    decoder = ResponseStreamDecoder(MODEL)
    events: list[ModelEvent] = [e for piece in stream for e in decoder.feed(piece)]
    return message_of(events)


RESULT = ToolMessage("a cat", "c1")
THOUGHTFUL = heard(
    *whole(
        thoughts(0, "Let me see"),
        words(1, "Look", "ing", phase="commentary"),
        thoughts(2, encrypted="Z0FC"),
        call(3, "c1", "look", "{}"),
    )
)
THOUGHT = {
    "type": "reasoning",
    "id": "rs_0",
    "summary": [{"type": "summary_text", "text": "Let me see"}],
    "encrypted_content": "Z0FB",
}


def test_thoughts_go_back_encrypted_and_in_their_places() -> None:
    assert items(HI, THOUGHTFUL, RESULT)[1:-1] == [
        THOUGHT,
        {"role": "assistant", "content": "Looking", "phase": "commentary"},
        {
            "type": "reasoning",
            "id": "rs_2",
            "summary": [],
            "encrypted_content": "Z0FC",
        },
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    ]


@pytest.mark.parametrize(
    ("messages", "model"),
    [
        ((HI, THOUGHTFUL, RESULT), "gpt-2"),
        ((HI, THOUGHTFUL, RESULT, AssistantMessage("A cat."), HI), MODEL),
    ],
)
def test_thoughts_of_another_model_or_an_earlier_turn_are_left_out(
    messages: tuple[Message, ...], model: str
) -> None:
    sent = items(*messages, model=model)
    assert all(item.get("type") != "reasoning" for item in sent)
    assert {"role": "assistant", "content": "Looking"} in sent


@pytest.mark.parametrize(
    "stream",
    [
        (thoughts(0, "hm"), words(1, "x"), finish()),
        (words(0, "x"), call(1, "c1", "look"), finish()),
        (thoughts(0, "hm"), call(1, "c1", "look"), incomplete("max_output_tokens")),
    ],
)
def test_message_without_whole_calls_or_thoughts_keeps_none(
    stream: tuple[bytes, ...],
) -> None:
    assert heard(*stream).reasoning_state == ""


def test_end_of_a_response_may_bring_what_encrypts_a_thought() -> None:
    bare, full = thought(0, encrypted=None), thought(0, encrypted="late")
    other = thought(5, encrypted="not here")
    message = heard(
        added(0, bare),
        done(0, bare),
        call(1, "c1", "look"),
        finish("completed", full, other, other),
    )
    assert items(HI, message, RESULT)[1]["encrypted_content"] == "late"


def test_end_of_a_response_that_says_less_of_a_thought_takes_nothing_away() -> None:
    full, bare = thought(0), thought(0, encrypted=None)
    stream = (added(0, full), done(0, full), call(1, "c1", "look"))
    message = heard(*stream, finish("completed", bare))
    assert items(HI, message, RESULT)[1]["encrypted_content"] == "Z0FB"


def test_thought_that_is_a_mere_name_is_not_kept() -> None:
    message = heard(thoughts(0, "hm", encrypted=None), call(1, "c1", "look"), finish())
    assert message.reasoning_state == ""


def test_thought_that_is_not_encrypted_goes_back_as_it_is() -> None:
    content = [{"type": "reasoning_text", "text": "hm"}]
    item = {**thought(0, encrypted=None), "content": content}
    message = heard(added(0, item), done(0, item), call(1, "c1", "look"), finish())
    assert items(HI, message, RESULT)[1] == {
        "type": "reasoning",
        "id": "rs_0",
        "summary": [],
        "content": content,
    }


def test_thought_that_was_never_whole_is_not_kept() -> None:
    message = heard(added(0, thought(0)), call(1, "c1", "look"), finish())
    assert message.reasoning_state == ""
