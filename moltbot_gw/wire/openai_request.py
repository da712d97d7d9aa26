"""Requests to providers that speak OpenAI Chat Completions.

Source: OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from moltbot_gw.messages import (
    AssistantMessage,
    Content,
    ImagePart,
    Message,
    ModelRequest,
    NamedTool,
    TextPart,
    ToolMessage,
    ToolSpec,
)

_encode = msgspec.json.Encoder().encode


class Dialect(Struct, frozen=True, kw_only=True):
    """How one server's Chat Completions differs from the next one's.

    *max_tokens* is the model's own limit; None leaves the limit to the server.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    developer_role: bool = False
    reasoning_effort: bool = True
    store: bool = False
    max_tokens: int | None = None


def encode_request(request: ModelRequest, dialect: Dialect) -> bytes:
    """Return the body of a streamed chat completion; usage is always asked for."""
    options = request.options
    messages: list[dict[str, Any]] = []
    if request.system:
        role = "developer" if dialect.developer_role else "system"
        messages.append({"role": role, "content": request.system})
    messages.extend(map(_message, request.messages))
    body: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    limits = [n for n in (options.max_tokens, dialect.max_tokens) if n is not None]
    if limits:
        body[dialect.max_tokens_field] = min(limits)
    if dialect.store:
        body["store"] = False
    if options.reasoning_effort is not None and dialect.reasoning_effort:
        body["reasoning_effort"] = options.reasoning_effort
    if request.tools:
        body["tools"] = [_tool(spec) for spec in request.tools]
        choice = request.tool_choice
        if isinstance(choice, NamedTool):
            named = {"name": choice.name}
            body["tool_choice"] = {"type": "function", "function": named}
        elif choice != "auto":
            body["tool_choice"] = choice
        if options.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = options.parallel_tool_calls
    for name in (
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "response_format",
    ):
        value = getattr(options, name)
        if value is not None:
            body[name] = value
    return _encode(body)


def _message(message: Message) -> dict[str, Any]:
    if isinstance(message, AssistantMessage):
        return _assistant(message)
    if isinstance(message, ToolMessage):
        if message.tool_call_id is None:
            # The old form, before tools had ids; still an OpenAI role.
            return {
                "role": "function",
                "name": message.name or "function",
                "content": _content(message.content),
            }
        return {
            "role": "tool",
            "tool_call_id": message.tool_call_id,
            "content": _content(message.content),
        }
    wire: dict[str, Any] = {"role": "user", "content": _content(message.content)}
    if message.name:
        wire["name"] = message.name
    return wire


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.tool_calls:
        wire["content"] = message.text or None
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return wire


def _content(content: Content) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [_part(part) for part in content]


def _part(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    image: dict[str, Any] = {"url": part.url}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _tool(spec: ToolSpec) -> dict[str, Any]:
    function: dict[str, Any] = {"name": spec.name}
    for name in ("description", "parameters", "strict"):
        value = getattr(spec, name)
        if value is not None:
            function[name] = value
    return {"type": "function", "function": function}
