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
from moltbot_gw.wire.anthropic import API, THOUGHTS
from moltbot_gw.wire.thoughts import Words, open_turn, recall

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
_EFFORTS = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
}
_MIN_THINKING_TOP_P = 0.95
_MAX_TEMPERATURE = 1.0

# As in claude-opus-4-7, claude-4.7-opus, and claude-opus-4-20250514, which is a date.
_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")
_FIRST_ADAPTIVE = (4, 7)

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
    """What a model can do: *max_tokens* of one answer, None if that is not known.

    *adaptive* models measure their thoughts themselves, by an effort; they refuse a
    budget and every sampling option, and some of them think unasked.  None leaves that
    to the model's name: they are Claude 4.7 and later.
    """

    max_tokens: int | None = None
    thinking: bool = True
    adaptive: bool | None = None


def encode_request(request: ModelRequest, limits: ModelLimits) -> bytes:
    """Return the body of a streamed message.

    The system prompt and the tools are marked as worth caching: they begin every
    request of an agent.
    """
    if limits.adaptive is None:
        adaptive = _version(request.model) >= _FIRST_ADAPTIVE
        limits = msgspec.structs.replace(limits, adaptive=adaptive)
    given = [request.options.max_tokens, limits.max_tokens]
    max_tokens = min((n for n in given if n is not None), default=DEFAULT_MAX_TOKENS)
    messages = _messages(request.messages, request.model)
    thinking = _thinking(request, limits, max_tokens, messages)
    if not thinking and not limits.adaptive:
        # Who does not think may not be shown thoughts either.
        messages = _messages(request.messages, None)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": max_tokens,
        "messages": messages,
        "stream": True,
        **thinking,
        **_sampling(request.options, limits, thinks=bool(thinking)),
    }
    if request.system.strip():
        text = {"type": "text", "text": request.system, "cache_control": _CACHED}
        body["system"] = [text]
    if request.tools:
        tools = [_tool(spec) for spec in request.tools]
        tools[-1]["cache_control"] = _CACHED
        body["tools"] = tools
        choice = _tool_choice(request)
        if choice is not None:
            body["tool_choice"] = choice
    return _encode(body)


def _version(model: str) -> tuple[int, int]:
    """Return which Claude the name *model* tells of; (0, 0) for other names."""
    found = _CLAUDE.search(model.lower())
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _thinking(
    request: ModelRequest,
    limits: ModelLimits,
    max_tokens: int,
    messages: list[_Block],
) -> _Block:
    """Return what asks for thoughts; nothing where they are unwanted or refused."""
    forced = request.tools and request.tool_choice not in ("auto", "none")
    if not limits.thinking or forced or messages[-1]["role"] != "user":
        return {}
    effort = request.options.reasoning_effort or ""
    if limits.adaptive:
        if effort not in _EFFORTS:
            return {}
        shown = {"type": "adaptive", "display": "summarized"}
        return {"thinking": shown, "output_config": {"effort": _EFFORTS[effort]}}
    # Half of all at most, so that words follow.
    budget = min(_BUDGETS.get(effort, 0), max_tokens // 2)
    if budget < MIN_THINKING_TOKENS or not _goes_on_thinking(messages):
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _goes_on_thinking(messages: list[_Block]) -> bool:
    """Whether the turn that is under way, if one is, began with thoughts.

    Otherwise thinking is refused: where the calls were made without it, or by another
    model, whose thoughts were left out.
    """
    begun = len(messages)
    while begun and not _asks(messages[begun - 1]):
        begun -= 1
    return begun == len(messages) or messages[begun]["content"][0]["type"] in THOUGHTS


def _asks(turn: _Block) -> bool:
    """Whether *turn* is the user's, and does not only go on with the one before."""
    return turn["role"] == "user" and all(
        block["type"] != "tool_result" for block in turn["content"]
    )


def _sampling(options: SamplingOptions, limits: ModelLimits, *, thinks: bool) -> _Block:
    """Return the options that the format has; it refuses those that it has not."""
    wire: _Block = {}
    if limits.adaptive:
        pass
    elif options.temperature is not None and not thinks:
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


def _messages(messages: tuple[Message, ...], model: str | None) -> list[_Block]:
    """Return turns of alternating roles, none of them empty; the user begins.

    The thoughts of *model* stand in the turn that it is in; None leaves them out.
    """
    turns: list[_Block] = []
    turn_start = open_turn(messages)
    for number, message in enumerate(messages):
        is_assistant = isinstance(message, AssistantMessage)
        role = "assistant" if is_assistant else "user"
        blocks = None
        if model is not None and number >= turn_start:
            blocks = _thoughtful(message, model)
        if blocks is None:
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


def _thoughtful(message: Message, model: str) -> list[_Block] | None:
    """Return *message* with its thoughts, each in its place; None if it has none."""
    if not isinstance(message, AssistantMessage):
        return None
    found = recall(message, API, model)
    if found is None:
        return None
    blocks: list[_Block] = []
    for one in found:
        if isinstance(one, Words):
            blocks += _content(one.text)
        else:
            blocks.append(_tool_use(one) if isinstance(one, ToolCall) else one)
    return blocks


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
    if message.is_error:
        result["is_error"] = True
        content = content or [_text(_NO_WORDS)]  # demanded of a failure
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
