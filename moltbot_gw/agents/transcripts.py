"""Stored messages as the original's message objects.

``user``
    ``{role, content, timestamp}``; *content* is a list of ``{type: "text", text}`` and
    ``{type: "image", data, mimeType}``
``assistant``
    ``{role, content, api?, provider?, model?, usage, stopReason, timestamp}``; parts
    are ``text``, ``{type: "thinking", thinking}`` and ``{type: "toolCall", id, name,
    arguments, forClient?}``; *usage* is ``{input, output, cacheRead, cacheWrite,
    totalTokens, cost: {input, output, cacheRead, cacheWrite, total}}``; *forClient*
    (ours) says that the client's tool was meant
``toolResult``
    ``{role, toolCallId, toolName, content, isError, timestamp}``

Source: upstream's dependency pi-coding-agent 0.49.3, ``SessionManager``;
``src/gateway/chat-sanitize.ts``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from moltbot_gw.agents.catalog import Catalog, ModelRef
from moltbot_gw.agents.costs import Tokens, count_tokens, price_of
from moltbot_gw.config import Cost
from moltbot_gw.events import Usage
from moltbot_gw.messages import (
    AssistantMessage,
    Content,
    ImagePart,
    TextPart,
    ToolCall,
    UserMessage,
)
from moltbot_gw.stored import TranscriptEntry

_encode = msgspec.json.Encoder().encode

Message = dict[str, Any]
"""Ready for a JSON encoder."""

_STOP_REASONS = {"tool_calls": "toolUse", "content_filter": "error", None: "stop"}
"""Where the original's word is another; a message from a client has none."""

_ENVELOPE = re.compile(r"\[([^\]\n]{1,200})\] ?")
_IN_ENVELOPE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}Z| \d{2}:\d{2})|(?:WebChat|WhatsApp|Telegram"
    r"|Signal|Slack|Discord|Google Chat|iMessage|Teams|Matrix) "
)
_MESSAGE_ID = re.compile(r"^[ \t]*\[message_id:[^\]\n]{1,600}\][ \t]*\n?", re.M)
_DATA_URL = re.compile(r"data:([^;,]{1,100});base64,", re.IGNORECASE)


def message_of(entry: TranscriptEntry, catalog: Catalog) -> Message:
    """Return the message object of *entry*."""
    message = entry.message
    if isinstance(message, UserMessage):
        return {
            "role": "user",
            "content": [_clean(part) for part in _parts(message.content)],
            "timestamp": entry.created_at_ms,
        }
    if isinstance(message, AssistantMessage):
        return _assistant(entry, message, catalog)
    return {
        "role": "toolResult",
        "toolCallId": message.tool_call_id or "",
        "toolName": message.name or "",
        "content": _parts(message.content),
        "isError": message.is_error,
        "timestamp": entry.created_at_ms,
    }


def last_messages(
    entries: Sequence[TranscriptEntry], catalog: Catalog, max_bytes: int
) -> list[msgspec.Raw]:
    """Return the last message objects whose JSON array has at most *max_bytes*.

    The last one is there whatever its size.
    """
    messages: list[msgspec.Raw] = []
    size = 2
    for entry in reversed(entries):
        message = _encode(message_of(entry, catalog))
        size += len(message) + 1
        if messages and size > max_bytes:
            break
        messages.append(msgspec.Raw(message))
    messages.reverse()
    return messages


def injected_message(text: str, timestamp_ms: int) -> Message:
    """Return a message that somebody has put into the assistant's mouth."""
    return {
        "role": "assistant",
        "content": [_text(text)],
        "usage": usage_of(None, None),
        "stopReason": "injected",
        "timestamp": timestamp_ms,
    }


def without_hints(text: str) -> str:
    """Return a user's words without what a channel has put around them.

    That is an envelope, ``[<channel or date>] ``, and lines ``[message_id: <id>]``.
    """
    match = _ENVELOPE.match(text)
    if match is not None and _IN_ENVELOPE.search(match[1]):
        text = text[match.end() :]
    return _MESSAGE_ID.sub("", text).rstrip("\n") if "[message_id:" in text else text


def usage_of(usage: Usage | None, cost: Cost | None) -> Message:
    """Return the counts of a run with their price; zeros for what is not known."""
    tokens = Tokens() if usage is None else count_tokens(usage)
    return {
        "input": tokens.input,
        "output": tokens.output,
        "cacheRead": tokens.cache_read,
        "cacheWrite": 0,
        "totalTokens": tokens.total,
        "cost": msgspec.to_builtins(price_of(tokens, cost or Cost())),
    }


def _assistant(
    entry: TranscriptEntry, message: AssistantMessage, catalog: Catalog
) -> Message:
    content: list[Message] = []
    if message.reasoning:
        content.append({"type": "thinking", "thinking": message.reasoning})
    if message.text:
        content.append(_text(message.text))
    content += [_tool_call(call) for call in message.tool_calls]
    told: Message = {"role": "assistant", "content": content}
    cost: Cost | None = None
    if entry.provider is not None and entry.model is not None:
        known = catalog.details(ModelRef(entry.provider, entry.model))
        cost = known.cost if known else None
        told["api"] = "openai-completions"
        told["provider"], told["model"] = entry.provider, entry.model
    reason = message.stop_reason
    return {
        **told,
        "usage": usage_of(entry.usage, cost),
        "stopReason": _STOP_REASONS.get(reason, reason),
        "timestamp": entry.created_at_ms,
    }


def _parts(content: Content) -> list[Message]:
    if isinstance(content, str):
        return [_text(content)]
    return [
        _text(part.text) if isinstance(part, TextPart) else _image(part)
        for part in content
    ]


def _text(text: str) -> Message:
    return {"type": "text", "text": text}


def _image(part: ImagePart) -> Message:
    match = _DATA_URL.match(part.url)
    if match is None:
        return _text("[image]")
    return {"type": "image", "data": part.url[match.end() :], "mimeType": match[1]}


def _clean(part: Message) -> Message:
    return _text(without_hints(part["text"])) if part["type"] == "text" else part


def _tool_call(call: ToolCall) -> Message:
    """Return a call; what the model wrote wrongly becomes a call without arguments."""
    try:
        arguments = msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError):
        arguments = {}
    if not isinstance(arguments, dict):
        arguments = {}
    told: Message = {
        "type": "toolCall",
        "id": call.id,
        "name": call.name,
        "arguments": arguments,
    }
    return told | {"forClient": True} if call.for_client else told
