from __future__ import annotations

from typing import Any

import pytest

from tests.ws.methods.support import NOW_MS, Desk, caller_of

NODE = caller_of(role="node")


def scoped(right: str) -> Any:
    return NODE if right == "node" else caller_of(right)


@pytest.mark.parametrize(
    ("method", "right", "payload"),
    [
        ("node.list", "read", {"ts": NOW_MS, "nodes": []}),
        ("node.pair.list", "pairing", {"pending": [], "paired": []}),
        ("node.event", "node", {"ok": True}),
        ("node.invoke.result", "node", {"ok": True}),
        (
            "channels.status",
            "read",
            {
                "ts": NOW_MS,
                "channelOrder": [],
                "channelLabels": {},
                "channelDetailLabels": {},
                "channelSystemImages": {},
                "channelMeta": [],
                "channels": {},
                "channelAccounts": {},
                "channelDefaultAccountId": {},
            },
        ),
        (
            "cron.status",
            "read",
            {
                "enabled": False,
                "storePath": "/state/cron/jobs.json",
                "jobs": 0,
                "nextWakeAtMs": None,
            },
        ),
        ("cron.list", "read", {"jobs": []}),
        ("cron.runs", "read", {"entries": []}),
        (
            "skills.status",
            "read",
            {
                "workspaceDir": "/work",
                "managedSkillsDir": "/state/skills",
                "skills": [],
            },
        ),
        ("skills.bins", "node", {"bins": []}),
        (
            "tts.status",
            "read",
            {
                "enabled": False,
                "auto": "off",
                "provider": "edge",
                "fallbackProvider": None,
                "fallbackProviders": [],
                "prefsPath": "/state/settings/tts.json",
                "hasOpenAIKey": False,
                "hasElevenLabsKey": False,
                "edgeEnabled": False,
            },
        ),
        ("tts.providers", "read", {"providers": [], "active": "edge"}),
        ("tts.enable", "write", {"enabled": False}),
        ("tts.disable", "write", {"enabled": False}),
        ("tts.setProvider", "write", {"provider": "edge"}),
        ("voicewake.get", "read", {"triggers": ["clawd", "claude", "computer"]}),
        (
            "update.run",
            "admin",
            {
                "ok": False,
                "result": {
                    "status": "skipped",
                    "mode": "unknown",
                    "steps": [],
                    "durationMs": 0,
                },
                "restart": None,
                "sentinel": {"path": None, "payload": {}},
            },
        ),
    ],
)
def test_there_is_nothing_to_show(
    desk: Desk, method: str, right: str, payload: Any
) -> None:
    assert desk.ask(method, {"any": "thing"}, scoped(right)) == payload


@pytest.mark.parametrize(
    ("method", "right", "code", "message"),
    [
        ("node.describe", "read", "INVALID_REQUEST", "unknown nodeId"),
        ("node.rename", "pairing", "INVALID_REQUEST", "unknown nodeId"),
        ("node.pair.request", "pairing", "INVALID_REQUEST", "unknown requestId"),
        ("node.pair.approve", "pairing", "INVALID_REQUEST", "unknown requestId"),
        ("node.pair.reject", "pairing", "INVALID_REQUEST", "unknown requestId"),
        ("node.pair.verify", "pairing", "INVALID_REQUEST", "unknown requestId"),
        (
            "channels.logout",
            "admin",
            "INVALID_REQUEST",
            "invalid channels.logout channel",
        ),
        (
            "web.login.start",
            "admin",
            "INVALID_REQUEST",
            "web login provider is not available",
        ),
        (
            "web.login.wait",
            "admin",
            "INVALID_REQUEST",
            "web login provider is not available",
        ),
        ("cron.add", "admin", "UNAVAILABLE", "cron is not available"),
        ("cron.update", "admin", "UNAVAILABLE", "cron is not available"),
        ("cron.remove", "admin", "UNAVAILABLE", "cron is not available"),
        ("cron.run", "admin", "UNAVAILABLE", "cron is not available"),
        ("skills.install", "admin", "UNAVAILABLE", "skills are not available"),
        ("skills.update", "admin", "UNAVAILABLE", "skills are not available"),
        ("exec.approvals.node.get", "admin", "UNAVAILABLE", "nodes are not available"),
        ("exec.approvals.node.set", "admin", "UNAVAILABLE", "nodes are not available"),
        ("wizard.start", "admin", "UNAVAILABLE", "the setup wizard is not available"),
        ("wizard.next", "admin", "INVALID_REQUEST", "wizard not found"),
        ("wizard.cancel", "admin", "INVALID_REQUEST", "wizard not found"),
        ("wizard.status", "admin", "INVALID_REQUEST", "wizard not found"),
        ("tts.convert", "write", "UNAVAILABLE", "tts is not available"),
        ("browser.request", "write", "UNAVAILABLE", "browser control is disabled"),
    ],
)
def test_there_is_nothing_to_do_it_with(
    desk: Desk, method: str, right: str, code: str, message: str
) -> None:
    assert desk.refusal(method, {"any": "thing"}, scoped(right)) == (code, message)


def test_no_node_is_connected(desk: Desk) -> None:
    [answer] = desk.begin("node.invoke", {}, caller_of("write"))
    assert answer["error"] == {
        "code": "UNAVAILABLE",
        "message": "node not connected",
        "details": {"code": "NOT_CONNECTED"},
    }


@pytest.mark.parametrize(
    ("params", "phase"),
    [
        ({"enabled": True}, None),
        ({"enabled": True, "phase": "listening"}, "listening"),
        ({"enabled": True, "phase": "x" * 999}, "x" * 80),
    ],
)
def test_talk_mode_is_told_to_all(desk: Desk, params: Any, phase: str | None) -> None:
    told = desk.ask("talk.mode", params, caller_of("write"))
    assert told == {"enabled": True, "phase": phase, "ts": NOW_MS}
    [event] = desk.hub.told
    assert (event.name, event.payload) == ("talk.mode", told)


@pytest.mark.parametrize("params", [{}, {"enabled": 1}, {"enabled": True, "x": 1}])
def test_talk_mode_is_strict(desk: Desk, params: Any) -> None:
    code, message = desk.refusal("talk.mode", params)
    assert code == "INVALID_REQUEST"
    assert message.startswith("invalid talk.mode params: ")
    assert desk.hub.told == []


@pytest.mark.parametrize(
    ("triggers", "kept"),
    [
        ([" hey ", "", "you"], ["hey", "you"]),
        (["x" * 99] * 99, ["x" * 64] * 32),
        ([], ["clawd", "claude", "computer"]),
        ([" "], ["clawd", "claude", "computer"]),
    ],
)
def test_wake_words_are_kept_and_told(
    desk: Desk, triggers: list[str], kept: list[str]
) -> None:
    table = desk.table()
    desk.table = lambda: table  # type: ignore[method-assign]
    params = {"triggers": triggers}
    told = {"triggers": kept}
    assert desk.ask("voicewake.set", params, caller_of("write")) == told
    assert desk.ask("voicewake.get") == told
    [event] = desk.hub.told
    assert (event.name, event.payload) == ("voicewake.changed", told)


@pytest.mark.parametrize("triggers", [None, "hey", [1]])
def test_wake_words_are_a_list(desk: Desk, triggers: Any) -> None:
    assert desk.refusal("voicewake.set", {"triggers": triggers}) == (
        "INVALID_REQUEST",
        "voicewake.set requires triggers: string[]",
    )


@pytest.mark.parametrize(
    ("channel", "named"),
    [("signal", "signal"), (None, "whatsapp"), (5, "whatsapp"), ("x" * 99, "x" * 80)],
)
def test_there_are_no_channels(desk: Desk, channel: Any, named: str) -> None:
    params = {"channel": channel, "to": "x"}
    assert desk.refusal("send", params, caller_of("write")) == (
        "INVALID_REQUEST",
        f"unsupported channel: {named}",
    )
    assert desk.refusal("poll", params) == (
        "INVALID_REQUEST",
        f"unsupported poll channel: {named}",
    )


READ = """node.list node.describe channels.status cron.status cron.list cron.runs
skills.status tts.status tts.providers voicewake.get"""
WRITE = """node.invoke talk.mode tts.enable tts.disable tts.setProvider tts.convert
voicewake.set send browser.request"""
PAIRING = """node.pair.request node.pair.list node.pair.approve node.pair.reject
node.pair.verify node.rename"""
ADMINS = """channels.logout web.login.start web.login.wait cron.add cron.update
cron.remove cron.run skills.install skills.update
exec.approvals.node.get exec.approvals.node.set wizard.start wizard.next wizard.cancel
wizard.status update.run poll"""
RIGHTS = {
    "read": (READ, ("pairing", "approvals")),
    "write": (WRITE, ("read", "pairing", "approvals")),
    "pairing": (PAIRING, ("write", "approvals")),
    "admin": (ADMINS, ("write", "pairing", "approvals")),
}


@pytest.mark.parametrize(
    ("method", "right"),
    [
        (method, right)
        for right, (names, _) in RIGHTS.items()
        for method in names.split()
    ],
)
def test_what_is_not_served_needs_its_scope_too(
    desk: Desk, method: str, right: str
) -> None:
    caller = caller_of(*RIGHTS[right][1])
    assert desk.refusal(method, {}, caller) == (
        "INVALID_REQUEST",
        f"missing scope: operator.{right}",
    )
    assert desk.refusal(method, {}, NODE) == (
        "INVALID_REQUEST",
        "unauthorized role: node",
    )


@pytest.mark.parametrize("method", ["node.invoke.result", "node.event", "skills.bins"])
def test_operators_are_no_nodes(desk: Desk, method: str) -> None:
    assert desk.refusal(method) == (
        "INVALID_REQUEST",
        "unauthorized role: operator",
    )


def test_nothing_of_this_is_advertised(desk: Desk) -> None:
    names = {name for names, _ in RIGHTS.values() for name in names.split()}
    assert names.isdisjoint(desk.table().advertised)
