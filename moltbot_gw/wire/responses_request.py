"""Requests to providers that speak OpenAI Responses.

Source: OpenAI API reference, "Create a model response", and the guides to reasoning and
function calling.  Nothing is left with the service (``store: false``): each request has
the whole conversation, and thoughts go back encrypted.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from moltbot_gw.messages import (
    AssistantMessage,
    Content,
    ImagePart,
    Message,
    ModelRequest,
    NamedTool,
    SamplingOptions,
    TextPart,
    ToolCall,
    ToolMessage,
    ToolSpec,
    text_of,
)
from moltbot_gw.wire.thoughts import Words, open_turn, recall

API = "openai-responses"
"""The name of the format, in configurations and in what is kept of a message."""

MIN_OUTPUT_TOKENS = 16
"""A smaller limit is refused."""

_MAX_ID_CHARS = 64
_NOTHING = {"role": "user", "content": "(no words)"}
_NO_PARAMETERS = {"type": "object", "properties": {}}

_encode = msgspec.json.Encoder().encode

_Item = dict[str, Any]


class ResponsesDialect(Struct, frozen=True, kw_only=True):
    """What is known of a model: *max_tokens* of one answer, None if that is not.

    One that *reasons* is asked for its encrypted thoughts; others refuse that.
    """

    max_tokens: int | None = None
    reasons: bool = False
    reasoning_effort: bool = True


def encode_request(request: ModelRequest, dialect: ResponsesDialect) -> bytes:
    """Return the body of a streamed response."""
    options = request.options
    body: dict[str, Any] = {
        "model": request.model,
        "input": list(_items(request)) or [_NOTHING],
        "stream": True,
        "store": False,
    }
    if request.system:
        body["instructions"] = request.system
    limits = [n for n in (options.max_tokens, dialect.max_tokens) if n is not None]
    if limits:
        body["max_output_tokens"] = max(min(limits), MIN_OUTPUT_TOKENS)
    for name in ("temperature", "top_p"):
        value = getattr(options, name)
        if value is not None:
            body[name] = value
    if options.response_format is not None:
        body["text"] = {"format": _format(options.response_format)}
    body.update(_reasoning(options, dialect))
    if request.tools:
        body["tools"] = [_tool(spec) for spec in request.tools]
        choice = request.tool_choice
        if isinstance(choice, NamedTool):
            body["tool_choice"] = {"type": "function", "name": choice.name}
        elif choice != "auto":
            body["tool_choice"] = choice
        if options.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = options.parallel_tool_calls
    return _encode(body)


def _reasoning(options: SamplingOptions, dialect: ResponsesDialect) -> dict[str, Any]:
    effort = options.reasoning_effort if dialect.reasoning_effort else None
    wire: dict[str, Any] = {}
    if effort is not None:
        wire["reasoning"] = {"effort": effort}
        if effort != "none":
            wire["reasoning"]["summary"] = "auto"
    if dialect.reasons or "summary" in wire.get("reasoning", ()):
        wire["include"] = ["reasoning.encrypted_content"]
    return wire


def _format(response_format: dict[str, Any]) -> dict[str, Any]:
    """Return Chat Completions' *response_format* as it stands in this format."""
    schema = response_format.get("json_schema")
    if response_format.get("type") != "json_schema" or not isinstance(schema, dict):
        return response_format
    return {"type": "json_schema", **schema}


def _tool(spec: ToolSpec) -> _Item:
    wire: _Item = {
        "type": "function",
        "name": spec.name,
        "parameters": _NO_PARAMETERS if spec.parameters is None else spec.parameters,
        # Unsaid, it is true here, and a schema that does not allow for it is refused.
        "strict": bool(spec.strict),
    }
    if spec.description is not None:
        wire["description"] = spec.description
    return wire


def _items(request: ModelRequest) -> Iterator[_Item]:
    start = open_turn(request.messages)
    for number, message in enumerate(request.messages):
        if isinstance(message, AssistantMessage):
            in_turn = number >= start
            found = recall(message, API, request.model) if in_turn else None
            for one in found or [Words(message.text), *message.tool_calls]:
                yield from _said(one)
        else:
            yield _asked(message)


def _said(one: _Item | Words | ToolCall) -> Iterator[_Item]:
    """Return the item of one thing that the model said, none for no words."""
    if isinstance(one, ToolCall):
        yield {
            "type": "function_call",
            "call_id": _id(one.id),
            "name": one.name,
            "arguments": one.arguments or "{}",
        }
    elif isinstance(one, Words):
        if one.text:
            phase = {} if one.phase is None else {"phase": one.phase}
            yield {"role": "assistant", "content": one.text, **phase}
    else:
        yield one


def _asked(message: Message) -> _Item:
    """Return the item of what is not the model's."""
    assert not isinstance(message, AssistantMessage)
    if not isinstance(message, ToolMessage):
        return {"role": "user", "content": _content(message.content)}
    if message.tool_call_id is None:
        # The old form, before tools had ids; this format has always had them.
        lead = TextPart(f"Result of {message.name or 'function'}:")
        content = message.content
        parts = (TextPart(content),) if isinstance(content, str) else content
        return {"role": "user", "content": _content((lead, *parts))}
    return {
        "type": "function_call_output",
        "call_id": _id(message.tool_call_id),
        "output": _output(message.content),
    }


def _output(content: Content) -> str | list[_Item]:
    """Return a tool's result, as parts only for pictures: few servers know them."""
    if isinstance(content, str):
        return content
    has_images = any(isinstance(part, ImagePart) for part in content)
    return _content(content) if has_images else text_of(content)


def _content(content: Content) -> str | list[_Item]:
    if isinstance(content, str):
        return content
    return [_part(part) for part in content]


def _part(part: TextPart | ImagePart) -> _Item:
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    return {
        "type": "input_image",
        "image_url": part.url,
        "detail": part.detail or "auto",
    }


def _id(text: str) -> str:
    """Return *text*, or a name for it if it is longer than an id may be."""
    if 0 < len(text) <= _MAX_ID_CHARS:
        return text
    return sha256(text.encode()).hexdigest()
