from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.errors import StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.stored import OverviewQuery
from moltbot_gw.ws.health import Health
from moltbot_gw.ws.system_events import MAX_CHARS, MAX_SESSIONS, SystemEvents
from tests.support.gateway import LogTape
from tests.ws.methods.support import (
    KEY,
    NOW_MS,
    STORE_PATH,
    Desk,
    caller_of,
    taken,
    wait,
)

READER = caller_of("read")


def test_health_tells_of_agents_and_sessions(desk: Desk) -> None:
    desk.turn()
    desk.turn(key="global", session_id="id-2")
    desk.turn(key="agent:ops:main", session_id="id-3", agent_id="ops")
    told = desk.ask("health", {"whatever": 1}, READER)
    sessions = {
        "path": STORE_PATH,
        "count": 1,
        "recent": [{"key": KEY, "updatedAt": NOW_MS, "age": 0}],
    }
    assert told["ok"] is True
    assert told["ts"] == NOW_MS
    assert told["durationMs"] == 0
    assert (told["channels"], told["channelOrder"], told["channelLabels"]) == (
        {},
        [],
        {},
    )
    assert told["heartbeatSeconds"] == 0
    assert told["defaultAgentId"] == "main"
    assert told["sessions"] == sessions
    ops, main = told["agents"]
    assert (ops["agentId"], ops["name"], ops["isDefault"]) == ("ops", "Operator", False)
    assert main == {
        "agentId": "main",
        "name": "Molty",
        "isDefault": True,
        "heartbeat": {
            "enabled": False,
            "every": "disabled",
            "everyMs": None,
            "prompt": "",
            "target": "last",
            "ackMaxChars": 300,
        },
        "sessions": sessions,
    }


def test_agent_without_a_name_is_told_without(tmp_path: Path) -> None:
    [agent] = Desk(tmp_path, {}).ask("health")["agents"]
    assert "name" not in agent


def test_first_health_is_made_at_once_and_broadcast(desk: Desk) -> None:
    told = desk.ask("health")
    assert [(one.name, one.payload) for one in desk.hub.told] == [("health", told)]
    assert desk.health.version == 2
    assert desk.health.cached == told


def test_known_health_is_answered_while_a_fresh_one_is_made(desk: Desk) -> None:
    first = desk.ask("health")
    desk.clock.advance(59)
    assert desk.ask("health") == first
    assert [one.payload["ts"] for one in desk.hub.told] == [NOW_MS, NOW_MS + 59_000]
    assert desk.ask("health")["ts"] == NOW_MS + 59_000


def test_health_of_a_minute_ago_is_not_good_enough(desk: Desk) -> None:
    desk.ask("health")
    desk.clock.advance(60)
    assert desk.ask("health")["ts"] == NOW_MS + 60_000


def test_probe_asks_for_a_fresh_health(desk: Desk) -> None:
    desk.ask("health")
    desk.clock.advance(5)
    assert desk.ask("health", {"probe": True})["ts"] == NOW_MS + 5000


def test_health_is_made_once_a_second_at_most(desk: Desk) -> None:
    for _ in range(5):
        desk.ask("health", {"probe": True})
    assert len(desk.hub.told) == 1
    assert desk.health.version == 2


def test_slow_store_is_asked_once_for_all_who_want_to_know(desk: Desk) -> None:
    first = desk.ask("health")
    asked: list[Deferred[Any]] = []

    def slow(query: OverviewQuery) -> Deferred[Any]:
        asked.append(Deferred())
        return asked[-1]

    desk.store.overview = slow  # type: ignore[method-assign]
    desk.clock.advance(5)
    for _ in range(10):
        assert desk.ask("health") == first
    waiting = [desk.begin("health", {"probe": True}) for _ in range(2)]
    asked[0].callback([])
    assert len(asked) == 1
    assert [answers[0]["payload"]["ts"] for answers in waiting] == [NOW_MS + 5000] * 2


def test_store_that_fails_leaves_health_unavailable(desk: Desk) -> None:
    desk.store.failure = StoreFailed("no disk")
    assert desk.refusal("health") == ("UNAVAILABLE", "no disk")


def test_failed_refresh_keeps_the_last_health(desk: Desk, log: LogTape) -> None:
    first = desk.ask("health")
    desk.clock.advance(5)
    desk.store.failure = StoreFailed("no disk")
    assert desk.ask("health") == first
    [problem] = log.take_problems()
    assert "no fresh health: no disk" in problem


def test_defect_in_a_refresh_is_logged(desk: Desk, log: LogTape) -> None:
    def broken(name: str, payload: Any) -> None:
        if desk.clock.seconds():
            raise RuntimeError("broken")

    desk.health = Health(
        store=desk.store,
        agents=desk.agents,
        clock=desk.clock,
        unix_time=desk.now,
        store_path="",
        broadcast=broken,
        config=desk.config_status,
    )
    first = desk.ask("health")
    desk.clock.advance(5)
    assert desk.ask("health") == first
    [problem] = log.take_problems()
    assert "RuntimeError" in problem


def test_status_tells_how_full_sessions_are(desk: Desk) -> None:
    desk.turn(
        usage=Usage(prompt_tokens=20_000, completion_tokens=50, total_tokens=25_000)
    )
    desk.ask("sessions.patch", {"key": "main", "thinkingLevel": "low"})
    desk.events.add(KEY, "news")
    desk.clock.advance(2)
    status = desk.ask("status", {}, READER)
    row = {
        "agentId": "main",
        "key": KEY,
        "kind": "direct",
        "sessionId": "id-1",
        "updatedAt": NOW_MS,
        "age": 2000,
        "abortedLastRun": False,
        "inputTokens": 20_000,
        "outputTokens": 50,
        "totalTokens": 25_000,
        "remainingTokens": 75_000,
        "percentUsed": 25,
        "model": "m1",
        "contextTokens": 100_000,
        "thinkingLevel": "low",
        "flags": ["think:low", "id:id-1"],
    }
    beat = {"enabled": False, "every": "disabled", "everyMs": None}
    assert status == {
        "heartbeat": {
            "defaultAgentId": "main",
            "agents": [{"agentId": "main", **beat}, {"agentId": "ops", **beat}],
        },
        "channelSummary": [],
        "queuedSystemEvents": ["news"],
        "sessions": {
            "paths": [STORE_PATH],
            "count": 1,
            "defaults": {"model": "m1", "contextTokens": 100_000},
            "recent": [row],
            "byAgent": [
                {"agentId": "main", "path": STORE_PATH, "count": 1, "recent": [row]},
                {"agentId": "ops", "path": STORE_PATH, "count": 0, "recent": []},
            ],
        },
    }


def test_status_of_a_session_whose_model_nobody_knows(desk: Desk) -> None:
    desk.turn(model="gone", state="aborted")
    desk.turn(key="unknown", session_id="id-2")
    status = desk.ask("status")
    [row] = status["sessions"]["recent"]
    assert row["contextTokens"] is None
    assert row["remainingTokens"] is None
    assert row["percentUsed"] is None
    assert row["flags"] == ["aborted", "id:id-1"]


def test_status_of_a_session_without_any_run(desk: Desk) -> None:
    desk.ask("sessions.patch", {"key": "fresh"})
    wait(
        desk.store.patch(
            "agent:gone:x", {}, agent_id="gone", new_session_id="id-2", now_ms=1
        )
    )
    fresh, gone = desk.ask("status")["sessions"]["recent"]
    assert (fresh["model"], fresh["contextTokens"]) == ("m1", 100_000)
    assert (gone["model"], gone["contextTokens"]) == (None, None)


def test_status_percentage_is_bounded(desk: Desk) -> None:
    desk.turn(usage=Usage(prompt_tokens=10**6, completion_tokens=0, total_tokens=10**6))
    [row] = desk.ask("status")["sessions"]["recent"]
    assert (row["percentUsed"], row["remainingTokens"]) == (999, 0)


def test_there_has_been_no_heartbeat(desk: Desk) -> None:
    assert desk.ask("last-heartbeat", {}, READER) is None


def test_heartbeats_can_be_switched(desk: Desk) -> None:
    assert desk.ask("set-heartbeats", {"enabled": False, "x": 1}) == {
        "ok": True,
        "enabled": False,
    }


@pytest.mark.parametrize("params", [{}, {"enabled": "yes"}, {"enabled": 1}])
def test_heartbeats_need_a_boolean(desk: Desk, params: Any) -> None:
    assert desk.refusal("set-heartbeats", params) == (
        "INVALID_REQUEST",
        "invalid set-heartbeats params: enabled (boolean) required",
    )


def test_wake_is_news_for_the_main_session(desk: Desk) -> None:
    writer = caller_of("write")
    assert desk.ask("wake", {"mode": "now", "text": "up!"}, writer) == {"ok": True}
    assert desk.events.peek(KEY) == ["up!"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mode": "now"},
        {"mode": "later", "text": "x"},
        {"mode": "now", "text": ""},
        {"mode": "now", "text": "x", "more": 1},
    ],
)
def test_wake_is_strict(desk: Desk, params: Any) -> None:
    code, message = desk.refusal("wake", params)
    assert code == "INVALID_REQUEST"
    assert message.startswith("invalid wake params: ")


def test_connect_comes_first_or_never(desk: Desk) -> None:
    assert desk.refusal("connect") == (
        "INVALID_REQUEST",
        "connect is only valid as the first request",
    )
    assert "connect" not in desk.table().advertised


@pytest.mark.parametrize(
    ("method", "right"),
    [
        ("health", "read"),
        ("status", "read"),
        ("last-heartbeat", "read"),
        ("system-presence", "read"),
        ("wake", "write"),
        ("system-event", "admin"),
        ("set-heartbeats", "admin"),
        ("connect", "admin"),
    ],
)
def test_methods_of_the_system_need_their_scope(
    desk: Desk, method: str, right: str
) -> None:
    assert desk.refusal(method, {}, caller_of("pairing")) == (
        "INVALID_REQUEST",
        f"missing scope: operator.{right}",
    )


def test_system_events_are_kept_in_order_without_repetition() -> None:
    events = SystemEvents()
    for text in ("a", "a", "b", "a", "  "):
        events.add("k", text)
    assert events.peek("k") == ["a", "b", "a"]
    assert taken(events, "k") == ["a", "b", "a"]
    assert taken(events, "k") == []
    assert events.peek("k") == []


def test_blank_news_are_none() -> None:
    events = SystemEvents()
    events.add("k", " ")
    assert taken(events, "k") == []


def test_system_events_are_bounded() -> None:
    events = SystemEvents()
    for number in range(30):
        events.add("k", f"{number} " + "x" * MAX_CHARS)
    kept = taken(events, "k")
    assert [text.split()[0] for text in kept] == [str(n) for n in range(10, 30)]
    assert {len(text) for text in kept} == {MAX_CHARS}
    for number in range(MAX_SESSIONS + 1):
        events.add(str(number), "x")
    assert taken(events, "0") == []
    assert taken(events, "1") == ["x"]


def test_health_tells_how_the_configuration_is(desk: Desk) -> None:
    good = {"ok": True, "error": None, "loadedAt": NOW_MS, "restartNeeded": []}
    assert desk.ask("health")["config"] == good
    desk.config_status.refused("gateway.port: expected a number")
    desk.health.outdated()
    bad = good | {"ok": False, "error": "gateway.port: expected a number"}
    assert desk.ask("health")["config"] == bad
