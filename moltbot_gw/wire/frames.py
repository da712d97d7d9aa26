"""Frames of the gateway protocol, version 3: requests in, answers and events out.

One JSON object is one WebSocket message::

    {"type": "req", "id", "method", "params"?}
    {"type": "res", "id", "ok", "payload"?, "error"?: {code, message, details?,
     retryable?, retryAfterMs?}}
    {"type": "event", "event", "payload"?, "seq"?, "stateVersion"?}

Members without a value are left out, never null.

Source: upstream ``src/gateway/protocol/schema/frames.ts``.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import Meta

MAX_ID_CHARS = 512
MAX_METHOD_CHARS = 128
NO_ID = "invalid"
"""The id of the answer to a frame that has none."""

ErrorCode = Literal[
    "NOT_LINKED", "NOT_PAIRED", "AGENT_TIMEOUT", "INVALID_REQUEST", "UNAVAILABLE"
]
FrameId = Union[str, int, float, bool]
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_PARAMS = msgspec.Raw(b"{}")


class RequestFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request; *params* is JSON text that the method's own type will check."""

    type: Literal["req"]
    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
    method: Annotated[str, Meta(min_length=1, max_length=MAX_METHOD_CHARS)]
    params: msgspec.Raw = _NO_PARAMS


class ErrorShape(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"
):
    """What an answer says of a failure; *retry_after_ms* implies *retryable*."""

    code: ErrorCode
    message: str
    details: Any = None
    retryable: bool | None = None
    retry_after_ms: int | None = None


class StateVersion(msgspec.Struct, frozen=True):
    """Counters of the states that a client keeps a copy of; they only go up."""

    presence: int
    health: int


class NotJSON(ValueError):
    """The message is not JSON in UTF-8."""


class BadFrame(ValueError):
    """The message is JSON but no request; *frame_id* is what to answer it under."""

    def __init__(self, problem: str, frame_id: FrameId) -> None:
        super().__init__(problem)
        self.problem = problem
        self.frame_id = frame_id


_decode_request = msgspec.json.Decoder(RequestFrame).decode
_encode = msgspec.json.Encoder().encode


def parse_request(payload: bytes) -> RequestFrame:
    """Return the request in *payload*; raise ``NotJSON`` or ``BadFrame``."""
    try:
        return _decode_request(payload)
    except msgspec.ValidationError as error:
        problem = str(error)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # JSON all the same, perhaps: its client waits for an answer.
        problem = "a number is out of range, or a character is half a surrogate pair"
    raise BadFrame(problem[:500], _frame_id(_any_json(payload)))


def _any_json(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NotJSON from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _frame_id(value: Any) -> FrameId:
    found: Any = value.get("id") if isinstance(value, dict) else None
    if isinstance(found, str):
        is_plain = len(found) <= MAX_ID_CHARS and not _SURROGATE.search(found)
        return found if is_plain else NO_ID
    if isinstance(found, (int, float)) and math.isfinite(found):
        return found
    return NO_ID


def encode_result(frame_id: str, payload: Any) -> bytes:
    """Return the answer of a method that went well; *payload* is any JSON value."""
    return _encode({"type": "res", "id": frame_id, "ok": True, "payload": payload})


def encode_failure(
    frame_id: FrameId, error: ErrorShape, payload: Any = msgspec.UNSET
) -> bytes:
    """Return the answer of one that failed; few failures have a *payload* too."""
    frame = {"type": "res", "id": frame_id, "ok": False}
    if payload is not msgspec.UNSET:
        frame["payload"] = payload
    frame["error"] = error  # type: ignore[assignment]
    return _encode(frame)


def encode_payload(payload: Any) -> bytes:
    """Return the JSON of an event's payload, to be framed for each client."""
    return _encode(payload)


def event_head(event: str) -> bytes:
    """Return what stands before the payload of *event*."""
    return b'{"type":"event","event":%b,"payload":' % _encode(event)


def event_tail(seq: int | None, version: StateVersion | None = None) -> bytes:
    """Return what stands after the payload; *seq* counts the events of one client."""
    tail = b"" if seq is None else b',"seq":%d' % seq
    if version is not None:
        tail += b',"stateVersion":%b' % _encode(version)
    return tail + b"}"
