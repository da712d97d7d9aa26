"""The estimate of tokens."""

from __future__ import annotations

import pytest

from moltbot_gw.agents.tokens import (
    IMAGE_TOKENS,
    message_tokens,
    overhead_tokens,
    text_tokens,
)
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    ModelRequest,
    TextPart,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("a" * 4, 1), ("a" * 400, 100), ("\u6f22" * 4, 3)],
)
def test_four_characters_are_a_token(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


def test_picture_has_the_same_size_however_large_its_data() -> None:
    small, large = (
        message_tokens(UserMessage((TextPart("look"), ImagePart("data:," + "A" * n))))
        for n in (4, 400_000)
    )
    assert small == large == message_tokens(UserMessage("look")) + IMAGE_TOKENS


def test_all_that_a_message_has_is_counted() -> None:
    bare = message_tokens(AssistantMessage("a" * 40))
    with_call = AssistantMessage("a" * 40, tool_calls=(ToolCall("1", "f", "b" * 400),))
    assert message_tokens(with_call) > bare + 100
    signed = AssistantMessage("a" * 40, reasoning_state="c" * 400)
    assert message_tokens(signed) == bare + 100
    # What nobody sends again does not count.
    assert message_tokens(AssistantMessage("a" * 40, reasoning="d" * 400)) == bare
    assert message_tokens(ToolMessage("a" * 400, "1")) > 100


def test_system_prompt_and_tools_are_counted() -> None:
    call = ModelRequest(model="m", system="s" * 400, messages=(UserMessage("a"),))
    assert overhead_tokens(call) == 100
    tools = (ToolSpec(name="f", description="d" * 400),)
    with_tools = ModelRequest(
        model="m", system="", messages=(UserMessage("a"),), tools=tools
    )
    assert overhead_tokens(with_tools) > 100
