"""Runs as the ``agent`` events of the gateway protocol, version 3.

One payload is ``{runId, seq, stream, ts, data, sessionKey}``: *seq* counts from 1 in
its run, *ts* is in Unix milliseconds.  Two streams exist so far:

``lifecycle``
    ``{phase: "start", startedAt}``, ``{phase: "end", startedAt?, endedAt, aborted?}``,
    ``{phase: "error", error, startedAt?, endedAt}``
``assistant``
    ``{text, delta}``: the whole text of the message so far, and what is new of it

Source: upstream ``src/infra/agent-events.ts``.
"""

from __future__ import annotations

from typing import Any

from moltbot_gw.events import (
    ReasoningDelta,
    RunEvent,
    RunOutcome,
    RunStarted,
    TextDelta,
)

AgentEvent = dict[str, Any]
"""One payload, ready for a JSON encoder."""


class AgentEventRenderer:
    """Turns the events of one run into payloads, in order.

    *session_key* is as the run's own client spells it.  The renderer keeps the text of
    the message, because the protocol repeats it in each event; its reader should take
    text merged.
    """

    def __init__(self, run_id: str, session_key: str) -> None:
        self._run_id = run_id
        self._session_key = session_key
        self._seq = 0
        self._text = ""

    def render(self, event: RunEvent, now_ms: int) -> AgentEvent | None:
        """Return the payload for *event*; None for what the protocol does not show."""
        if isinstance(event, ReasoningDelta):
            return None
        if isinstance(event, TextDelta):
            self._text += event.text
            said = {"text": self._text, "delta": event.text}
            return self._payload("assistant", said, now_ms)
        if isinstance(event, RunStarted):
            data: dict[str, Any] = {"phase": "start", "startedAt": event.at_ms}
        else:
            data = _end(event.outcome)
        return self._payload("lifecycle", data, now_ms)

    def _payload(self, stream: str, data: dict[str, Any], now_ms: int) -> AgentEvent:
        self._seq += 1
        return {
            "runId": self._run_id,
            "seq": self._seq,
            "stream": stream,
            "ts": now_ms,
            "data": data,
            "sessionKey": self._session_key,
        }


def _end(outcome: RunOutcome) -> dict[str, Any]:
    data: dict[str, Any] = {"phase": "end", "endedAt": outcome.ended_at_ms}
    if outcome.started_at_ms is not None:
        data["startedAt"] = outcome.started_at_ms
    if outcome.state == "aborted":
        data["aborted"] = True
    elif outcome.error is not None:
        data["phase"] = "error"
        data["error"] = outcome.error.message
    return data
