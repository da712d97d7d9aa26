"""The provider side of OpenAI Chat Completions: requests out, streams in.

Source: OpenAI API reference, "Chat Completions"; members beside it (``reasoning``,
``reasoning_content``) are those of the compatible servers that people run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Union

import msgspec
from msgspec import Struct

from moltbot_gw.events import (
    FinishReason,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from moltbot_gw.messages import (
    AssistantMessage,
    Content,
    ImagePart,
    Message,
    ModelRequest,
    TextPart,
    ToolMessage,
)
from moltbot_gw.wire.sse import SSEDecoder

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""One event of a provider's stream; a whole picture fits, a runaway line does not."""

MAX_TOKENS = 2**53
"""More than any count of tokens; what is above it is no count."""

_encode = msgspec.json.Encoder().encode

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


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


# What a stream is decoded into, many a read and soon forgotten.  JSON has no cycles:
# what the collector need not know is made in half the time.


class _Delta(Struct, gc=False):
    content: Union[str, list[Any], None] = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Error(Struct):
    message: Any = None
    type: Any = None
    code: Any = None


class _Chunk(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Union[_Error, str, None] = None


class _ErrorBody(Struct):
    error: Union[_Error, str, None] = None
    message: str | None = None
    detail: Any = None


_chunk_decoder = msgspec.json.Decoder(_Chunk)
_chunks_decoder = msgspec.json.Decoder(list[_Chunk])
_error_decoder = msgspec.json.Decoder(Union[_ErrorBody, list[_ErrorBody]])


class ProviderError(Exception):
    """The provider says in its stream, or by breaking its format, that it failed.

    *message* is its own text, unsafe to show as it is; *code* its name for the failure;
    *events* what it said before, in the same bytes.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.events: list[ModelEvent] = []


class ChatStreamDecoder:
    """Turn the bytes of a streamed chat completion into model events.

    After each call: *finish_reason* is set once the model has said why it stopped,
    *usage* once it was reported, *done* once ``[DONE]`` was seen.  A stream is whole
    when *finish_reason* is set or *done* is true; how the connection closed says
    nothing, because a body without a length ends alike whether whole or cut.
    """

    def __init__(self) -> None:
        self._sse = SSEDecoder(MAX_EVENT_BYTES)
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.done = False

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Return what *data* says, neighbouring pieces of text already joined.

        Raises ``ProviderError``, which holds what *data* says before it.
        """
        return self._take(self._sse.feed(data))

    def flush(self) -> list[ModelEvent]:
        """Return what an end of the stream without a blank line left behind."""
        return self._take(self._sse.flush())

    def _take(self, payloads: list[bytes]) -> list[ModelEvent]:
        if self.done or not payloads:
            return []
        payloads = [payload.strip() for payload in payloads]
        if b"[DONE]" in payloads:
            self.done = True
            del payloads[payloads.index(b"[DONE]") :]
        merged = _Merger()
        try:
            for chunk in _decode_chunks([payload for payload in payloads if payload]):
                self._take_chunk(chunk, merged)
        except ProviderError as error:
            error.events = merged.finish()
            raise
        return merged.finish()

    def _take_chunk(self, chunk: _Chunk, merged: _Merger) -> None:
        if chunk.usage is not None:
            self.usage = _usage(chunk.usage)
        for choice in chunk.choices or ():
            if choice.index:
                continue  # one choice was asked for; a second would be mixed into it
            delta = choice.delta or choice.message
            if delta is not None:
                merged.add(delta)
            if choice.finish_reason:
                self.finish_reason = _FINISH_REASONS.get(choice.finish_reason, "stop")


class _Merger:
    def __init__(self) -> None:
        self._events: list[ModelEvent] = []
        self._kind: type[TextDelta] | type[ReasoningDelta] = TextDelta
        self._pieces: list[str] = []

    def add(self, delta: _Delta) -> None:
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            self._append(ReasoningDelta, reasoning)
        text = delta.content
        if isinstance(text, list):
            text = "".join(map(_part_text, text))
        if text:
            self._append(TextDelta, text)

    def _append(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
        if kind is not self._kind:
            self.finish()
            self._kind = kind
        self._pieces.append(text)

    def finish(self) -> list[ModelEvent]:
        if self._pieces:
            self._events.append(self._kind("".join(self._pieces)))
            self._pieces.clear()
        return self._events


def decode_reply(body: bytes) -> tuple[list[ModelEvent], FinishReason, Usage]:
    """Read a whole, non-streamed completion, from servers that do not stream."""
    chunk = _decode_chunk(body)
    if not chunk.choices:
        raise ProviderError("the reply has no choices")
    merged = _Merger()
    message = chunk.choices[0].message
    if message is not None:
        merged.add(message)
    reason = _FINISH_REASONS.get(chunk.choices[0].finish_reason or "stop", "stop")
    return merged.finish(), reason, _usage(chunk.usage)


def decode_error(body: bytes) -> ProviderError:
    """Read the body of an error status; text that is not JSON says nothing safe."""
    try:
        wire = _error_decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ProviderError("")
    if isinstance(wire, list):
        wire = wire[0] if wire else _ErrorBody()
    if wire.error is not None:
        return _provider_error(wire.error)
    detail = wire.detail if isinstance(wire.detail, str) else ""
    return ProviderError(wire.message or detail)


def _decode_chunks(payloads: list[bytes]) -> Iterable[_Chunk]:
    """Decode all that one read brought in one call, a third of the cost of many."""
    if len(payloads) == 1:
        return [_decode_chunk(payloads[0])]
    try:
        chunks = _chunks_decoder.decode(b"[" + b",".join(payloads) + b"]")
    except (msgspec.DecodeError, ValueError, RecursionError):
        chunks = []
    # A payload such as ``{},{}`` is no chunk, but would pass for two in a list.
    if len(chunks) != len(payloads) or any(c.error is not None for c in chunks):
        return map(_decode_chunk, payloads)
    return chunks


def _decode_chunk(payload: bytes) -> _Chunk:
    try:
        chunk = _chunk_decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ProviderError("the provider sent something that is no chunk") from None
    if chunk.error is not None:
        raise _provider_error(chunk.error)
    return chunk


def _provider_error(error: _Error | str) -> ProviderError:
    if isinstance(error, str):
        return ProviderError(error)
    code = error.code if error.code is not None else error.type
    message = error.message
    if message is not None and not isinstance(message, str):
        message = _encode(message).decode()
    return ProviderError(message or "", None if code is None else str(code))


def _part_text(part: Any) -> str:
    """Return the words of one part of a text that comes in parts."""
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def _usage(wire: Any) -> Usage:
    """Read what a provider says of its tokens; what makes no sense counts as unsaid."""
    prompt = _count(wire, "prompt_tokens") or 0
    completion = _count(wire, "completion_tokens") or 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_count(wire, "total_tokens") or prompt + completion,
        cached_tokens=_count(_member(wire, "prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(
            _member(wire, "completion_tokens_details"), "reasoning_tokens"
        ),
    )


def _member(wire: Any, name: str) -> Any:
    return wire.get(name) if isinstance(wire, dict) else None


def _count(wire: Any, name: str) -> int | None:
    value = _member(wire, name)
    if isinstance(value, (int, float)) and 0 <= value <= MAX_TOKENS:
        return int(value)
    return None
