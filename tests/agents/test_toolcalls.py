"""What must hold of the calls in an answer, and in a conversation."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.agents.toolcalls import (
    NO_RESULT,
    answers_nothing,
    check_calls,
    repaired,
)
from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import Completion, FinishReason, Usage
from moltbot_gw.messages import (
    AssistantMessage,
    Message,
    ModelRequest,
    NamedTool,
    ToolCall,
    ToolChoice,
    ToolMessage,
    ToolSpec,
    UserMessage,
)

HI = UserMessage("hi")
SAID = AssistantMessage("said")


def calling(*ids: str) -> AssistantMessage:
    return AssistantMessage("", "", tuple(ToolCall(one, "f", "{}") for one in ids))


def check(
    names: str,
    *,
    choice: ToolChoice = "auto",
    offered: str = "fg",
    reason: FinishReason = "tool_calls",
) -> None:
    """Check an answer that calls *names*, one letter each."""
    request = ModelRequest(
        model="m",
        system="",
        messages=(HI,),
        tools=tuple(ToolSpec(name=name) for name in offered),
        tool_choice=choice,
    )
    calls = tuple(ToolCall(f"c{n}", name, "{}") for n, name in enumerate(names))
    check_calls(request, Completion(finish_reason=reason, usage=Usage()), calls)


@pytest.mark.parametrize(
    ("names", "choice", "offered", "reason"),
    [
        ("", "auto", "", "stop"),
        ("", "auto", "fg", "stop"),
        ("f", "auto", "fg", "tool_calls"),
        ("fgf", "auto", "fg", "tool_calls"),
        ("", "none", "fg", "stop"),
        ("", "none", "", "stop"),
        ("g", "required", "fg", "tool_calls"),
        ("fg", "required", "fg", "tool_calls"),
        ("f", NamedTool("f"), "fg", "tool_calls"),
        ("ff", NamedTool("f"), "fg", "tool_calls"),
        # An answer that was cut off says so itself.
        ("", "required", "fg", "length"),
        ("", NamedTool("f"), "fg", "content_filter"),
        ("f", NamedTool("f"), "fg", "length"),
    ],
)
def test_answer_that_does_as_it_was_told_passes(
    names: str, choice: ToolChoice, offered: str, reason: FinishReason
) -> None:
    check(names, choice=choice, offered=offered, reason=reason)


@pytest.mark.parametrize(
    ("names", "choice", "offered", "reason"),
    [
        ("f", "none", "fg", "tool_calls"),
        ("", "required", "fg", "stop"),
        ("", NamedTool("f"), "fg", "stop"),
        ("g", NamedTool("f"), "fg", "tool_calls"),
        ("fg", NamedTool("f"), "fg", "tool_calls"),
        ("g", NamedTool("f"), "fg", "length"),
    ],
)
def test_answer_that_ignores_the_choice_fails(
    names: str, choice: ToolChoice, offered: str, reason: FinishReason
) -> None:
    with pytest.raises(ProviderFailed, match=r"^tool_choice: ") as caught:
        check(names, choice=choice, offered=offered, reason=reason)
    error = caught.value
    assert (error.param, error.code) == ("tool_choice", "tool_choice_ignored")


@pytest.mark.parametrize("choice", ["auto", "none", "required", NamedTool("f")])
@pytest.mark.parametrize(("names", "offered"), [("x", "fg"), ("fx", "fg"), ("f", "")])
def test_call_of_what_was_not_offered_fails(
    names: str, offered: str, choice: ToolChoice
) -> None:
    with pytest.raises(ProviderFailed, match="not offered") as caught:
        check(names, choice=choice, offered=offered)
    assert caught.value.code == "bad_tool_call"


def nothing(call_id: str) -> ToolMessage:
    return ToolMessage(NO_RESULT, call_id)


A, B, OLD = ToolMessage("a", "a"), ToolMessage("b", "b"), ToolMessage("x", None, "f")


@pytest.mark.parametrize(
    ("messages", "mended"),
    [
        ((), ()),
        ((HI, SAID, HI), (HI, SAID, HI)),
        ((HI, calling("a", "b"), B, A, HI), (HI, calling("a", "b"), B, A, HI)),
        ((HI, calling("a", "b"), B), (HI, calling("a", "b"), B, nothing("a"))),
        ((calling("a"), HI), (calling("a"), nothing("a"), HI)),
        ((calling("a"), SAID), (calling("a"), nothing("a"), SAID)),
        ((calling("a"), HI, A), (calling("a"), nothing("a"), HI)),
        ((calling("a"), A, A, HI), (calling("a"), A, HI)),
        (
            (calling("a"), calling("b"), B),
            (calling("a"), nothing("a"), calling("b"), B),
        ),
        ((A, HI), (HI,)),
        ((A,), ()),
        ((HI, A, calling("a"), B), (HI, calling("a"), nothing("a"))),
        ((calling("a", "a"), A), (calling("a", "a"), A, nothing("a"))),
        # Results of the old form have no ids, and nothing that they could lack.
        ((HI, OLD), (HI, OLD)),
        ((calling("a"), OLD, A), (calling("a"), nothing("a"), OLD)),
    ],
)
def test_conversation_is_mended(
    messages: tuple[Message, ...], mended: tuple[Message, ...]
) -> None:
    assert repaired(messages) == mended


ids = st.sampled_from("abc")
conversations = st.lists(
    st.one_of(
        st.builds(UserMessage, st.sampled_from(["1", "2"])),
        st.lists(ids, max_size=3).map(lambda some: calling(*some)),
        st.builds(ToolMessage, st.sampled_from(["1", "2"]), ids | st.none()),
    ),
    max_size=12,
).map(tuple)


@settings(max_examples=300, deadline=None)
@given(conversations)
def test_each_call_has_one_result_and_each_result_a_call(
    messages: tuple[Message, ...],
) -> None:
    mended = repaired(messages)
    open_ids: Counter[str] = Counter()
    for message in mended:
        if isinstance(message, ToolMessage) and message.tool_call_id is not None:
            assert open_ids[message.tool_call_id] > 0
            open_ids[message.tool_call_id] -= 1
        else:
            assert not +open_ids
            if isinstance(message, AssistantMessage):
                open_ids = Counter(call.id for call in message.tool_calls)
    assert not +open_ids


@settings(max_examples=300, deadline=None)
@given(conversations)
def test_mending_keeps_all_other_messages_and_is_done_once(
    messages: tuple[Message, ...],
) -> None:
    def others(some: tuple[Message, ...]) -> list[Message]:
        return [one for one in some if getattr(one, "tool_call_id", None) is None]

    mended = repaired(messages)
    assert others(mended) == others(messages)
    results = [one for one in mended if isinstance(one, ToolMessage)]
    assert all(one in messages or one.content == NO_RESULT for one in results)
    assert repaired(mended) == mended


def test_news_without_a_place_in_the_conversation_answers_nothing() -> None:
    late = ToolMessage("late", "x")
    assert answers_nothing((late,), repaired((HI, SAID, late)))
    assert not answers_nothing((late, HI), repaired((SAID, late, HI)))
    assert not answers_nothing((A,), repaired((HI, calling("a"), A)))
