"""Runs as the ``agent`` and ``chat`` events of the gateway protocol, version 3.

An ``agent`` payload is ``{runId, seq, stream, ts, data, sessionKey}``; five streams:

``lifecycle``
    ``{phase: "start", startedAt}``, ``{phase: "end", startedAt?, endedAt, aborted?}``,
    ``{phase: "error", error, startedAt?, endedAt}``
``tool``
    ``{phase: "start", name, toolCallId, args}``, ``{phase: "update", name, toolCallId,
    partialResult}``, ``{phase: "result", name, toolCallId, meta?, isError, result}``;
    results are ``{content: [{type: "text", text}]}``
``compaction``
    ``{phase: "start"}``, ``{phase: "end", willRetry}``
``attempt`` (ours)
    ``{phase: "failed", model, reason, message, nextModel?}``: a model that failed
``assistant``
    ``{text, delta}``: the whole text so far, and what is new of it; *text* is left out
    of a very long answer

A ``chat`` payload is ``{runId, sessionKey, seq, state, message?, errorMessage?,
stopReason?}``; *state* is ``delta``, ``final``, ``error`` or ``aborted``, and *message*
holds the whole text so far.  *seq* never falls within a run; times are in Unix
milliseconds; the session's key is as the run's own client spells it.

Source: upstream ``src/infra/agent-events.ts``, ``src/gateway/server-chat.ts``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from moltbot_gw.errors import RunAborted
from moltbot_gw.events import (
    AttemptFailed,
    CompactionEnded,
    CompactionEvent,
    RunOutcome,
    ToolEvent,
    ToolStarted,
    ToolUpdated,
)

Payload = dict[str, Any]
"""Ready for a JSON encoder."""

MAX_ERROR_CHARS = 240


def assistant_message(text: str, timestamp_ms: int) -> Payload:
    """Return a message of the assistant as ``chat`` events show it."""
    return {
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "timestamp": timestamp_ms,
    }


def _result(text: str) -> Payload:
    return {"content": [{"type": "text", "text": text}]}


class LifecycleEvents:
    """Makes the ``agent`` payloads of one run."""

    def __init__(self, run_id: str, session_key: str) -> None:
        self._run_id = run_id
        self._session_key = session_key

    def started(self, seq: int, now_ms: int, at_ms: int) -> Payload:
        """The run left its queue."""
        return self._payload(
            seq, now_ms, "lifecycle", {"phase": "start", "startedAt": at_ms}
        )

    def said(self, seq: int, now_ms: int, text: str | None, delta: str) -> Payload:
        """The assistant said *delta*, which makes *text* in all."""
        data = {"delta": delta} if text is None else {"text": text, "delta": delta}
        return self._payload(seq, now_ms, "assistant", data)

    def tool(self, seq: int, now_ms: int, event: ToolEvent) -> Payload:
        """One of the agent's tools is at work."""
        data: Payload = {"name": event.name, "toolCallId": event.call_id}
        if isinstance(event, ToolStarted):
            data |= {"phase": "start", "args": msgspec.Raw(event.arguments.encode())}
        elif isinstance(event, ToolUpdated):
            data |= {"phase": "update", "partialResult": _result(event.text)}
        else:
            data |= {
                "phase": "result",
                "isError": event.is_error,
                "result": _result(event.text),
            }
            if event.label is not None:
                data["meta"] = event.label
        return self._payload(seq, now_ms, "tool", data)

    def compaction(self, seq: int, now_ms: int, event: CompactionEvent) -> Payload:
        """The older part of the conversation is being summarised, or was."""
        data: Payload = {"phase": "start"}
        if isinstance(event, CompactionEnded):
            data = {"phase": "end", "willRetry": event.will_retry}
        return self._payload(seq, now_ms, "compaction", data)

    def attempt(self, seq: int, now_ms: int, event: AttemptFailed) -> Payload:
        """A model has failed before its first word."""
        data: Payload = {
            "phase": "failed",
            "model": event.model,
            "reason": event.reason,
            "message": event.message[:MAX_ERROR_CHARS],
        }
        if event.next_model is not None:
            data["nextModel"] = event.next_model
        return self._payload(seq, now_ms, "attempt", data)

    def ended(self, seq: int, now_ms: int, outcome: RunOutcome) -> Payload:
        """The run is over."""
        data: Payload = {"phase": "end", "endedAt": outcome.ended_at_ms}
        if outcome.started_at_ms is not None:
            data["startedAt"] = outcome.started_at_ms
        if outcome.state == "aborted":
            data["aborted"] = True
        elif outcome.error is not None:
            data["phase"] = "error"
            data["error"] = outcome.error.message
        return self._payload(seq, now_ms, "lifecycle", data)

    def _payload(self, seq: int, now_ms: int, stream: str, data: Payload) -> Payload:
        return {
            "runId": self._run_id,
            "seq": seq,
            "stream": stream,
            "ts": now_ms,
            "data": data,
            "sessionKey": self._session_key,
        }


class ChatEvents:
    """Makes the ``chat`` payloads of one run."""

    def __init__(self, run_id: str, session_key: str) -> None:
        self._run_id = run_id
        self._session_key = session_key

    def delta(self, seq: int, now_ms: int, text: str) -> Payload:
        """The assistant has said *text* so far."""
        return self._payload(seq, "delta", message=assistant_message(text, now_ms))

    def ended(
        self, seq: int, now_ms: int, outcome: RunOutcome, text: str | None
    ) -> Payload:
        """The run is over; *text* is None if it is too long for an event."""
        error = outcome.error
        if outcome.state == "aborted":
            reason = error.stop_reason if isinstance(error, RunAborted) else "stop"
            return self._payload(seq, "aborted", stopReason=reason)
        if error is not None:
            return self._payload(
                seq, "error", errorMessage=error.message[:MAX_ERROR_CHARS]
            )
        said = (text or "").strip()
        if not said:
            return self._payload(seq, "final")
        return self._payload(seq, "final", message=assistant_message(said, now_ms))

    def _payload(self, seq: int, state: str, **more: Any) -> Payload:
        return {
            "runId": self._run_id,
            "sessionKey": self._session_key,
            "seq": seq,
            "state": state,
            **more,
        }
