"""What a provider says that speaks OpenAI Responses; ``FakeProvider`` plays it.

``said`` and the functions behind it make whole answers, those before it their pieces.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.support.fake_anthropic import played
from tests.support.fake_provider import FakeProvider, Script

MODEL = "gpt-1"

Item = dict[str, Any]


def event(kind: str, **members: object) -> bytes:
    """Return one server-sent event, with its name."""
    data = json.dumps({"type": kind, **members}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def response(status: str, *output: Item, **members: Any) -> dict[str, Any]:
    """Return a whole response, as it stands in the last event or by itself."""
    counts = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 5},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 10,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "model": MODEL,
        "status": status,
        "output": list(output),
        "error": None,
        "incomplete_details": None,
        "usage": None if status == "in_progress" else counts,
        **members,
    }


START = event("response.created", response=response("in_progress")) + event(
    "response.in_progress", response=response("in_progress")
)


# -- items


def message(index: int, text: str, **members: Any) -> Item:
    """Return a message of the model."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": f"msg_{index}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
        **members,
    }


def thought(index: int, *summary: str, encrypted: str | None = "Z0FB") -> Item:
    """Return a thought."""
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {
        "type": "reasoning",
        "id": f"rs_{index}",
        "summary": parts,
        "encrypted_content": encrypted,
        "status": "completed",
    }


def function_call(index: int, call_id: str, name: str, arguments: str) -> Item:
    """Return a call."""
    return {
        "type": "function_call",
        "id": f"fc_{index}",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


# -- events


def added(index: int, item: Item) -> bytes:
    """Return the event that begins an item."""
    empty = {"message": "content", "reasoning": "summary", "function_call": "arguments"}
    name = empty.get(item["type"])
    begun = dict(item, status="in_progress")
    if name is not None:
        begun[name] = "" if name == "arguments" else []
    return event("response.output_item.added", output_index=index, item=begun)


def done(index: int, item: Item) -> bytes:
    """Return the event that ends an item."""
    return event("response.output_item.done", output_index=index, item=item)


def delta(index: int, kind: str, text: str, **members: Any) -> bytes:
    """Return a piece of an item; *kind* as in ``output_text``."""
    return event(
        f"response.{kind}.delta",
        output_index=index,
        item_id=f"item_{index}",
        delta=text,
        **members,
    )


def words(index: int, *texts: str, **members: Any) -> bytes:
    """Return a whole message, streamed."""
    item = message(index, "".join(texts), **members)
    pieces = b"".join(
        delta(index, "output_text", text, content_index=0, logprobs=[])
        for text in texts
    )
    return added(index, item) + pieces + done(index, item)


def refusal(index: int, *texts: str) -> bytes:
    """Return a refusal, streamed."""
    part = {"type": "refusal", "refusal": "".join(texts)}
    item = message(index, "", content=[part])
    pieces = b"".join(delta(index, "refusal", text, content_index=0) for text in texts)
    return added(index, item) + pieces + done(index, item)


def thoughts(index: int, *summaries: str, encrypted: str | None = "Z0FB") -> bytes:
    """Return a thought with parts of a summary, streamed in halves."""
    item = thought(index, *summaries, encrypted=encrypted)
    stream = added(index, item)
    for number, text in enumerate(summaries):
        place = {"output_index": index, "summary_index": number}
        part = {"type": "summary_text", "text": ""}
        stream += event("response.reasoning_summary_part.added", part=part, **place)
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            stream += event(
                "response.reasoning_summary_text.delta", delta=half, **place
            )
    return stream + done(index, item)


def call(index: int, call_id: str, name: str, *pieces: str) -> bytes:
    """Return a whole call, streamed."""
    arguments = "".join(pieces) or "{}"
    item = function_call(index, call_id, name, arguments)
    grown = (delta(index, "function_call_arguments", piece) for piece in pieces)
    whole = event(
        "response.function_call_arguments.done",
        output_index=index,
        item_id=f"item_{index}",
        arguments=arguments,
    )
    return added(index, item) + b"".join(grown) + whole + done(index, item)


def finish(status: str = "completed", *output: Item, **members: Any) -> bytes:
    """Return the event that ends a response."""
    return event(f"response.{status}", response=response(status, *output, **members))


def incomplete(reason: str) -> bytes:
    """Return the event that ends a response that was cut short."""
    return finish("incomplete", incomplete_details={"reason": reason})


def failed(code: str, text: str) -> bytes:
    """Return the event that ends a response that failed."""
    return finish("failed", error={"code": code, "message": text})


def failure(code: str | None, text: str) -> bytes:
    """Return the event of a failure outside of a response."""
    return event("error", code=code, message=text, param=None)


# -- answers


def whole(*items: bytes, end: bytes | None = None) -> list[bytes]:
    """Return the events of a whole response of *items*."""
    return [START, *items, finish() if end is None else end]


def said(*texts: str) -> Script:
    """Return a script: a whole stream that says *texts*."""
    return played(whole(words(0, *texts)))


def called(*calls: tuple[str, str, str], thinking: bool = True) -> Script:
    """Return a script: a stream that thinks and makes *calls* (id, name, arguments)."""
    first = [thoughts(0, "Let me see")] if thinking else []
    items: Sequence[bytes] = [
        call(index, call_id, name, arguments[:3], arguments[3:])
        for index, (call_id, name, arguments) in enumerate(calls, len(first))
    ]
    return played(whole(*first, *items))


def refused(code: str, text: str) -> dict[str, Any]:
    """Return the body of an error status."""
    kind = "invalid_request_error"
    return {"error": {"type": kind, "code": code, "message": text, "param": None}}


async def listening(reactor: Any) -> FakeProvider:
    """Return a provider that says "Hello" unless a script says otherwise."""
    provider = await FakeProvider(reactor).listen()
    provider.default = said("Hello")
    return provider
