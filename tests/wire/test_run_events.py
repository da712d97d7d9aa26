"""The ``agent`` and ``chat`` events that the WebSocket edge sends."""

from __future__ import annotations

from typing import Any

import pytest

from moltbot_gw.errors import (
    ClientGone,
    Draining,
    GatewayError,
    ProviderFailed,
    RunAborted,
)
from moltbot_gw.events import RunOutcome
from moltbot_gw.wire.run_events import (
    MAX_ERROR_CHARS,
    ChatEvents,
    LifecycleEvents,
    assistant_message,
)

AGENT, CHAT = LifecycleEvents("run-1", "main"), ChatEvents("run-1", "main")
DONE = RunOutcome(state="done", finish_reason="stop", started_at_ms=1, ended_at_ms=9)


def cut_off(error: GatewayError) -> RunOutcome:
    return RunOutcome(state="aborted", error=error, started_at_ms=1, ended_at_ms=9)


def failed(message: str = "gone") -> RunOutcome:
    return RunOutcome(state="failed", error=ProviderFailed(message), ended_at_ms=9)


# -- agent


def test_every_agent_event_names_its_run() -> None:
    assert AGENT.said(2, 7, "ab", "b") == {
        "runId": "run-1",
        "seq": 2,
        "stream": "assistant",
        "ts": 7,
        "data": {"text": "ab", "delta": "b"},
        "sessionKey": "main",
    }


def test_very_long_text_is_left_out() -> None:
    assert AGENT.said(2, 7, None, "b")["data"] == {"delta": "b"}


def test_run_starts() -> None:
    payload = AGENT.started(1, 7, 5)
    assert (payload["stream"], payload["ts"]) == ("lifecycle", 7)
    assert payload["data"] == {"phase": "start", "startedAt": 5}


@pytest.mark.parametrize(
    ("outcome", "data"),
    [
        (DONE, {"phase": "end", "startedAt": 1, "endedAt": 9}),
        (failed(), {"phase": "error", "error": "gone", "endedAt": 9}),
        (
            cut_off(RunAborted("bye")),
            {"phase": "end", "startedAt": 1, "endedAt": 9, "aborted": True},
        ),
        (
            RunOutcome(state="aborted", error=Draining("bye"), ended_at_ms=9),
            {"phase": "end", "endedAt": 9, "aborted": True},
        ),
    ],
)
def test_run_ends(outcome: RunOutcome, data: dict[str, Any]) -> None:
    payload = AGENT.ended(3, 7, outcome)
    assert (payload["stream"], payload["data"]) == ("lifecycle", data)


# -- chat


def test_every_chat_event_names_its_run_and_has_the_text_so_far() -> None:
    assert CHAT.delta(2, 7, "ab") == {
        "runId": "run-1",
        "sessionKey": "main",
        "seq": 2,
        "state": "delta",
        "message": {
            "role": "assistant",
            "content": [{"type": "text", "text": "ab"}],
            "timestamp": 7,
        },
    }


def test_last_chat_event_has_the_whole_text() -> None:
    payload = CHAT.ended(3, 7, DONE, "\n ab ")
    assert payload["state"] == "final"
    assert payload["message"] == assistant_message("ab", 7)


@pytest.mark.parametrize("text", ["", " \n", None])
def test_last_chat_event_without_words_has_no_message(text: str | None) -> None:
    payload = CHAT.ended(3, 7, DONE, text)
    assert payload == {
        "runId": "run-1",
        "sessionKey": "main",
        "seq": 3,
        "state": "final",
    }


def test_failure_is_told_in_few_words() -> None:
    payload = CHAT.ended(3, 7, failed("x" * 1000), "half")
    assert (payload["state"], payload["errorMessage"]) == (
        "error",
        "x" * MAX_ERROR_CHARS,
    )
    assert "message" not in payload


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RunAborted("bye"), "rpc"),
        (RunAborted("bye", stop_reason="timeout"), "timeout"),
        (ClientGone("bye"), "rpc"),
        (Draining("bye"), "stop"),
    ],
)
def test_aborted_run_says_why(error: GatewayError, reason: str) -> None:
    payload = CHAT.ended(3, 7, cut_off(error), "half")
    assert (payload["state"], payload["stopReason"]) == ("aborted", reason)
    assert "message" not in payload
