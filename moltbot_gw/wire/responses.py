"""Answers of providers that speak OpenAI Responses, streamed and whole.

Source: OpenAI API reference, "Streaming events" and "The response object".  A response
is a row of items (a message, a thought, a call), each with its own index; only its last
event says that it is whole.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from moltbot_gw.events import FinishReason, ModelEvent, ReasoningDelta, TextDelta, Usage
from moltbot_gw.wire.openai import MAX_EVENT_BYTES, count, decode_error, member
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.responses_items import Items
from moltbot_gw.wire.sse import SSEDecoder

_SPEECH: dict[str, type[TextDelta] | type[ReasoningDelta]] = {
    "response.output_text.delta": TextDelta,
    "response.refusal.delta": TextDelta,
    "response.reasoning_summary_text.delta": ReasoningDelta,
    "response.reasoning_text.delta": ReasoningDelta,
}
_STATUSES = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}


class _Event(Struct, gc=False):
    """Any event; the members of those that are not known may be of any type."""

    type: str = ""
    output_index: Any = None
    item_id: Any = None
    summary_index: Any = None
    delta: Any = None
    arguments: Any = None
    item: Any = None
    response: Any = None
    error: Any = None
    message: Any = None
    code: Any = None


_event_decoder = msgspec.json.Decoder(_Event)
_reply_decoder = msgspec.json.Decoder(dict[str, Any])


class ResponseStreamDecoder:
    """Turn the bytes of a streamed response into model events.

    After each call: *done*, *finish_reason* and *usage* are set once the event came
    that ends a response; a stream without it was cut.  *model* is the one that was
    asked for.
    """

    def __init__(self, model: str) -> None:
        self._sse = SSEDecoder(MAX_EVENT_BYTES)
        self._items = Items(model)
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.done = False

    def feed(self, data: bytes) -> list[ModelEvent]:
        """Return what *data* says, neighbouring pieces of an item already joined.

        Raises ``ProviderError``, which holds what *data* says before it.
        """
        return self._take(self._sse.feed(data))

    def flush(self) -> list[ModelEvent]:
        """Return what an end of the stream without a blank line left behind."""
        return self._take(self._sse.flush())

    def _take(self, payloads: list[bytes]) -> list[ModelEvent]:
        try:
            for payload in payloads:
                # Some end the stream as Chat Completions do; it says nothing here.
                if not self.done and payload.strip() not in (b"", b"[DONE]"):
                    self._take_event(_decode_event(payload))
        except ProviderError as error:
            error.events = self._items.take()
            raise
        return self._items.take()

    def _take_event(self, event: _Event) -> None:
        kind = event.type
        key = event.output_index if _is_index(event.output_index) else event.item_id
        if kind in _SPEECH:
            self._items.say(key, _SPEECH[kind], event.delta)
            if kind == "response.refusal.delta":
                self._items.refused = True
        elif kind == "response.function_call_arguments.delta":
            self._items.grow(key, event.delta)
        elif kind == "response.function_call_arguments.done":
            self._items.complete(key, event.arguments)
        elif kind == "response.output_item.added":
            self._items.begin(key, event.item)
        elif kind == "response.output_item.done":
            self._items.end(key, event.item)
        elif kind == "response.reasoning_summary_part.added":
            if event.summary_index:
                self._items.say(key, ReasoningDelta, "\n\n")
        elif kind in _STATUSES:
            self._end(event.response, _STATUSES[kind])

    def _end(self, response: Any, status: str) -> None:
        self.usage = _usage(member(response, "usage"))
        self.finish_reason = _finish(response, status, self._items)
        self.done = True


def decode_response(
    body: bytes, model: str
) -> tuple[list[ModelEvent], FinishReason, Usage]:
    """Read a whole, non-streamed response, from servers that do not stream."""
    try:
        response = _reply_decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ProviderError("the provider sent something that is no response") from None
    if not isinstance(response.get("output"), list):
        if response.get("error") is not None:
            raise decode_error(body)
        raise ProviderError("the reply has no output")
    items = Items(model)
    reason = _finish(response, "completed", items)
    return items.take(), reason, _usage(response.get("usage"))


def _finish(response: Any, status: str, items: Items) -> FinishReason:
    """Return why the model stopped; raise ``ProviderError`` if it did not finish."""
    told = member(response, "status")
    if status == "completed" and told in ("failed", "cancelled", "incomplete"):
        status = told
    if status in ("failed", "cancelled"):
        raise _failure(response)
    output = member(response, "output")
    items.fill(output if isinstance(output, list) else [])
    if status == "incomplete":
        reason = member(member(response, "incomplete_details"), "reason")
        return "content_filter" if reason == "content_filter" else "length"
    return items.finish()


def _failure(response: Any) -> ProviderError:
    error = member(response, "error")
    return _told(member(error, "message"), member(error, "code"))


def _told(message: Any, code: Any) -> ProviderError:
    text = message if isinstance(message, str) else ""
    return ProviderError(text, None if code is None else str(code))


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _usage(wire: Any) -> Usage:
    prompt = count(wire, "input_tokens") or 0
    completion = count(wire, "output_tokens") or 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=count(wire, "total_tokens") or prompt + completion,
        cached_tokens=count(member(wire, "input_tokens_details"), "cached_tokens"),
        reasoning_tokens=count(
            member(wire, "output_tokens_details"), "reasoning_tokens"
        ),
    )


def _decode_event(payload: bytes) -> _Event:
    try:
        event = _event_decoder.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ProviderError("the provider sent something that is no event") from None
    if event.type not in ("", "error"):
        return event
    if event.error is not None:
        raise decode_error(payload)
    if event.type:
        raise _told(event.message, event.code)
    return event
