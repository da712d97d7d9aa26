"""The ``agent`` events that the WebSocket edge will send."""

from __future__ import annotations

from typing import Any

from moltbot_gw.errors import ProviderFailed, RunAborted
from moltbot_gw.events import (
    ReasoningDelta,
    RunEnded,
    RunEvent,
    RunOutcome,
    RunStarted,
    TextDelta,
)
from moltbot_gw.wire.agent_events import AgentEventRenderer


def rendered(*events: RunEvent) -> list[dict[str, Any] | None]:
    renderer = AgentEventRenderer("run-1", "main")
    return [renderer.render(event, 7) for event in events]


def data_of(outcome: RunOutcome) -> dict[str, Any]:
    (payload,) = rendered(RunEnded(outcome))
    assert payload is not None
    data: dict[str, Any] = payload["data"]
    return data


def test_a_run_starts_speaks_and_ends() -> None:
    outcome = RunOutcome(
        state="done", finish_reason="stop", started_at_ms=1, ended_at_ms=9
    )
    events = rendered(RunStarted(1), TextDelta("a"), TextDelta("b"), RunEnded(outcome))
    assert [(e and e["stream"], e and e["data"]) for e in events] == [
        ("lifecycle", {"phase": "start", "startedAt": 1}),
        ("assistant", {"text": "a", "delta": "a"}),
        ("assistant", {"text": "ab", "delta": "b"}),
        ("lifecycle", {"phase": "end", "startedAt": 1, "endedAt": 9}),
    ]


def test_every_payload_names_its_run_and_counts() -> None:
    events = rendered(RunStarted(1), TextDelta("a"))
    assert events[1] == {
        "runId": "run-1",
        "seq": 2,
        "stream": "assistant",
        "ts": 7,
        "data": {"text": "a", "delta": "a"},
        "sessionKey": "main",
    }


def test_reasoning_is_not_shown_and_not_counted() -> None:
    events = rendered(ReasoningDelta("hm"), TextDelta("a"))
    assert events[0] is None
    assert events[1] is not None
    assert events[1]["seq"] == 1


def test_a_failure_is_an_error_with_its_message() -> None:
    outcome = RunOutcome(state="failed", error=ProviderFailed("gone"), ended_at_ms=9)
    assert data_of(outcome) == {"phase": "error", "error": "gone", "endedAt": 9}


def test_an_aborted_run_ends_as_aborted() -> None:
    outcome = RunOutcome(
        state="aborted", error=RunAborted("bye"), started_at_ms=1, ended_at_ms=9
    )
    assert data_of(outcome) == {
        "phase": "end",
        "startedAt": 1,
        "endedAt": 9,
        "aborted": True,
    }
