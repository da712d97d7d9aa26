"""Answers of providers that speak OpenAI Chat Completions, streamed and whole.

Source: OpenAI API reference, "Chat Completions"; members beside it (``reasoning``,
``reasoning_content``) are those of the compatible servers that people run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Union

import msgspec
from msgspec import Struct

from moltbot_gw.events import (
    FinishReason,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.wire.callpieces import CallAssembler, CallPiece, FunctionPiece
from moltbot_gw.wire.providererror import ProviderError
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


# What a stream is decoded into, many a read and soon forgotten.  JSON has no cycles:
# what the collector need not know is made in half the time.


class _Delta(Struct, gc=False):
    content: Union[str, list[Any], None] = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallPiece] | None = None
    function_call: FunctionPiece | None = None


class _Choice(Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Error(Struct):
    message: Any = None
    type: Any = None
    code: Any = None
    status: Any = None


class _Chunk(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Union[_Error, str, None] = None


class _ErrorBody(Struct):
    error: Union[_Error, str, None] = None
    message: str | None = None
    detail: Any = None
    type: Any = None
    code: Any = None


_chunk_decoder = msgspec.json.Decoder(_Chunk)
_chunks_decoder = msgspec.json.Decoder(list[_Chunk])
_error_decoder = msgspec.json.Decoder(Union[_ErrorBody, list[_ErrorBody]])


class ChatStreamDecoder:
    """Turn the bytes of a streamed chat completion into model events.

    After each call: *finish_reason* is set once the model has said why it stopped,
    *usage* once it was reported, *done* once ``[DONE]`` was seen.  A stream is whole
    when *finish_reason* is set or *done* is true; how the connection closed says
    nothing, because a body without a length ends alike whether whole or cut.
    """

    def __init__(self) -> None:
        self._sse = SSEDecoder(MAX_EVENT_BYTES)
        self._calls = CallAssembler()
        self._said: str | None = None
        self._refused = False
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
        if self.done:
            return []
        events = self._take(self._sse.flush())
        return events if self.done else events + self._end()

    def _take(self, payloads: list[bytes]) -> list[ModelEvent]:
        if self.done or not payloads:
            return []
        payloads = [payload.strip() for payload in payloads]
        if b"[DONE]" in payloads:
            self.done = True
            del payloads[payloads.index(b"[DONE]") :]
        merged = _Merger(self._calls)
        try:
            self._take_chunks(_decode_chunks(list(filter(None, payloads))), merged)
        except ProviderError as error:
            error.events = merged.finish()
            raise
        self._refused = self._refused or merged.refused
        if self._said is not None:
            self.finish_reason = _finish_reason(self._said, self._calls, self._refused)
        elif self.done and self._calls.count:
            self.finish_reason = "tool_calls"
        events = merged.finish()
        return events + self._end() if self.done else events

    def _end(self) -> list[ModelEvent]:
        """Return what the calls lack, once nothing more comes.

        Not earlier: some name a reason with every chunk.
        """
        whole = self.finish_reason == "tool_calls"
        return list(self._calls.finish()) if whole else []

    def _take_chunks(self, chunks: Iterable[_Chunk], merged: _Merger) -> None:
        """Take what one read brought, a chunk for each word: so this is one loop."""
        for chunk in chunks:
            if chunk.error is not None:
                raise _provider_error(chunk.error)
            if chunk.usage is not None:
                self.usage = _usage(chunk.usage)
            for choice in chunk.choices or ():
                if choice.index:
                    continue  # one was asked for; a second would be mixed into it
                delta = choice.delta or choice.message
                if delta is not None:
                    merged.add(delta)
                if choice.finish_reason:
                    self._said = choice.finish_reason


def _finish_reason(said: str, calls: CallAssembler, refused: bool) -> FinishReason:
    """Return why the model stopped, of what was *said*.

    Some say "stop" although there are calls, and some "tool_calls" without any.
    """
    if refused:
        return "content_filter"
    reason = _FINISH_REASONS.get(said, "stop")
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if calls.count else "stop"
    return reason


class _Merger:
    """Joins neighbouring pieces of one kind; *refused* says that one was a refusal."""

    def __init__(self, calls: CallAssembler) -> None:
        self._calls = calls
        self._events: list[ModelEvent] = []
        self._kind: type[TextDelta] | type[ReasoningDelta] = TextDelta
        self._pieces: list[str] = []
        self.refused = False

    def add(self, delta: _Delta) -> None:
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            self._append(ReasoningDelta, reasoning)
        text = delta.content
        if isinstance(text, list):
            text = "".join(map(_part_text, text))
        if text and self._kind is TextDelta:  # as nearly all
            self._pieces.append(text)
        elif text:
            self._append(TextDelta, text)
        if delta.refusal:
            self.refused = True
            self._append(TextDelta, delta.refusal)
        if delta.tool_calls or delta.function_call:
            pieces = delta.tool_calls or [CallPiece(function=delta.function_call)]
            for piece in pieces:
                if not piece.is_empty:
                    self._append_call(self._calls.take(piece))

    def _append_call(self, event: ToolCallDelta) -> None:
        self.finish()
        last = self._events[-1] if self._events else None
        if (
            isinstance(last, ToolCallDelta)
            and last.index == event.index
            and not event.name
        ):
            arguments = last.arguments + event.arguments
            self._events[-1] = msgspec.structs.replace(last, arguments=arguments)
        else:
            self._events.append(event)

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
    if chunk.error is not None:
        raise _provider_error(chunk.error)
    if not chunk.choices:
        raise ProviderError("the reply has no choices")
    calls = CallAssembler()
    merged = _Merger(calls)
    message = chunk.choices[0].message
    if message is not None:
        merged.add(message)
    said = chunk.choices[0].finish_reason or "stop"
    reason = _finish_reason(said, calls, merged.refused)
    missing = calls.finish() if reason == "tool_calls" else ()
    return [*merged.finish(), *missing], reason, _usage(chunk.usage)


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
    # Some events of a stream are of the type "error", whichever error it is.
    kind = None if wire.type == "error" else _word(wire.type)
    return ProviderError(wire.message or detail, _word(wire.code) or kind, kind)


def _decode_chunks(payloads: list[bytes]) -> Iterable[_Chunk]:
    """Decode all that one read brought in one call, a third of the cost of many."""
    if len(payloads) == 1:
        return [_decode_chunk(payloads[0])]
    try:
        chunks = _chunks_decoder.decode(b"[" + b",".join(payloads) + b"]")
    except (msgspec.DecodeError, ValueError, RecursionError):
        chunks = []
    # A payload such as ``{},{}`` is no chunk, but would pass for two in a list.
    return chunks if len(chunks) == len(payloads) else map(_decode_chunk, payloads)


def _decode_chunk(payload: bytes) -> _Chunk:
    try:
        return _chunk_decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ProviderError("the provider sent something that is no chunk") from None


def _provider_error(error: _Error | str) -> ProviderError:
    if isinstance(error, str):
        return ProviderError(error)
    message = error.message
    if message is not None and not isinstance(message, str):
        message = _encode(message).decode()
    kind = _word(error.type) or _word(error.status)
    return ProviderError(message or "", _word(error.code) or kind, kind)


def _word(name: Any) -> str | None:
    """Return a name or number as text; None for all else."""
    return str(name) if isinstance(name, (str, int)) else None


def _part_text(part: Any) -> str:
    """Return the words of one part of a text that comes in parts."""
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def _usage(wire: Any) -> Usage:
    """Read what a provider says of its tokens; what makes no sense counts as unsaid."""
    prompt = count(wire, "prompt_tokens") or 0
    completion = count(wire, "completion_tokens") or 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=count(wire, "total_tokens") or prompt + completion,
        cached_tokens=count(member(wire, "prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=count(
            member(wire, "completion_tokens_details"), "reasoning_tokens"
        ),
    )


def member(wire: Any, name: str) -> Any:
    """Return the member *name* of *wire*, None where that is no object."""
    return wire.get(name) if isinstance(wire, dict) else None


def count(wire: Any, name: str) -> int | None:
    """Return the count *name* of the object *wire*, None for what makes no sense."""
    value = member(wire, name)
    if isinstance(value, (int, float)) and 0 <= value <= MAX_TOKENS:
        return int(value)
    return None
