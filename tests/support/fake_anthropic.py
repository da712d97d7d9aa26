"""What a provider says that speaks Anthropic Messages; ``FakeProvider`` plays it.

``said`` and the functions behind it make whole answers, those before it their pieces.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.support.fake_provider import (
    END_OF_CHUNKS,
    FakeProvider,
    Script,
    chunk,
    streamed,
)

MODEL = "claude-1"


def event(kind: str, **members: object) -> bytes:
    """Return one server-sent event, with its name."""
    data = json.dumps({"type": kind, **members}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


PING = event("ping")
STOP = event("message_stop")


def start(**usage: Any) -> bytes:
    """Return the event that begins a message; *usage* counts its prompt."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 7, "output_tokens": 1, **usage},
    }
    return event("message_start", message=message)


def begin(index: int, kind: str, **members: object) -> bytes:
    """Return the event that begins a block."""
    return event(
        "content_block_start", index=index, content_block={"type": kind, **members}
    )


def grow(index: int, kind: str, **members: object) -> bytes:
    """Return the event that adds to a block."""
    return event("content_block_delta", index=index, delta={"type": kind, **members})


def end(index: int) -> bytes:
    """Return the event that ends a block."""
    return event("content_block_stop", index=index)


def finish(reason: str | None = "end_turn", **usage: Any) -> bytes:
    """Return the events that tell why the message ended, without its last one."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return event("message_delta", delta=delta, usage={"output_tokens": 3, **usage})


def words(index: int, *texts: str) -> bytes:
    """Return a whole block of words."""
    pieces = (grow(index, "text_delta", text=text) for text in texts)
    return begin(index, "text", text="") + b"".join(pieces) + end(index)


def thoughts(index: int, *texts: str) -> bytes:
    """Return a whole block of thinking, with its signature."""
    pieces = [grow(index, "thinking_delta", thinking=text) for text in texts]
    pieces.append(grow(index, "signature_delta", signature="c2lnbmVk"))
    return begin(index, "thinking", thinking="") + b"".join(pieces) + end(index)


def call(index: int, call_id: str, name: str, *pieces: str) -> bytes:
    """Return a whole block of a tool call."""
    begun = begin(index, "tool_use", id=call_id, name=name, input={})
    grown = (grow(index, "input_json_delta", partial_json=p) for p in pieces)
    return begun + b"".join(grown) + end(index)


def failure(kind: str, message: str) -> bytes:
    """Return the event of a failure in the middle of a message."""
    return event("error", error={"type": kind, "message": message})


def whole(*blocks: bytes, reason: str = "end_turn", **usage: Any) -> list[bytes]:
    """Return the events of a whole message of *blocks*."""
    return [start(**usage), PING, *blocks, finish(reason), STOP]


def said(*texts: str, reason: str = "end_turn", **usage: Any) -> Script:
    """Return a script: a whole stream that says *texts*."""
    return played(whole(words(0, *texts), reason=reason, **usage))


def called_and_thought() -> Script:
    """Return a script: a stream that thinks, says something, and calls a tool."""
    blocks = [
        thoughts(0, "Let me ", "see"),
        words(1, "Look", "ing"),
        call(2, "toolu_1", "look", '{"at":', ' "x"}'),
    ]
    return played(whole(*blocks, reason="tool_use", cache_read_input_tokens=5))


def played(events: Sequence[bytes]) -> Script:
    """Return a script: a chunked stream of *events*, and its end."""
    *first, last = events
    return [*streamed(*first), chunk(last) + END_OF_CHUNKS]


def reply(*content: dict[str, Any], reason: str = "end_turn") -> dict[str, Any]:
    """Return a whole message, as a server answers that does not stream."""
    return {
        "type": "message",
        "role": "assistant",
        "content": list(content),
        "stop_reason": reason,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }


def refused(kind: str, message: str) -> dict[str, Any]:
    """Return the body of an error status."""
    return {"type": "error", "error": {"type": kind, "message": message}}


async def listening(reactor: Any) -> FakeProvider:
    """Return a provider that says "Hello" unless a script says otherwise."""
    provider = await FakeProvider(reactor).listen()
    provider.default = said("Hello")
    return provider
