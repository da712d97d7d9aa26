from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.errors import RunAborted
from moltbot_gw.events import Usage
from moltbot_gw.messages import AssistantMessage
from moltbot_gw.stored import TurnEnd
from tests.ws.methods.support import KEY, NOW_MS, TREE, Desk, wait

OTHER = "agent:main:other"


def known(desk: Desk) -> list[str]:
    return [row["key"] for row in desk.ask("sessions.list")["sessions"]]


def test_reset_begins_a_session_anew(desk: Desk) -> None:
    desk.turn(usage=Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3))
    fields = {"label": "home", "model": "local/m2", "elevatedLevel": "full"}
    desk.ask("sessions.patch", {"key": "main", **fields})
    told = desk.ask("sessions.reset", {"key": "main"})
    assert (told["ok"], told["key"]) == (True, KEY)
    entry = told["entry"]
    assert entry.pop("sessionId") != "id-1"
    assert entry == {
        "updatedAt": NOW_MS,
        "abortedLastRun": False,
        "inputTokens": 0,
        "outputTokens": 0,
        "totalTokens": 0,
        "label": "home",
        "providerOverride": "local",
        "modelOverride": "m2",
        "modelProvider": "local",
        "model": "m2",
        "contextTokens": 200_000,
    }
    assert desk.ask("chat.history", {"sessionKey": "main"})["messages"] == []


def test_reset_of_nothing_begins_a_session(desk: Desk) -> None:
    told = desk.ask("sessions.reset", {"key": "agent:ops:x"})
    assert told["key"] == "agent:ops:x"
    assert known(desk) == ["agent:ops:x"]


def test_reset_of_nothing_needs_a_known_agent(desk: Desk) -> None:
    assert desk.refusal("sessions.reset", {"key": "agent:nobody:x"}) == (
        "INVALID_REQUEST",
        'invalid sessions.reset params: unknown agent id "nobody"',
    )


@pytest.mark.parametrize("method", ["reset", "delete", "compact"])
@pytest.mark.parametrize("params", [{}, {"key": ""}, {"key": "a", "what": 1}])
def test_upkeep_is_strict(desk: Desk, method: str, params: Any) -> None:
    code, message = desk.refusal(f"sessions.{method}", params)
    assert code == "INVALID_REQUEST"
    assert message.startswith(f"invalid sessions.{method} params: ")


def test_delete_forgets_a_session(desk: Desk) -> None:
    desk.turn(key=OTHER)
    params = {"key": "other", "deleteTranscript": True}
    gone = {"ok": True, "key": OTHER, "archived": []}
    assert desk.ask("sessions.delete", params) == {**gone, "deleted": True}
    assert known(desk) == []
    assert desk.ask("sessions.delete", params) == {**gone, "deleted": False}


def test_session_of_an_agent_that_is_gone_can_be_deleted(desk: Desk) -> None:
    desk.turn(key="agent:gone:x", agent_id="gone")
    assert desk.ask("sessions.delete", {"key": "agent:gone:x"})["deleted"]


@pytest.mark.parametrize("key", ["main", KEY])
def test_main_session_is_not_deleted(desk: Desk, key: str) -> None:
    desk.turn()
    assert desk.refusal("sessions.delete", {"key": key}) == (
        "INVALID_REQUEST",
        f"Cannot delete the main session ({KEY}).",
    )
    assert known(desk) == [KEY]


def test_global_session_is_the_main_one_in_the_global_scope(desk: Desk) -> None:
    everybody = Desk(desk.home, {**TREE, "session": {"scope": "global"}})
    assert everybody.refusal("sessions.delete", {"key": "main"}) == (
        "INVALID_REQUEST",
        "Cannot delete the main session (global).",
    )


def test_transcript_cannot_be_kept_without_its_session(desk: Desk) -> None:
    desk.turn(key=OTHER)
    params = {"key": "other", "deleteTranscript": False}
    assert desk.refusal("sessions.delete", params)[0] == "INVALID_REQUEST"
    assert known(desk) == [OTHER]


def test_delete_cuts_off_what_runs_and_what_waits(desk: Desk) -> None:
    runs = [desk.run(f"run-{number}", OTHER) for number in range(3)]
    assert desk.ask("sessions.delete", {"key": "other"})["deleted"]
    for run in runs:
        assert run.outcome is not None
        assert isinstance(run.outcome.error, RunAborted)
        assert run.outcome.error.stop_reason == "rpc"
    assert known(desk) == []
    assert desk.agents.idle


def test_delete_leaves_other_runs_alone(desk: Desk) -> None:
    desk.turn(key=OTHER)
    run = desk.run()
    assert desk.ask("sessions.delete", {"key": "other"})["deleted"]
    assert run.outcome is None
    run.cancel(RunAborted("the test is over"))


class SlowEnd:
    """A store whose turns do not end until it is told to."""

    def __init__(self, desk: Desk) -> None:
        self.waiting: list[Deferred[None]] = []
        desk.store.end_turn = self.end_turn  # type: ignore[method-assign]

    def end_turn(self, turn: TurnEnd) -> Deferred[None]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


def test_delete_waits_until_the_run_has_stored_its_end(desk: Desk) -> None:
    slow = SlowEnd(desk)
    desk.run("run-1", OTHER)
    answers = desk.begin("sessions.delete", {"key": "other"})
    desk.clock.advance(14)
    assert answers == []
    slow.waiting.pop().callback(None)
    assert answers[0]["payload"]["deleted"]
    assert desk.agents.idle
    assert desk.clock.getDelayedCalls() == []


def test_delete_gives_up_after_fifteen_seconds(desk: Desk) -> None:
    slow = SlowEnd(desk)
    desk.run("run-1", OTHER)
    answers = desk.begin("sessions.delete", {"key": "other"})
    desk.clock.advance(15)
    [answer] = answers
    assert answer["error"] == {
        "code": "UNAVAILABLE",
        "message": f"Session {OTHER} is still active; try again in a moment.",
    }
    assert known(desk) == [OTHER]
    slow.waiting.pop().callback(None)


def test_delete_waits_no_longer_for_runs_that_keep_coming(desk: Desk) -> None:
    slow = SlowEnd(desk)
    desk.run("run-1", OTHER)
    answers = desk.begin("sessions.delete", {"key": "other"})
    desk.clock.advance(14)
    desk.run("run-2", OTHER)
    slow.waiting.pop(0).callback(None)
    desk.clock.advance(1)
    assert answers[0]["error"]["code"] == "UNAVAILABLE"
    while slow.waiting:
        slow.waiting.pop().callback(None)


def test_delete_is_not_counted_among_quick_calls(desk: Desk) -> None:
    assert desk.method("sessions.delete").waits


def test_compact_keeps_the_end_of_a_session(desk: Desk) -> None:
    for number in range(3):
        desk.turn(run_id=f"run-{number}")
    told = desk.ask("sessions.compact", {"key": "main", "maxLines": 2})
    assert told == {
        "ok": True,
        "key": KEY,
        "compacted": True,
        "archived": "id-1",
        "kept": 2,
    }
    assert len(desk.ask("chat.history", {"sessionKey": "main"})["messages"]) == 2


def test_compact_of_a_short_session_does_nothing(desk: Desk) -> None:
    desk.turn()
    for params in ({}, {"maxLines": 2}, {"maxLines": 10**30}):
        told = desk.ask("sessions.compact", {"key": "main", **params})
        assert told == {"ok": True, "key": KEY, "compacted": False, "kept": 2}


def test_compact_keeps_four_hundred_by_default(desk: Desk) -> None:
    desk.turn(*[AssistantMessage("x") for _ in range(500)])
    assert desk.ask("sessions.compact", {"key": "main"})["kept"] == 400


def test_compact_of_nothing(desk: Desk) -> None:
    assert desk.ask("sessions.compact", {"key": "main"}) == {
        "ok": True,
        "key": KEY,
        "compacted": False,
        "reason": "no sessionId",
    }


@pytest.mark.parametrize("lines", [0, -1, 1.5, "x", None])
def test_compact_needs_a_number_of_lines(desk: Desk, lines: Any) -> None:
    params = {"key": "main", "maxLines": lines}
    assert desk.refusal("sessions.compact", params)[0] == "INVALID_REQUEST"


def test_session_that_vanishes_during_a_reset_is_begun_again(desk: Desk) -> None:
    desk.turn()
    reset = desk.store.reset

    def reset_and_lose(
        session_key: str, session_id: str, now_ms: int
    ) -> Deferred[bool]:
        done = wait(reset(session_key, session_id, now_ms))
        wait(desk.store.delete(session_key))
        result: Deferred[bool] = Deferred()
        result.callback(done)
        return result

    desk.store.reset = reset_and_lose  # type: ignore[method-assign]
    assert desk.ask("sessions.reset", {"key": "main"})["entry"]["sessionId"]
    assert known(desk) == [KEY]
