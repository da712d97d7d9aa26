"""Requests to providers that speak Anthropic Messages.

Source: Anthropic API reference, "Messages", and the guides to tool use, extended
thinking and prompt caching.  The format is stricter than OpenAI's: roles alternate, the
user begins, and no text may be blank; what a conversation has otherwise is put right.
"""

from __future__ import annotations

import re
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
    ToolCall,
    ToolMessage,
    ToolSpec,
)

DEFAULT_MAX_TOKENS = 8192
"""Of an answer, when neither the client nor the configuration says; one is required."""

MIN_THINKING_TOKENS = 1024
"""A smaller budget is refused."""

_BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
}
_MIN_THINKING_TOP_P = 0.95
_MAX_TEMPERATURE = 1.0

_CACHED = {"type": "ephemeral"}
_NO_WORDS = "(no words)"
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^;,]*)*;base64,", re.IGNORECASE)
_NO_ID = re.compile(r"[^A-Za-z0-9_-]")
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}

_encode = msgspec.json.Encoder().encode
_check_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NO_ARGUMENTS = msgspec.Raw(b"{}")

_Block = dict[str, Any]


class ModelLimits(Struct, frozen=True, kw_only=True):
    """What a model can do: *max_tokens* of one answer, None if that is not known."""

    max_tokens: int | None = None
    thinking: bool = True


def encode_request(request: ModelRequest, limits: ModelLimits) -> bytes:
    """Return the body of a streamed message.

    The system prompt and the tools are marked as worth caching: they begin every
    request of an agent.
    """
    options = request.options
    messages = _messages(request.messages)
    given = [n for n in (options.max_tokens, limits.max_tokens) if n is not None]
    max_tokens = min(given, default=DEFAULT_MAX_TOKENS)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": max_tokens,
        "messages": messages,
        "stream": True,
    }
    if request.system.strip():
        text = {"type": "text", "text": request.system, "cache_control": _CACHED}
        body["system"] = [text]
    budget = _thinking_budget(options, max_tokens) if limits.thinking else 0
    if budget and _may_think(request, messages):
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    body.update(_sampling(options, thinks="thinking" in body))
    if request.tools:
        tools = [_tool(spec) for spec in request.tools]
        tools[-1]["cache_control"] = _CACHED
        body["tools"] = tools
        choice = _tool_choice(request)
        if choice is not None:
            body["tool_choice"] = choice
    return _encode(body)


def _thinking_budget(options: SamplingOptions, max_tokens: int) -> int:
    """Return how many tokens to think; half of all at most, so that words follow."""
    budget = _BUDGETS.get(options.reasoning_effort or "", 0)
    budget = min(budget, max_tokens // 2)
    return budget if budget >= MIN_THINKING_TOKENS else 0


def _may_think(request: ModelRequest, messages: list[_Block]) -> bool:
    """Whether thinking would be accepted here.

    It is not where a tool must be called, nor behind a message of the assistant that
    does not begin with its own signed thoughts: an answer that it is to go on with, or
    calls whose results follow.  We do not keep those signatures.
    """
    if request.tools and request.tool_choice not in ("auto", "none"):
        return False
    last = messages[-1]
    return last["role"] == "user" and all(
        block["type"] != "tool_result" for block in last["content"]
    )


def _sampling(options: SamplingOptions, *, thinks: bool) -> dict[str, Any]:
    """Return the options that the format has; it refuses those that it has not."""
    wire: dict[str, Any] = {}
    if options.temperature is not None and not thinks:
        wire["temperature"] = min(options.temperature, _MAX_TEMPERATURE)
    elif options.top_p is not None and not (
        thinks and options.top_p < _MIN_THINKING_TOP_P
    ):
        wire["top_p"] = options.top_p  # many models take one of the two only
    stop = [text for text in options.stop or () if text.strip()]
    if stop:
        wire["stop_sequences"] = stop
    return wire


def _tool(spec: ToolSpec) -> _Block:
    wire: _Block = {"name": spec.name}
    if spec.description:
        wire["description"] = spec.description
    wire["input_schema"] = {"type": "object", **(spec.parameters or {})}
    return wire


def _tool_choice(request: ModelRequest) -> _Block | None:
    """Return what is asked for; None for what would happen anyway."""
    choice = request.tool_choice
    if isinstance(choice, NamedTool):
        wire: _Block = {"type": "tool", "name": choice.name}
    else:
        wire = {"type": _CHOICES[choice]}
    if request.options.parallel_tool_calls is False and choice != "none":
        wire["disable_parallel_tool_use"] = True
    return None if wire == {"type": "auto"} else wire


def _messages(messages: tuple[Message, ...]) -> list[_Block]:
    """Return turns of alternating roles, none of them empty; the user begins."""
    turns: list[_Block] = []
    for message in messages:
        is_assistant = isinstance(message, AssistantMessage)
        role = "assistant" if is_assistant else "user"
        blocks = _blocks(message)
        if not blocks:
            continue
        if not turns and is_assistant:
            turns.append({"role": "user", "content": [_text(_NO_WORDS)]})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        return [{"role": "user", "content": [_text(_NO_WORDS)]}]
    last = turns[-1]["content"][-1]
    if turns[-1]["role"] == "assistant" and last["type"] == "text":
        # To be gone on with; blanks at its end are refused.
        last["text"] = last["text"].rstrip()
    return turns


def _blocks(message: Message) -> list[_Block]:
    """Return what *message* says; nothing only for an assistant that said nothing."""
    if isinstance(message, AssistantMessage):
        return _content(message.text) + [_tool_use(call) for call in message.tool_calls]
    if not isinstance(message, ToolMessage):
        return _content(message.content) or [_text(_NO_WORDS)]
    content = _content(message.content)
    if message.tool_call_id is None:
        # The old form, before tools had ids; this format has always had them.
        name = message.name or "function"
        return [_text(f"Result of {name}:"), *(content or [_text(_NO_WORDS)])]
    result: _Block = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id)}
    if content:
        result["content"] = content
    return [result]


def _content(content: Content) -> list[_Block]:
    if isinstance(content, str):
        return [_text(content)] if content.strip() else []
    parts = [_image(p) if isinstance(p, ImagePart) else _text(p.text) for p in content]
    return [part for part in parts if part["type"] != "text" or part["text"].strip()]


def _text(text: str) -> _Block:
    return {"type": "text", "text": text}


def _image(part: ImagePart) -> _Block:
    found = _DATA_URL.match(part.url)
    if found is None:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    media_type = found[1].lower().replace("image/jpg", "image/jpeg")
    data = part.url[found.end() :]
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "image", "source": source}


def _tool_use(call: ToolCall) -> _Block:
    return {
        "type": "tool_use",
        "id": _id(call.id),
        "name": call.name,
        "input": _arguments(call.arguments),
    }


def _arguments(text: str) -> msgspec.Raw:
    """Return the object that *text* is, as it is; an empty one if it is none."""
    try:
        data = text.encode()
        _check_object(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _NO_ARGUMENTS
    return msgspec.Raw(data)


def _id(text: str) -> str:
    """Return *text* with the characters that an id may have; others made it longer."""
    return _NO_ID.sub("_", text) or "call"
