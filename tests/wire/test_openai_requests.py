"""What providers are sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
from moltbot_gw.wire.openai_request import Dialect, encode_request

HI = UserMessage("hi")


def encode(
    *messages: Message,
    dialect: Dialect | None = None,
    system: str = "",
    **options: Any,
) -> Any:
    request = ModelRequest(
        model="m/1",
        system=system,
        messages=messages or (HI,),
        options=SamplingOptions(**options),
    )
    return json.loads(encode_request(request, dialect or Dialect()))


def wire(message: Message) -> Any:
    [only] = encode(message)["messages"]
    return only


def test_smallest_request_streams_and_asks_for_usage() -> None:
    assert encode() == {
        "model": "m/1",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("developer_role", "role"), [(False, "system"), (True, "developer")]
)
def test_system_text_comes_first_in_the_servers_role(
    developer_role: bool, role: str
) -> None:
    body = encode(system="be", dialect=Dialect(developer_role=developer_role))
    assert body["messages"][0] == {"role": role, "content": "be"}
    assert len(body["messages"]) == 2


@pytest.mark.parametrize(
    ("asked", "limit", "sent"),
    [(5, None, 5), (None, 9, 9), (5, 9, 5), (9, 5, 5), (None, None, None)],
)
def test_smaller_limit_of_client_and_model_is_sent(
    asked: int | None, limit: int | None, sent: int | None
) -> None:
    assert (
        encode(dialect=Dialect(max_tokens=limit), max_tokens=asked).get("max_tokens")
        == sent
    )


def test_limit_goes_into_the_servers_field() -> None:
    dialect = Dialect(max_tokens_field="max_completion_tokens")
    body = encode(dialect=dialect, max_tokens=5)
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


def test_server_that_can_store_is_told_not_to() -> None:
    assert encode(dialect=Dialect(store=True))["store"] is False


@pytest.mark.parametrize(("known", "sent"), [(True, "low"), (False, None)])
def test_reasoning_effort_only_where_it_is_understood(
    known: bool, sent: str | None
) -> None:
    body = encode(dialect=Dialect(reasoning_effort=known), reasoning_effort="low")
    assert body.get("reasoning_effort") == sent


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("top_p", 0.5),
        ("frequency_penalty", -1.0),
        ("presence_penalty", 1.0),
        ("seed", 0),
        ("stop", ["a", "b"]),
        ("response_format", {"type": "json_object"}),
    ],
)
def test_option_is_sent_as_it_came(name: str, value: Any) -> None:
    option: dict[str, Any] = {name: tuple(value) if name == "stop" else value}
    body = encode(**option)
    assert body[name] == value


def test_user_message_keeps_its_name_and_parts() -> None:
    parts = (TextPart("see"), ImagePart("data:a", "low"), ImagePart("data:b"))
    assert wire(UserMessage(parts, "eve")) == {
        "role": "user",
        "name": "eve",
        "content": [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": "data:a", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:b"}},
        ],
    }


def test_assistant_message_shows_words_only() -> None:
    message = AssistantMessage("hello", "reasons", (), "stop")
    assert wire(message) == {"role": "assistant", "content": "hello"}


@pytest.mark.parametrize(("text", "content"), [("", None), ("so", "so")])
def test_tool_calls_are_sent_beside_the_words(text: str, content: str | None) -> None:
    assert wire(AssistantMessage(text, "", (ToolCall("c", "f", "{}"),))) == {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
            }
        ],
    }


def test_tool_result_is_sent_by_its_id() -> None:
    assert wire(ToolMessage("42", "c", "f")) == {
        "role": "tool",
        "tool_call_id": "c",
        "content": "42",
    }


@pytest.mark.parametrize(("name", "sent"), [("f", "f"), (None, "function")])
def test_result_without_id_has_the_old_form(name: str | None, sent: str) -> None:
    message = ToolMessage((TextPart("42"),), None, name)
    assert wire(message) == {
        "role": "function",
        "name": sent,
        "content": [{"type": "text", "text": "42"}],
    }


def with_tools(choice: ToolChoice = "auto", **options: Any) -> Any:
    tools = (
        ToolSpec(
            name="f", description="does f", parameters={"type": "object"}, strict=True
        ),
        ToolSpec(name="g"),
    )
    request = ModelRequest(
        model="m",
        system="",
        messages=(HI,),
        options=SamplingOptions(**options),
        tools=tools,
        tool_choice=choice,
    )
    return json.loads(encode_request(request, Dialect()))


def test_tools_are_offered_with_what_is_known_of_them() -> None:
    body = with_tools()
    described = {
        "name": "f",
        "description": "does f",
        "parameters": {"type": "object"},
        "strict": True,
    }
    assert body["tools"] == [
        {"type": "function", "function": described},
        {"type": "function", "function": {"name": "g"}},
    ]
    # Not every server knows these, so what is the default stays unsaid.
    assert not {"tool_choice", "parallel_tool_calls"} & set(body)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("none", "none"),
        ("required", "required"),
        (NamedTool("f"), {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_choice_of_a_tool_is_passed_on(choice: ToolChoice, said: Any) -> None:
    assert with_tools(choice)["tool_choice"] == said


@pytest.mark.parametrize("several", [True, False])
def test_whether_several_tools_may_be_called_is_said_beside_tools(
    several: bool,
) -> None:
    assert with_tools(parallel_tool_calls=several)["parallel_tool_calls"] is several
    assert "parallel_tool_calls" not in encode(parallel_tool_calls=several)
