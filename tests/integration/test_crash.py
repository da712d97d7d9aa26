"""kill -9 under load loses nothing that a client saw finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltbot_gw.messages import AssistantMessage, UserMessage
from tests.integration.crash_rounds import Found, NotKept, check, run_rounds

ROUNDS = 5
"""``python -m tests.integration.crash_rounds 50`` runs more."""


def test_acknowledged_turns_survive_kill_9(tmp_path: Path) -> None:
    totals = run_rounds(ROUNDS, tmp_path)
    assert totals.acknowledged >= ROUNDS
    assert totals.sent >= totals.acknowledged
    assert totals.interrupted >= 1


def _found(*messages: UserMessage | AssistantMessage) -> Found:
    return Found(0, {"kim": messages})


def test_the_check_has_teeth() -> None:
    said, answered = UserMessage(content="x"), AssistantMessage("x", stop_reason="stop")
    check(_found(said, answered), {"kim": ["x"]})
    for found in (
        _found(),
        _found(said),
        _found(said, AssistantMessage("x", stop_reason="error")),
        _found(said, answered, said, answered),
    ):
        with pytest.raises(NotKept):
            check(found, {"kim": ["x"]})
