"""The answers of the OpenAI-compatible endpoint: completions, chunks, models, errors.

Source: OpenAI API reference, "The chat completion object" and "chunk object"; what each
real client needs of them is in our own contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from moltbot_gw.errors import GatewayError
from moltbot_gw.events import (
    ReasoningDelta,
    RunEnded,
    RunEvent,
    RunOutcome,
    RunStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.messages import ToolCall
from moltbot_gw.wire.jsontext import encode_line
from moltbot_gw.wire.sse import DONE

_encode = msgspec.json.Encoder().encode
_NO_USAGE = b',"usage":null'


def render_completion(
    *,
    completion_id: str,
    created: int,
    model: str,
    text: str,
    reasoning: str,
    tool_calls: Sequence[ToolCall],
    outcome: RunOutcome,
) -> bytes:
    """Return the body of a non-streamed answer; *created* is in Unix seconds."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if reasoning:
        message["reasoning_content"] = reasoning
    if tool_calls:
        message["content"] = text or None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in tool_calls
        ]
    return _encode(
        {
            "id": completion_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": outcome.finish_reason,
                }
            ],
            "usage": usage_object(outcome.usage),
        }
    )


class ChunkRenderer:
    """Render the events of one run as SSE records.

    All chunks of a stream share id, created and model, so that part is encoded once:
    a chunk costs a seventh of a microsecond instead of five.
    """

    def __init__(
        self, *, completion_id: str, created: int, model: str, include_usage: bool
    ) -> None:
        common = {
            "id": completion_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._head = b"data: " + encode_line(common)[:-1] + b',"choices":['
        self._include_usage = include_usage
        tail = b"]" + (_NO_USAGE if include_usage else b"") + b"}\n\n"
        self._delta = self._head + b'{"index":0,"delta":{'
        self._delta_end = b'},"finish_reason":null}' + tail
        self._tail = tail

    def render(self, event: RunEvent) -> bytes:
        """Return the records for *event*; those of ``RunEnded`` close the stream."""
        if isinstance(event, TextDelta):
            return (
                self._delta + b'"content":' + encode_line(event.text) + self._delta_end
            )
        if isinstance(event, ReasoningDelta):
            return (
                self._delta
                + b'"reasoning_content":'
                + encode_line(event.text)
                + self._delta_end
            )
        if isinstance(event, ToolCallDelta):
            return (
                self._delta
                + b'"tool_calls":['
                + encode_line(_call_fragment(event))
                + b"]"
                + self._delta_end
            )
        if isinstance(event, RunStarted):
            return self._delta + b'"role":"assistant","content":""' + self._delta_end
        assert isinstance(event, RunEnded)
        return self._end(event.outcome)

    def _end(self, outcome: RunOutcome) -> bytes:
        if outcome.error is not None:
            return b"data: " + render_error(outcome.error) + b"\n\n" + DONE
        reason = _encode(outcome.finish_reason)
        records = (
            self._head
            + b'{"index":0,"delta":{},"finish_reason":'
            + reason
            + b"}"
            + self._tail
        )
        if self._include_usage:
            usage = _encode(usage_object(outcome.usage))
            records += self._head + b'],"usage":' + usage + b"}\n\n"
        return records + DONE


def _call_fragment(event: ToolCallDelta) -> dict[str, Any]:
    """Return a piece of a call: id and name stand in its first one, and only there."""
    function = {"arguments": event.arguments}
    if not event.name:
        return {"index": event.index, "function": function}
    return {
        "index": event.index,
        "id": event.id,
        "type": "function",
        "function": {"name": event.name, **function},
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return *usage* as OpenAI names it; the details only where they are known."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {
            "reasoning_tokens": usage.reasoning_tokens
        }
    return counts


def render_error(error: GatewayError) -> bytes:
    """Return the error envelope, on one line."""
    envelope = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    return encode_line({"error": envelope})


def render_models(names: Iterable[str], created: int) -> bytes:
    """Return the body of the list of models."""
    data = [_model(name, created) for name in names]
    return _encode({"object": "list", "data": data})


def render_model(name: str, created: int) -> bytes:
    """Return the body of one model."""
    return _encode(_model(name, created))


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "moltbot"}
