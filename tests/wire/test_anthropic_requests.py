"""What providers that speak Anthropic Messages are sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from moltbot_gw.wire.anthropic_request import (
    DEFAULT_MAX_TOKENS,
    ModelLimits,
    encode_request,
)

HI = UserMessage("hi")
LOOK = ToolSpec(
    name="look", description="Look.", parameters={"properties": {"at": {}}}, strict=True
)
WAIT = ToolSpec(name="wait")
CACHED = {"type": "ephemeral"}
NO_WORDS = {"type": "text", "text": "(no words)"}


def encode(
    *messages: Message,
    limits: ModelLimits | None = None,
    system: str = "",
    tools: tuple[ToolSpec, ...] = (),
    tool_choice: ToolChoice = "auto",
    model: str = "m/1",
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
    return json.loads(encode_request(request, limits or ModelLimits()))


def turns(*messages: Message) -> list[tuple[str, list[Any]]]:
    return [(m["role"], m["content"]) for m in encode(*messages)["messages"]]


def blocks(message: Message) -> list[Any]:
    """Return the blocks of *message* behind one of the user."""
    turn = turns(HI, message)[-1]
    return turn[1] if turn[0] == "assistant" else turn[1][1:]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def test_smallest_request_streams_and_has_a_limit() -> None:
    assert encode() == {
        "model": "m/1",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": [text("hi")]}],
        "stream": True,
    }


# -- the stable prefix


def test_system_prompt_is_worth_caching() -> None:
    assert encode(system="Be kind.")["system"] == [
        {"type": "text", "text": "Be kind.", "cache_control": CACHED}
    ]


def test_blank_system_prompt_is_left_out() -> None:
    assert "system" not in encode(system=" \n")


def test_tools_are_offered_and_the_last_of_them_ends_the_cached_prefix() -> None:
    assert encode(tools=(LOOK, WAIT))["tools"] == [
        {
            "name": "look",
            "description": "Look.",
            "input_schema": {"type": "object", "properties": {"at": {}}},
        },
        {"name": "wait", "input_schema": {"type": "object"}, "cache_control": CACHED},
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        ("auto", None, None),
        ("auto", True, None),
        ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("none", None, {"type": "none"}),
        ("none", False, {"type": "none"}),
        (NamedTool("look"), None, {"type": "tool", "name": "look"}),
    ],
)
def test_choice_among_tools(
    choice: ToolChoice, parallel: bool | None, sent: dict[str, Any] | None
) -> None:
    body = encode(tools=(LOOK,), tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == sent


def test_choice_without_tools_goes_nowhere() -> None:
    body = encode(tool_choice="none", parallel_tool_calls=False)
    assert not {"tools", "tool_choice"} & body.keys()


# -- options


@pytest.mark.parametrize(
    ("asked_for", "limit", "sent"),
    [(None, 100, 100), (50, 100, 50), (500, 100, 100), (9000, None, 9000)],
)
def test_limit_of_a_model_bounds_the_wish(
    asked_for: int | None, limit: int | None, sent: int
) -> None:
    body = encode(max_tokens=asked_for, limits=ModelLimits(max_tokens=limit))
    assert body["max_tokens"] == sent


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"temperature": 2.0}, {"temperature": 1.0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"temperature": 0.0, "top_p": 0.5}, {"temperature": 0.0}),
        ({"stop": ("a", " \n", "b")}, {"stop_sequences": ["a", "b"]}),
        ({"stop": ("\n",)}, {}),
        ({"seed": 1, "frequency_penalty": 1.0, "presence_penalty": 1.0}, {}),
        ({"response_format": {"type": "json_object"}}, {}),
    ],
)
def test_options_that_the_format_has(
    options: dict[str, Any], sent: dict[str, Any]
) -> None:
    body = encode(**options)
    usual = {"model", "max_tokens", "messages", "stream"}
    assert {name: body[name] for name in body.keys() - usual} == sent


# -- thinking


@pytest.mark.parametrize(
    ("effort", "max_tokens", "budget"),
    [
        ("minimal", 64000, 1024),
        ("low", 64000, 2048),
        ("medium", 64000, 8192),
        ("high", 64000, 16384),
        ("xhigh", 128000, 32768),
        ("xhigh", 32000, 16000),
        ("low", 2048, 1024),
        ("low", 2047, None),
        ("none", 64000, None),
        ("off", 64000, None),
        (None, 64000, None),
    ],
)
def test_budget_of_an_effort_leaves_room_for_words(
    effort: str | None, max_tokens: int, budget: int | None
) -> None:
    limits = ModelLimits(max_tokens=max_tokens)
    body = encode(reasoning_effort=effort, limits=limits)
    wanted = None if budget is None else {"type": "enabled", "budget_tokens": budget}
    assert body.get("thinking") == wanted


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"temperature": 0.5}, {}),
        ({"top_p": 0.5}, {}),
        ({"top_p": 0.97}, {"top_p": 0.97}),
        ({"temperature": 0.5, "top_p": 0.97}, {"top_p": 0.97}),
    ],
)
def test_thinking_goes_with_few_options(
    options: dict[str, Any], sent: dict[str, Any]
) -> None:
    body = encode(reasoning_effort="low", **options)
    assert "thinking" in body
    assert {k: body[k] for k in ("temperature", "top_p") if k in body} == sent


CALLED = AssistantMessage(tool_calls=(ToolCall("c1", "look", "{}"),))
RESULT = ToolMessage("seen", "c1")


@pytest.mark.parametrize(
    ("messages", "members", "thinks"),
    [
        ((HI,), {"tools": (LOOK,)}, True),
        ((HI,), {"tools": (LOOK,), "tool_choice": "none"}, True),
        ((HI,), {"tool_choice": "required"}, True),
        ((HI,), {"tools": (LOOK,), "tool_choice": "required"}, False),
        ((HI,), {"tools": (LOOK,), "tool_choice": NamedTool("look")}, False),
        ((HI,), {"limits": ModelLimits(thinking=False)}, False),
        ((HI, CALLED, RESULT), {}, False),
        ((HI, CALLED, RESULT, HI), {}, False),
        ((HI, CALLED, RESULT, AssistantMessage("I see."), HI), {}, True),
        ((HI, AssistantMessage("The answer is")), {}, False),
    ],
)
def test_thinking_is_asked_for_only_where_it_is_accepted(
    messages: tuple[Message, ...], members: dict[str, Any], thinks: bool
) -> None:
    body = encode(*messages, reasoning_effort="low", temperature=0.5, **members)
    assert ("thinking" in body) is thinks
    assert ("temperature" in body) is not thinks


@pytest.mark.parametrize(
    ("model", "adaptive"),
    [
        ("claude-opus-4-7", True),
        ("claude-opus-4-7-20260416", True),
        ("anthropic.claude-opus-4-8-v1:0", True),
        ("anthropic/claude-sonnet-5.5", True),
        ("claude-opus-5", True),
        ("claude-4.7-opus", True),
        ("Claude-Fable-5-1", True),
        ("claude-opus-4-6", False),
        ("claude-opus-4-5-20251101", False),
        ("claude-opus-4-20250514", False),
        ("claude-3-7-sonnet-20250219", False),
        ("kimi-k2-thinking", False),
    ],
)
def test_newer_models_measure_their_thoughts_themselves(
    model: str, adaptive: bool
) -> None:
    body = encode(model=model, reasoning_effort="low")
    assert body["thinking"]["type"] == ("adaptive" if adaptive else "enabled")
    assert ("output_config" in body) is adaptive


ADAPTIVE = ModelLimits(adaptive=True)


@pytest.mark.parametrize(
    ("effort", "sent"),
    [("minimal", "low"), ("medium", "medium"), ("xhigh", "xhigh")],
)
def test_effort_of_an_adaptive_model(effort: str, sent: str) -> None:
    options = {"temperature": 0.5, "top_p": 0.9, "stop": ("END",)}
    body = encode(limits=ADAPTIVE, reasoning_effort=effort, max_tokens=50, **options)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": sent}
    assert not body.keys() & {"temperature", "top_p"}
    assert body["stop_sequences"] == ["END"]


def test_adaptive_model_that_is_asked_for_no_effort_does_as_it_likes() -> None:
    body = encode(limits=ADAPTIVE, reasoning_effort="none", temperature=0.5)
    assert not body.keys() & {"thinking", "output_config", "temperature"}


def test_configuration_overrules_the_name() -> None:
    limits = ModelLimits(adaptive=False)
    body = encode(limits=limits, model="claude-opus-5", reasoning_effort="low")
    assert body["thinking"]["type"] == "enabled"


# -- messages


def test_neighbours_of_one_role_are_one_turn() -> None:
    assert turns(
        UserMessage("a"),
        UserMessage("b", name="kim"),
        AssistantMessage("c"),
        AssistantMessage("d"),
        UserMessage("e"),
    ) == [
        ("user", [text("a"), text("b")]),
        ("assistant", [text("c"), text("d")]),
        ("user", [text("e")]),
    ]


def test_results_of_calls_are_the_users_turn() -> None:
    calls = (ToolCall("c1", "look", '{"at": "x"}'), ToolCall("c2", "wait", "{}"))
    assert turns(
        HI,
        AssistantMessage("Let me see.", tool_calls=calls),
        ToolMessage("seen", "c1"),
        ToolMessage("", "c2", "wait"),
        UserMessage("and?"),
    )[1:] == [
        (
            "assistant",
            [
                text("Let me see."),
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}},
                {"type": "tool_use", "id": "c2", "name": "wait", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "c1", "content": [text("seen")]},
                {"type": "tool_result", "tool_use_id": "c2"},
                text("and?"),
            ],
        ),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "{",
        "[1]",
        "null",
        '"x"',
        '{"a": 1',
        '{"a": 1}}',
        '{"a":' * 100_000,
        "\ud800",
    ],
)
def test_arguments_that_are_no_object_are_sent_as_an_empty_one(arguments: str) -> None:
    call = ToolCall("c1", "look", arguments)
    [use] = blocks(AssistantMessage(tool_calls=(call,)))
    assert use["input"] == {}


def test_deep_arguments_are_sent_as_they_are() -> None:
    depth = 900
    call = ToolCall("c1", "look", '{"a":' * depth + "1" + "}" * depth)
    [use] = blocks(AssistantMessage(tool_calls=(call,)))
    assert json.dumps(use["input"], separators=(",", ":")) == call.arguments


def test_ids_of_other_providers_are_made_fit_on_both_sides() -> None:
    calls = (ToolCall("functions.look:0", "look", "{}"), ToolCall("", "wait", "{}"))
    _, (_, uses), (_, results) = turns(
        HI,
        AssistantMessage(tool_calls=calls),
        ToolMessage("a", "functions.look:0"),
        ToolMessage("b", ""),
    )
    assert [use["id"] for use in uses] == ["functions_look_0", "call"]
    assert [result["tool_use_id"] for result in results] == ["functions_look_0", "call"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ToolMessage("seen", None, "look"), [text("Result of look:"), text("seen")]),
        (ToolMessage("", None), [text("Result of function:"), NO_WORDS]),
    ],
)
def test_result_without_an_id_is_told_in_words(
    message: ToolMessage, expected: list[Any]
) -> None:
    assert blocks(message) == expected


@pytest.mark.parametrize(
    ("words", "sent"), [("no such file", text("no such file")), (" ", NO_WORDS)]
)
def test_failure_of_a_tool_is_told_as_one(words: str, sent: dict[str, str]) -> None:
    [result] = blocks(ToolMessage(words, "c1", is_error=True))
    assert result == {
        "type": "tool_result",
        "tool_use_id": "c1",
        "is_error": True,
        "content": [sent],
    }


def test_thoughts_without_their_signature_stay_here() -> None:
    assert blocks(AssistantMessage("x", reasoning="hm")) == [text("x")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", [NO_WORDS]),
        (" \n", [NO_WORDS]),
        ((), [NO_WORDS]),
        ((TextPart(""), TextPart("a"), TextPart(" ")), [text("a")]),
    ],
)
def test_blank_words_of_a_user_are_never_an_empty_block(
    content: Any, expected: list[Any]
) -> None:
    assert blocks(UserMessage(content)) == expected


def test_assistant_that_said_nothing_takes_no_turn() -> None:
    assert turns(HI, AssistantMessage(""), UserMessage("so?")) == [
        ("user", [text("hi"), text("so?")])
    ]


def test_user_begins() -> None:
    assert turns(AssistantMessage("Welcome!"), HI) == [
        ("user", [NO_WORDS]),
        ("assistant", [text("Welcome!")]),
        ("user", [text("hi")]),
    ]


def test_conversation_without_any_words_is_still_one() -> None:
    assert turns(AssistantMessage(" ")) == [("user", [NO_WORDS])]


def test_answer_to_go_on_with_does_not_end_in_blanks() -> None:
    assert turns(HI, AssistantMessage("The answer is \n"))[-1] == (
        "assistant",
        [text("The answer is")],
    )


@pytest.mark.parametrize(
    ("url", "source"),
    [
        (
            "data:image/png;base64,aGk=",
            {"type": "base64", "media_type": "image/png", "data": "aGk="},
        ),
        (
            "data:image/JPG;name=x;base64,aGk=",
            {"type": "base64", "media_type": "image/jpeg", "data": "aGk="},
        ),
        (
            "https://example.org/x.png",
            {"type": "url", "url": "https://example.org/x.png"},
        ),
    ],
)
def test_picture(url: str, source: dict[str, str]) -> None:
    picture = {"type": "image", "source": source}
    assert blocks(UserMessage((TextPart("see"), ImagePart(url, "low")))) == [
        text("see"),
        picture,
    ]
    [result] = blocks(ToolMessage((ImagePart(url),), "c1"))
    assert result["content"] == [picture]


WORDS = st.text(st.sampled_from("ab \n"), max_size=3)
CALLS = st.builds(ToolCall, st.sampled_from(["c1", "c.2"]), st.just("look"), WORDS)
MESSAGES = st.one_of(
    st.builds(UserMessage, WORDS),
    st.builds(
        lambda words, calls: AssistantMessage(words, tool_calls=tuple(calls)),
        WORDS,
        st.lists(CALLS, max_size=2),
    ),
    st.builds(ToolMessage, WORDS, st.sampled_from([None, "c1", "c.2"])),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(MESSAGES, min_size=1, max_size=8))
def test_every_conversation_alternates_and_has_no_blank_text(
    messages: list[Message],
) -> None:
    sent = turns(*messages)
    assert [role for role, _ in sent] == (["user", "assistant"] * len(sent))[
        : len(sent)
    ]
    for _, content in sent:
        assert content
        assert all(b["text"].strip() for b in content if b["type"] == "text")
