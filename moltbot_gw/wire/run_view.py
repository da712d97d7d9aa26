"""A run as ``/v1/runs/{id}`` shows it; this object is ours, not OpenAI's."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

RunState = Literal["waiting", "running", "cancelling", "done", "failed", "aborted"]
"""The last three are for good."""


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may know of a run.

    *created* is in Unix seconds, other times are in milliseconds.  *model* is the one
    that answers (``provider/model``), known with *session_id* and *started_at_ms* once
    the run has left its lanes; *usage*, *finish_reason* and *error* (as in the error
    envelope) belong to the end.  *key* is the name of the key that asked for it, None
    for the shared secret.
    """

    id: str
    object: Literal["run"] = "run"
    state: RunState
    agent: str
    session_key: str
    key: str | None
    session_id: str | None
    model: str | None
    created: int
    started_at_ms: int | None
    ended_at_ms: int | None
    finish_reason: str | None
    usage: dict[str, Any] | None
    error: dict[str, Any] | None


render_run = msgspec.json.Encoder().encode
"""Return the body that shows a ``RunView``."""
