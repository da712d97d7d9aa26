"""How many tokens a model call has, by estimate.

Four characters are a token, as in the original.  Where a text is not ASCII, the bytes
of UTF-8 are counted: a character that may be a token of its own has three of them.
"""

from __future__ import annotations

import msgspec

from moltbot_gw.messages import (
    AssistantMessage,
    Content,
    Message,
    ModelRequest,
    TextPart,
)

CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 1200
_MESSAGE_TOKENS = 4
"""What marks the beginning and the end of a message."""

_encode = msgspec.json.Encoder().encode


def text_tokens(text: str) -> int:
    """Return the tokens of *text*, at least one unless it is empty."""
    size = len(text) if text.isascii() else len(text.encode())
    return -(-size // CHARS_PER_TOKEN)


def message_tokens(message: Message) -> int:
    """Return the tokens of *message*, with those of its calls and pictures."""
    if not isinstance(message, AssistantMessage):
        return _MESSAGE_TOKENS + _content_tokens(message.content)
    tokens = text_tokens(message.text) + text_tokens(message.reasoning_state)
    for call in message.tool_calls:
        tokens += _MESSAGE_TOKENS + text_tokens(call.name) + text_tokens(call.arguments)
    return _MESSAGE_TOKENS + tokens


def overhead_tokens(call: ModelRequest) -> int:
    """Return the tokens of all in *call* but its messages: system prompt and tools."""
    tools = len(_encode(call.tools)) // CHARS_PER_TOKEN if call.tools else 0
    return text_tokens(call.system) + tools


def _content_tokens(content: Content) -> int:
    if isinstance(content, str):
        return text_tokens(content)
    return sum(
        text_tokens(part.text) if isinstance(part, TextPart) else IMAGE_TOKENS
        for part in content
    )
