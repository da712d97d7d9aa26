"""Answers of providers that speak Anthropic Messages, streamed and whole.

Source: Anthropic API reference, "Streaming messages".  A message is a row of blocks;
each begins, grows and ends under an index of its own.
"""

from __future__ import annotations

from typing import Any, Union
from uuid import uuid4

import attrs
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
from moltbot_gw.wire.callpieces import MAX_CALLS
from moltbot_gw.wire.openai import MAX_EVENT_BYTES, count, decode_error, member
from moltbot_gw.wire.pieces import PieceJoiner
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.sse import SSEDecoder
from moltbot_gw.wire.thoughts import Place, ThoughtKeeper

API = "anthropic-messages"
"""The name of the format, in configurations and in what is kept of a message."""

_STOP_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""The types of the blocks that are thoughts."""

_PROMPT_COUNTS = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)

_encode = msgspec.json.Encoder().encode


class _Delta(Struct, gc=False):
    """What a block grows by; in ``message_delta``, why the message ended."""

    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Block(Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class _Message(Struct):
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: Any = None


class _Event(Struct, gc=False):
    type: str = ""
    index: int | None = None
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: Union[_Message, str, None] = None
    usage: Any = None
    error: Any = None


class _Reply(_Message):
    error: Any = None


_event_decoder = msgspec.json.Decoder(_Event)
_reply_decoder = msgspec.json.Decoder(_Reply)


class MessageStreamDecoder:
    """Turn the bytes of a streamed message into model events.

    After each call: *finish_reason* is set once the model has said why it stopped,
    *usage* once some of it was reported, *done* once ``message_stop`` was seen.  A
    stream is whole when *finish_reason* is set or *done* is true.  *model* is the one
    that was asked for.
    """

    def __init__(self, model: str) -> None:
        self._sse = SSEDecoder(MAX_EVENT_BYTES)
        self._blocks = _Blocks(model)
        self._counts = _Counts()
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.done = False

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Return what *data* says, neighbouring pieces of a block already joined.

        Raises ``ProviderError``, which holds what *data* says before it.
        """
        return self._take(self._sse.feed(data))

    def flush(self) -> list[ModelEvent]:
        """Return what an end of the stream without a blank line left behind."""
        return self._take(self._sse.flush())

    def _take(self, payloads: list[bytes]) -> list[ModelEvent]:
        try:
            for payload in payloads:
                if not self.done and payload.strip():
                    self._take_event(_decode_event(payload))
        except ProviderError as error:
            error.events = self._blocks.take()
            raise
        return self._blocks.take()

    def _take_event(self, event: _Event) -> None:
        # An event or a block of another kind is meant for clients that know it.
        if event.type == "content_block_delta" and event.delta is not None:
            self._blocks.grow(event.index, event.delta)
        elif event.type == "content_block_start" and event.content_block is not None:
            if self.finish_reason is not None:
                raise ProviderError("a block began behind the end of the message")
            self._blocks.begin(event.index, event.content_block)
        elif event.type == "content_block_stop":
            self._blocks.end(event.index)
        elif event.type == "message_start" and isinstance(event.message, _Message):
            self.usage = self._counts.add(event.message.usage)
        elif event.type == "message_delta":
            self.usage = self._counts.add(event.usage)
            if event.delta is not None and event.delta.stop_reason:
                self.finish_reason = self._blocks.finish(event.delta.stop_reason)
        elif event.type == "message_stop":
            if self.finish_reason is None:
                self.finish_reason = self._blocks.finish("end_turn")
            self.done = True


@attrs.define
class _Call:
    """A tool call; *arguments* is JSON text that it began with, until others come."""

    position: int
    arguments: str
    has_grown: bool = False


class _Blocks:
    """The blocks of one message, and what they said since the last ``take``.

    *_open* holds the blocks that have begun; None for those that are no call.
    """

    def __init__(self, model: str) -> None:
        self._thoughts = ThoughtKeeper(API, model)
        self._places: dict[int | None, Place] = {}
        self._open: dict[int | None, _Call | None] = {}
        self._call_ids: set[str] = set()
        self._without_arguments: list[int] = []
        self._said = PieceJoiner()

    def begin(self, index: int | None, block: _Block) -> None:
        if self._open.get(index) is not None:
            raise ProviderError("a block began inside of a tool call")
        if max(len(self._open), len(self._call_ids)) >= MAX_CALLS:
            raise ProviderError(f"more than {MAX_CALLS} tool calls in one message")
        self._places[index] = place = self._thoughts.begin()
        if block.type == "tool_use":
            call = self._open[index] = self._begin_call(block)
            place.call(call.position)
            return
        self._open[index] = None
        if block.thinking:
            self._said.add(ReasoningDelta, block.thinking)
        if block.type in THOUGHTS:
            place.think(_thought(block))
        if block.text:
            self._said.add(TextDelta, block.text)
            place.say(block.text)

    def grow(self, index: int | None, delta: _Delta) -> None:
        place = self._places.get(index)
        if place is None:  # some servers leave the beginning out
            place = self._places[index] = self._thoughts.begin()
        if delta.thinking:
            self._said.add(ReasoningDelta, delta.thinking)
            place.grow("thinking", delta.thinking)
        if delta.text:
            self._said.add(TextDelta, delta.text)
            place.say(delta.text)
        if delta.signature:
            place.grow("signature", delta.signature)
        if delta.partial_json:
            self._grow_call(index, delta.partial_json)

    def end(self, index: int | None) -> None:
        call = self._open.pop(index, None)
        if call is None or call.has_grown:
            return
        if call.arguments:
            self._said.add(call.position, call.arguments)
        else:
            self._without_arguments.append(call.position)

    def finish(self, said: str) -> FinishReason:
        """Return why the model stopped, when it has *said* so."""
        reason = _STOP_REASONS.get(said, "stop")
        if reason not in ("stop", "tool_calls"):
            return reason
        if any(call is not None for call in self._open.values()):
            raise ProviderError("the message ended inside of a tool call")
        for position in self._without_arguments:
            self._said.add(position, "{}")  # clients parse it as JSON
        self._without_arguments.clear()
        if not self._call_ids:
            return "stop"
        self._said.put(*self._thoughts.state())
        return "tool_calls"

    def take(self) -> list[ModelEvent]:
        return self._said.take()

    def _grow_call(self, index: int | None, piece: str) -> None:
        if index not in self._open:
            raise ProviderError("a piece of a tool call came before its beginning")
        call = self._open[index]
        if call is not None:  # else a tool of the provider's own
            call.has_grown = True
            self._said.add(call.position, piece)

    def _begin_call(self, block: _Block) -> _Call:
        if not block.name:
            raise ProviderError("a tool call has no name")
        call_id = block.id
        if not call_id or call_id in self._call_ids:
            call_id = f"toolu_{uuid4().hex}"
        position = len(self._call_ids)
        self._call_ids.add(call_id)
        self._said.put(ToolCallDelta(index=position, id=call_id, name=block.name))
        has_input = isinstance(block.input, dict) and bool(block.input)
        return _Call(position, _encode(block.input).decode() if has_input else "")


class _Counts:
    """The tokens of one message: reported twice and more, each time as sums."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, wire: Any) -> Usage:
        """Return the usage with *wire*; what makes no sense counts as unsaid."""
        for name in (*_PROMPT_COUNTS, "output_tokens"):
            self._note(wire, name)
        self._note(member(wire, "output_tokens_details"), "thinking_tokens")
        counts = self._counts
        prompt = sum(counts.get(name, 0) for name in _PROMPT_COUNTS)
        completion = counts.get("output_tokens", 0)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            cached_tokens=counts.get("cache_read_input_tokens"),
            reasoning_tokens=counts.get("thinking_tokens"),
        )

    def _note(self, wire: Any, name: str) -> None:
        value = count(wire, name)
        if value is not None:
            self._counts[name] = max(value, self._counts.get(name, 0))


def _thought(block: _Block) -> dict[str, Any]:
    """Return *block* as it came, without what it did not say."""
    wire = {
        "thinking": block.thinking,
        "signature": block.signature,
        "data": block.data,
    }
    said = {name: text for name, text in wire.items() if text is not None}
    return {"type": block.type, **said}


def decode_message(
    body: bytes, model: str
) -> tuple[list[ModelEvent], FinishReason, Usage]:
    """Read a whole, non-streamed message, from servers that do not stream."""
    try:
        reply = _reply_decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ProviderError("the provider sent something that is no message") from None
    if reply.error is not None:
        raise decode_error(body)
    if reply.content is None:
        raise ProviderError("the reply has no content")
    blocks = _Blocks(model)
    for index, block in enumerate(reply.content):
        blocks.begin(index, block)
        blocks.end(index)
    reason = blocks.finish(reply.stop_reason or "end_turn")
    return blocks.take(), reason, _Counts().add(reply.usage)


def _decode_event(payload: bytes) -> _Event:
    try:
        event = _event_decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ProviderError("the provider sent something that is no event") from None
    if event.error is not None or event.type == "error":
        raise decode_error(payload)
    return event
