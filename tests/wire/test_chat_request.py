"""Every row of the contract's table of request fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moltbot_gw.errors import InvalidJSON, InvalidRequest, MissingField
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    NamedTool,
    SamplingOptions,
    TextPart,
    ToolCall,
    ToolChoice,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from moltbot_gw.wire.chat_request import (
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_TOOLS,
    ChatRequest,
    PicturePlace,
    parse_chat_request,
)

USER = {"role": "user", "content": "hi"}
PIXEL = "data:image/png;base64,AAAA"
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def parse(*messages: Any, **fields: Any) -> ChatRequest:
    body = {"messages": list(messages or [USER]), **fields}
    return parse_chat_request(json.dumps(body).encode())


def refusal(*messages: Any, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(*messages, **fields)
    error = caught.value
    assert error.status == 400
    assert error.param is None or error.message.startswith(error.param)
    return error


def tool(name: Any, **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **members}}


def chosen(name: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


TOOL = tool("f")


def only(message: dict[str, Any]) -> Message:
    [parsed] = parse(message).messages
    return parsed


def test_smallest_request_says_nothing_else() -> None:
    assert parse() == ChatRequest(
        model=None,
        messages=(UserMessage("hi"),),
        system="",
        options=SamplingOptions(),
        stream=False,
        include_usage=False,
        user=None,
    )


OPTIONAL = [
    "model",
    "stream",
    "stream_options",
    "user",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "stop",
    "response_format",
    "reasoning_effort",
    "parallel_tool_calls",
    "tools",
    "tool_choice",
    "n",
]


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_is_the_same_as_leaving_a_field_out(name: str) -> None:
    assert parse(**{name: None}) == parse()


def test_null_include_usage_is_the_same_as_leaving_it_out() -> None:
    assert parse(stream_options={"include_usage": None}) == parse()
    assert parse(stream_options={}) == parse()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0),
        ("temperature", 2),
        ("temperature", 0.5),
        ("top_p", 0),
        ("top_p", 1),
        ("frequency_penalty", -2),
        ("frequency_penalty", 2),
        ("presence_penalty", -2),
        ("presence_penalty", 2.0),
        ("max_tokens", 1),
        ("seed", -(2**63)),
        ("seed", 2**63 - 1),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
        ("response_format", {}),
        ("reasoning_effort", "high"),
    ],
)
def test_option_is_passed_on(name: str, value: Any) -> None:
    assert parse(**{name: value}).options == SamplingOptions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("messages", None),
        ("messages", []),
        ("messages", {}),
        ("messages", "hi"),
        ("model", 5),
        ("model", ["moltbot"]),
        ("stream", "true"),
        ("stream", 1),
        ("stream_options", True),
        ("user", 5),
        ("user", "u" * 257),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "1"),
        ("temperature", True),
        ("top_p", -0.1),
        ("top_p", 1.1),
        ("frequency_penalty", -2.1),
        ("frequency_penalty", 2.1),
        ("presence_penalty", -2.1),
        ("presence_penalty", "0"),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("max_tokens", 2**53 + 1),
        ("max_completion_tokens", 0),
        ("max_completion_tokens", "5"),
        ("seed", 2**63),
        ("seed", -(2**63) - 1),
        ("seed", 0.5),
        ("stop", 5),
        ("stop", {}),
        ("response_format", "json"),
        ("reasoning_effort", 5),
        ("parallel_tool_calls", "yes"),
        ("tools", {}),
        ("tool_choice", "sometimes"),
        ("tool_choice", 5),
        ("n", 2),
        ("n", 0),
        ("n", "1"),
    ],
)
def test_bad_value_is_refused_by_the_name_of_its_field(name: str, value: Any) -> None:
    error = refusal(**{name: value})
    assert (error.param, error.code) == (name, "invalid_value")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"stop": [None]}, "stop[0]"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"tools": [TOOL, 5]}, "tools[1]"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [tool(5)]}, "tools[0].function.name"),
        ({"tools": [tool("")]}, "tools[0].function.name"),
        ({"tools": [tool("a b")]}, "tools[0].function.name"),
        ({"tools": [tool("a\n")]}, "tools[0].function.name"),
        ({"tools": [tool("a" * 129)]}, "tools[0].function.name"),
        ({"tools": [TOOL, tool("g"), TOOL]}, "tools[2].function.name"),
        (
            {"tools": [TOOL, tool("g", description=5)]},
            "tools[1].function.description",
        ),
        ({"tools": [tool("g", parameters=[])]}, "tools[0].function.parameters"),
        ({"tools": [tool("g", strict="yes")]}, "tools[0].function.strict"),
        ({"tools": [tool(f"f{n}") for n in range(MAX_TOOLS + 1)]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "required", "tools": []}, "tool_choice"),
        ({"tool_choice": chosen("f")}, "tool_choice.function.name"),
        ({"tool_choice": chosen("g"), "tools": [TOOL]}, "tool_choice.function.name"),
        ({"tool_choice": chosen(5), "tools": [TOOL]}, "tool_choice.function.name"),
        (
            {"tool_choice": {"type": "allowed_tools"}, "tools": [TOOL]},
            "tool_choice.type",
        ),
    ],
)
def test_bad_member_is_refused_by_its_path(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (5, ""),
        (None, ""),
        ({"role": "owner", "content": "x"}, ".role"),
        ({"role": 5, "content": "x"}, ".role"),
        ({"role": "user", "content": None}, ".content"),
        ({"role": "user", "content": 5}, ".content"),
        ({"role": "user", "content": []}, ".content"),
        ({"role": "system", "content": None}, ".content"),
        ({"role": "tool", "content": {}, "tool_call_id": "c"}, ".content"),
        ({"role": "user", "content": "x", "name": 5}, ".name"),
        ({"role": "tool", "content": "x", "tool_call_id": 5}, ".tool_call_id"),
        ({"role": "function", "content": "x", "name": 5}, ".name"),
        ({"role": "user", "content": ["x"]}, ".content[0]"),
        ({"role": "user", "content": [{"type": "audio"}]}, ".content[0].type"),
        ({"role": "user", "content": [{"type": 5}]}, ".content[0].type"),
        (
            {"role": "user", "content": [{"type": "text", "text": 5}]},
            ".content[0].text",
        ),
        ({"role": "assistant", "content": None}, ".content"),
        ({"role": "assistant", "content": None, "tool_calls": []}, ".content"),
        ({"role": "assistant"}, ".content"),
        ({"role": "assistant", "content": "x", "tool_calls": {}}, ".tool_calls"),
        ({"role": "assistant", "tool_calls": [5]}, ".tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{**CALL, "id": 5}]}, ".tool_calls[0].id"),
    ],
)
def test_bad_message_is_refused_by_its_path(message: Any, path: str) -> None:
    error = refusal(USER, USER, message)
    assert (error.param, error.code) == (f"messages[2]{path}", "invalid_value")


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "system"}, "content"),
        ({"role": "user", "content": [{}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "content[0].text"),
        (
            {"role": "user", "content": [{"type": "image_url"}]},
            "content[0].image_url",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            "content[0].image_url.url",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]},
            "tool_calls[0].function.name",
        ),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "tool_calls[0].function"),
    ],
)
def test_missing_member_is_named_by_its_path(message: Any, path: str) -> None:
    error = refusal(USER, message)
    assert isinstance(error, MissingField)
    assert (error.param, error.code) == (f"messages[1].{path}", "missing_field")


def test_messages_are_required() -> None:
    with pytest.raises(MissingField) as caught:
        parse_chat_request(b'{"model":"moltbot"}')
    assert caught.value.param == "messages"


def test_body_that_is_no_object_is_invalid_json() -> None:
    with pytest.raises(InvalidJSON):
        parse_chat_request(b"[]")


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_messages_alone_are_no_conversation(role: str) -> None:
    assert refusal({"role": role, "content": "be brief"}).param == "messages"


def test_system_and_developer_texts_are_joined_apart_from_the_turns() -> None:
    chat = parse(
        {"role": "system", "content": "one"},
        USER,
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        {"role": "system", "content": ""},
    )
    assert chat.system == "one\n\ntwo"
    assert chat.messages == (UserMessage("hi"),)


def test_turns_stay_turns() -> None:
    chat = parse(USER, {"role": "assistant", "content": "hello"}, USER)
    assert chat.messages == (
        UserMessage("hi"),
        AssistantMessage("hello"),
        UserMessage("hi"),
    )


def test_text_parts_of_both_kinds_and_images_keep_their_order() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "input_text", "text": "b"},
    ]
    assert only({"role": "user", "content": parts, "name": "eve"}) == UserMessage(
        (TextPart("a"), ImagePart(PIXEL, "low"), TextPart("b")), "eve"
    )


@pytest.mark.parametrize("url", ["https://example.com/x.png", "file:///etc/passwd", ""])
def test_image_at_another_address_is_not_fetched(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    text = {"type": "text", "text": "see"}
    error = refusal(USER, {"role": "user", "content": [text, part]})
    assert error.param == "messages[1].content[1].image_url.url"


def test_a_remote_image_has_its_place_where_it_is_allowed() -> None:
    url = "HTTPS://example.com/x.png"
    text = {"type": "text", "text": "see"}
    part = {"type": "image_url", "image_url": {"url": url}}
    messages = [
        {"role": role, "content": [text, part]}
        for role in ("system", "assistant", "user")
    ]
    chat = parse_chat_request(
        json.dumps({"messages": messages}).encode(), remote_images=True
    )
    path = "messages[2].content[1].image_url.url"
    assert chat.pictures == (PicturePlace(1, 1, path),)
    assert chat.messages[1] == UserMessage((TextPart("see"), ImagePart(url)))
    assert chat.image_path == "messages[0].content[1]"


def test_tool_calls_and_their_results_are_kept() -> None:
    chat = parse(
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "42", "tool_call_id": "c1", "name": "f"},
    )
    assert chat.messages == (
        AssistantMessage("", "", (ToolCall("c1", "f", "{}"),)),
        ToolMessage("42", "c1", "f"),
    )


def test_arguments_of_a_tool_call_may_be_left_out() -> None:
    call = {"id": "c1", "function": {"name": "f"}}
    message = only({"role": "assistant", "tool_calls": [call]})
    assert message == AssistantMessage("", "", (ToolCall("c1", "f", "{}"),))


def test_assistant_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert only({"role": "assistant", "content": parts}) == AssistantMessage("a\nb")


def test_old_function_role_is_a_tool_message_without_id() -> None:
    message = {"role": "function", "name": "f", "content": "42"}
    assert only(message) == ToolMessage("42", None, "f")


@pytest.mark.parametrize(
    ("stop", "passed"),
    [
        ("x", ("x",)),
        (["x"], ("x",)),
        (list("abcdefgh"), tuple("abcdefgh")),
        ([], None),
    ],
)
def test_stop_is_a_string_or_a_list_of_any_length(
    stop: Any, passed: tuple[str, ...] | None
) -> None:
    assert parse(stop=stop).options.stop == passed


@pytest.mark.parametrize(("old", "tokens"), [(5, 7), (9, 7), (None, 7)])
def test_max_completion_tokens_wins(old: int | None, tokens: int) -> None:
    chat = parse(max_tokens=old, max_completion_tokens=7)
    assert chat.options.max_tokens == tokens


@pytest.mark.parametrize("name", ["f", "a" * 128, "fs.read:file_2-x"])
def test_tool_is_offered_as_it_is_described(name: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    more = {"description": "does f", "parameters": schema, "strict": True}
    chat = parse(tools=[tool(name, **more), tool("plain")], parallel_tool_calls=False)
    assert chat.tools == (
        ToolSpec(name=name, description="does f", parameters=schema, strict=True),
        ToolSpec(name="plain"),
    )
    assert chat.options == SamplingOptions(parallel_tool_calls=False)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (None, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (chosen("f"), NamedTool("f")),
        ({**chosen("f"), "cache_control": {}}, NamedTool("f")),
    ],
)
def test_tool_choice_is_taken(said: Any, meant: ToolChoice) -> None:
    assert parse(tools=[TOOL], tool_choice=said).tool_choice == meant


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_choice_without_tools_is_harmless(choice: str) -> None:
    chat = parse(tools=[], tool_choice=choice, parallel_tool_calls=True)
    assert (chat.tools, chat.options) == ((), SamplingOptions())


def test_unknown_members_of_tools_are_ignored() -> None:
    extra = {"cache_control": {"type": "ephemeral"}, "x": [1]}
    one = {**tool("f", **extra), **extra}
    assert parse(tools=[one]).tools == (ToolSpec(name="f"),)


def test_as_many_tools_as_allowed_are_taken() -> None:
    tools = [tool(f"f{n}") for n in range(MAX_TOOLS)]
    assert len(parse(tools=tools).tools) == MAX_TOOLS


def test_message_with_too_many_calls_is_refused() -> None:
    message = {"role": "assistant", "tool_calls": [CALL] * (MAX_PARTS + 1)}
    assert refusal(USER, message).param == "messages[1].tool_calls"


@pytest.mark.parametrize(
    ("user", "kept"),
    [
        ("eve", "eve"),
        (" eve ", "eve"),
        ("", None),
        (" \t", None),
        ("u" * 256, "u" * 256),
    ],
)
def test_user_is_stripped_and_blank_is_nobody(user: str, kept: str | None) -> None:
    assert parse(user=user).user == kept


def test_stream_and_usage_are_read() -> None:
    chat = parse(stream=True, stream_options={"include_usage": True}, model="gpt-x")
    assert (chat.stream, chat.include_usage, chat.model) == (True, True, "gpt-x")


def test_one_choice_may_be_asked_for() -> None:
    assert parse(n=1) == parse()


def test_unknown_members_are_ignored_at_every_level() -> None:
    extra: dict[str, Any] = {
        "cache_control": {"type": "ephemeral"},
        "x": [1, {"y": None}],
    }
    image = {"type": "image_url", "image_url": {"url": PIXEL, **extra}, **extra}
    call = {"id": "c", "function": {"name": "f", "arguments": "{}", **extra}, **extra}
    chat = parse(
        {"role": "user", "content": [image, {"type": "text", "text": "a", **extra}]},
        {"role": "assistant", "content": "b", "tool_calls": [call], **extra},
        {"role": "tool", "content": "c", "tool_call_id": "c", **extra},
        {"role": "system", "content": "d", **extra},
        stream_options={"include_usage": True, **extra},
        **extra,
    )
    assert (len(chat.messages), chat.system, chat.include_usage) == (3, "d", True)


def test_fields_of_openai_that_mean_nothing_here_are_ignored() -> None:
    others = {"metadata": {}, "store": True, "logit_bias": {"1": 5}}
    later = {"prompt_cache_key": "k", "service_tier": "auto", "modalities": ["text"]}
    assert parse(**others, **later) == parse()


MANY_MESSAGES = [{"role": "user", "content": ""}] * (MAX_MESSAGES + 1)
MANY_PARTS = [{"type": "text", "text": ""}] * (MAX_PARTS + 1)


@pytest.mark.parametrize("escape", [False, True])
def test_there_are_only_so_many_messages(escape: bool) -> None:
    body = json.dumps({"messages": MANY_MESSAGES}).encode()
    if escape:
        body = body.replace(b'"role"', b'"r\\u006fle"')
    with pytest.raises(InvalidRequest) as caught:
        parse_chat_request(body)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("count", "param"), [(1, "messages[0].content"), (100, "messages")]
)
def test_there_are_only_so_many_parts(count: int, param: str) -> None:
    messages = [{"role": "user", "content": MANY_PARTS}] * count
    with pytest.raises(InvalidRequest) as caught:
        parse_chat_request(json.dumps({"messages": messages}).encode())
    assert caught.value.param == param


def test_the_words_role_and_type_in_a_text_are_not_counted() -> None:
    text = '{"role": "x", "type": "y"}' * 60_000
    messages = [{"role": "user", "content": text}]
    assert parse_chat_request(json.dumps({"messages": messages}).encode())
