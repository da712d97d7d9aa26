"""Thoughts that go back to the service they came from, in both formats that have them.

A message is decoded, its state kept as a run keeps it, and sent back.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.events import ModelEvent, ReasoningState, TextDelta, ToolCallDelta
from moltbot_gw.messages import (
    AssistantMessage,
    Message,
    ModelRequest,
    SamplingOptions,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from moltbot_gw.wire.anthropic import MessageStreamDecoder, decode_message
from moltbot_gw.wire.anthropic_request import ModelLimits, encode_request
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.thoughts import MAX_STATE_CHARS, open_turn, recall
from tests.support.fake_anthropic import (
    begin,
    call,
    end,
    grow,
    reply,
    thoughts,
    whole,
    words,
)

HI = UserMessage("hi")
RESULT = ToolMessage("a cat", "toolu_1")
MODEL = "claude-1"


def message_of(events: list[ModelEvent]) -> AssistantMessage:
    """Return what a run stores of *events*."""
    calls: list[ToolCall] = []
    text = state = ""
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, ReasoningState):
            state = event.data
        elif isinstance(event, ToolCallDelta):
            if event.name:
                calls.append(ToolCall(event.id, event.name, event.arguments))
            else:
                old = calls[event.index]
                calls[event.index] = ToolCall(
                    old.id, old.name, old.arguments + event.arguments
                )
    return AssistantMessage(text, tool_calls=tuple(calls), reasoning_state=state)


def heard(*stream: bytes, model: str = MODEL) -> AssistantMessage:
    decoder = MessageStreamDecoder(model)
    events = [event for piece in stream for event in decoder.feed(piece)]
    return message_of(events + decoder.flush())


def redacted(index: int, data: str) -> bytes:
    return begin(index, "redacted_thinking", data=data) + end(index)


def thinking(text: str = "Let me see", signature: str = "c2lnbmVk") -> dict[str, str]:
    return {"type": "thinking", "thinking": text, "signature": signature}


THOUGHTFUL = heard(
    *whole(
        thoughts(0, "Let me ", "see"),
        words(1, "Look", "ing"),
        call(2, "toolu_1", "look", '{"at":', ' "x"}'),
        reason="tool_use",
    )
)
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}}


def sent(
    *messages: Message,
    model: str = MODEL,
    effort: str | None = "low",
    limits: ModelLimits | None = None,
    **members: Any,
) -> Any:
    request = ModelRequest(
        model=model,
        system="",
        messages=messages,
        options=SamplingOptions(reasoning_effort=effort),
        tools=(ToolSpec(name="look"),),
        **members,
    )
    return json.loads(encode_request(request, limits or ModelLimits()))


def content(body: Any, turn: int = 1) -> list[Any]:
    found: list[Any] = body["messages"][turn]["content"]
    return found


def types(body: Any) -> list[str]:
    return [b["type"] for m in body["messages"] for b in m["content"]]


# -- Anthropic


def test_thoughts_go_back_before_the_call_whose_result_follows() -> None:
    body = sent(HI, THOUGHTFUL, RESULT)
    assert content(body) == [thinking(), {"type": "text", "text": "Looking"}, USE]
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}


def test_thoughts_stay_between_the_same_words_and_calls() -> None:
    message = heard(
        *whole(
            redacted(0, "c2VjcmV0"),
            words(1, "é"),
            thoughts(2, "a"),
            call(3, "toolu_1", "look", '{"at": "x"}'),
            redacted(4, "bW9yZQ=="),
            words(5, "\U0001f30d"),
            call(6, "toolu_2", "look"),
            reason="tool_use",
        )
    )
    assert content(sent(HI, message, RESULT)) == [
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
        {"type": "text", "text": "é"},
        thinking("a"),
        USE,
        {"type": "redacted_thinking", "data": "bW9yZQ=="},
        {"type": "text", "text": "\U0001f30d"},
        {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
    ]


def test_thoughts_whose_text_is_not_shown_are_kept_by_their_signature() -> None:
    hidden = begin(0, "thinking", thinking="", signature="")
    hidden += grow(0, "signature_delta", signature="c2lnbmVk") + end(0)
    events = whole(hidden, call(1, "toolu_1", "look"), reason="tool_use")
    assert content(sent(HI, heard(*events), RESULT))[0] == thinking("")


def test_thoughts_of_a_server_without_signatures_go_back_as_they_came() -> None:
    unsigned = begin(0, "thinking") + grow(0, "thinking_delta", thinking="hm") + end(0)
    events = whole(unsigned, call(1, "toolu_1", "look"), reason="tool_use")
    assert content(sent(HI, heard(*events), RESULT))[0] == {
        "type": "thinking",
        "thinking": "hm",
    }


def test_whole_message_keeps_its_thoughts_too() -> None:
    blocks = (
        thinking(),
        {"type": "text", "text": "Looking"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}},
    )
    body = json.dumps(reply(*blocks, reason="tool_use")).encode()
    events, _, _ = decode_message(body, MODEL)
    assert message_of(events).reasoning_state == THOUGHTFUL.reasoning_state


def test_rounds_of_one_turn_all_keep_their_thoughts() -> None:
    silent = AssistantMessage(tool_calls=(ToolCall("toolu_1", "look", "{}"),))
    body = sent(HI, THOUGHTFUL, RESULT, silent, RESULT, THOUGHTFUL, RESULT)
    assert types(body).count("thinking") == 2
    assert "thinking" in body


@pytest.mark.parametrize(
    "blocks",
    [
        (thoughts(0, "hm"), words(1, "No call.")),
        (words(0, "Looking"), call(1, "toolu_1", "look")),
    ],
)
def test_message_without_a_call_or_without_thoughts_keeps_none(
    blocks: tuple[bytes, ...],
) -> None:
    assert heard(*whole(*blocks)).reasoning_state == ""


def test_message_that_the_limit_cut_keeps_none() -> None:
    events = whole(thoughts(0, "hm"), call(1, "t", "look"), reason="max_tokens")
    assert heard(*events).reasoning_state == ""


@pytest.mark.parametrize(
    "messages",
    [
        (HI, THOUGHTFUL, RESULT, AssistantMessage("A cat."), HI),
        (HI, THOUGHTFUL, RESULT, AssistantMessage("A cat."), HI, HI),
    ],
)
def test_thoughts_of_an_earlier_turn_are_left_out(
    messages: tuple[Message, ...],
) -> None:
    body = sent(*messages)
    assert "thinking" not in types(body)
    assert "thinking" in body


def test_word_behind_the_results_does_not_end_the_turn() -> None:
    body = sent(HI, THOUGHTFUL, RESULT, UserMessage("and?"))
    assert "thinking" in types(body)
    assert "thinking" in body


@pytest.mark.parametrize(
    "changes",
    [
        {"reasoning_state": ""},
        {"reasoning_state": "{"},
        {"reasoning_state": '{"api": "anthropic-messages"}'},
        {"text": "Looking!"},
        {"tool_calls": (*THOUGHTFUL.tool_calls, *THOUGHTFUL.tool_calls)},
    ],
)
def test_state_that_does_not_fit_turns_thinking_off(changes: dict[str, Any]) -> None:
    message = msgspec.structs.replace(THOUGHTFUL, **changes)
    body = sent(HI, message, RESULT)
    assert "thinking" not in types(body)
    assert "thinking" not in body


def test_thoughts_of_another_model_or_format_are_left_out() -> None:
    assert "thinking" not in types(sent(HI, THOUGHTFUL, RESULT, model="claude-2"))
    assert recall(THOUGHTFUL, "openai-responses", MODEL) is None


@pytest.mark.parametrize("members", [{"effort": None}, {"tool_choice": "required"}])
def test_who_does_not_think_is_shown_no_thoughts(members: dict[str, Any]) -> None:
    body = sent(HI, THOUGHTFUL, RESULT, **members)
    assert "thinking" not in body
    assert "thinking" not in types(body)


def test_adaptive_model_gets_its_thoughts_back_even_unasked() -> None:
    limits = ModelLimits(adaptive=True)
    body = sent(HI, THOUGHTFUL, RESULT, effort=None, limits=limits)
    assert content(body)[0] == thinking()
    silent = AssistantMessage(tool_calls=(ToolCall("toolu_1", "look", "{}"),))
    assert "thinking" in sent(HI, silent, RESULT, limits=limits)


def test_thoughts_have_a_bound() -> None:
    decoder = MessageStreamDecoder(MODEL)
    decoder.feed(begin(0, "thinking", thinking=""))
    piece = grow(0, "signature_delta", signature="x" * (MAX_STATE_CHARS // 4))
    for _ in range(3):
        decoder.feed(piece)
    with pytest.raises(ProviderError, match="too long"):
        decoder.feed(piece)


def test_places_count_too() -> None:
    decoder = MessageStreamDecoder(MODEL)
    blocks = words(0, "") * (MAX_STATE_CHARS // 64 + 1)
    with pytest.raises(ProviderError, match="too long"):
        decoder.feed(blocks)


def test_piece_of_a_signature_without_its_block_is_passed_over() -> None:
    lost = grow(0, "signature_delta", signature="x")
    events = whole(lost, words(0, "a"), call(1, "t", "look"), reason="tool_use")
    assert heard(*events).reasoning_state == ""


def test_signature_of_words_is_passed_over() -> None:
    signed = begin(1, "text", text="a") + grow(1, "signature_delta", signature="x")
    events = whole(
        thoughts(0, "a"), signed, call(2, "toolu_1", "look"), reason="tool_use"
    )
    assert content(sent(HI, heard(*events), RESULT))[1] == {"type": "text", "text": "a"}


def test_words_without_their_beginning_are_counted() -> None:
    """Some servers leave the beginning of a block out."""
    bare = grow(7, "text_delta", text="Looking")
    events = whole(
        thoughts(0, "a"), bare, call(1, "toolu_1", "look"), reason="tool_use"
    )
    body = sent(HI, heard(*events), RESULT)
    assert types(body)[1:4] == ["thinking", "text", "tool_use"]


# -- turns


ASSISTANT = AssistantMessage("x")


@pytest.mark.parametrize(
    ("messages", "start"),
    [
        ((), 0),
        ((HI,), 1),
        ((HI, ASSISTANT), 1),
        ((HI, ASSISTANT, RESULT), 1),
        ((HI, ASSISTANT, RESULT, HI), 1),
        ((HI, ASSISTANT, HI, ASSISTANT, RESULT, ASSISTANT), 3),
        ((HI, ASSISTANT, ToolMessage("x", None, "f")), 3),
        ((ASSISTANT, RESULT), 0),
        ((ASSISTANT, ASSISTANT), 0),
    ],
)
def test_where_the_turn_begins(messages: tuple[Message, ...], start: int) -> None:
    assert open_turn(messages) == start


@given(st.text(), st.text())
def test_any_state_is_recalled_or_passed_over(state: str, text: str) -> None:
    message = AssistantMessage(text, reasoning_state=state)
    assert recall(message, "a", "m") is None
