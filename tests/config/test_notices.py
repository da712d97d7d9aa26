from __future__ import annotations

from pathlib import Path

from .support import load


def test_served_sections_are_not_mentioned(tmp_path: Path) -> None:
    served = {
        "gateway": {
            "port": 1,
            "reload": {"mode": "off"},
            "controlUi": {"allowInsecureAuth": True},
        },
        "agents": {
            "defaults": {
                "timeoutSeconds": 1,
                "contextTokens": 8192,
                "thinkingDefault": "low",
                "compaction": {"mode": "default", "maxHistoryShare": 0.5},
            },
            "list": [{"id": "a"}],
        },
        "models": {"providers": {}},
        "session": {"mainKey": "main"},
        "auth": {"cooldowns": {"billingMaxHours": 12}},
        "ui": {"assistant": {"name": "Molty"}},
        "env": {"A": "1"},
        "logging": {"level": "info"},
        "meta": {"lastTouchedVersion": "2026.1.29"},
        "wizard": {},
    }
    assert load(tmp_path, served).notices == ()


def test_each_unserved_part_is_mentioned_once(tmp_path: Path) -> None:
    tree = {
        "channels": {"telegram": {"botToken": "hunter2"}, "slack": {}},
        "gateway": {"tailscale": {}, "http": {"endpoints": {"responses": {}}}},
        "agents": {
            "defaults": {
                "heartbeat": {"every": "30m"},
                "compaction": {"memoryFlush": {"enabled": True}},
            },
            "list": [{"id": "a"}, {"id": "b", "sandbox": {}}],
        },
        "auth": {"order": {"openai": ["openai:work"]}},
    }
    names = [line.split('"')[1] for line in load(tmp_path, tree).notices]
    assert sorted(names) == [
        "agents.defaults.compaction.memoryFlush",
        "agents.defaults.heartbeat",
        "agents.list.1.sandbox",
        "auth.order",
        "channels",
        "gateway.http.endpoints.responses",
        "gateway.tailscale",
    ]


def test_notice_says_what_happens(tmp_path: Path) -> None:
    [line] = load(tmp_path, {"cron": {"enabled": True}}).notices
    assert line == 'config: "cron" is not served by this gateway and is ignored'


def test_other_main_key_is_forced_with_one_notice(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"session": {"mainKey": "home"}})
    assert loaded.config.session.main_key == "main"
    assert loaded.notices == (
        'config: "session.mainKey" is always "main"; the value is ignored',
    )


def test_a_sandbox_is_told_to_be_none(tmp_path: Path) -> None:
    tree = {"agents": {"defaults": {"sandbox": {"mode": "all"}}}}
    [line] = load(tmp_path, tree).notices
    assert line == (
        'config: "agents.defaults.sandbox" is not served by this gateway, tools run'
        " without one; only its mode counts, for tools.sandbox.tools"
    )


def test_unserved_settings_of_tools_are_mentioned(tmp_path: Path) -> None:
    tools = {"elevated": {"enabled": False}, "media": {}, "profile": "coding"}
    own = {"elevated": {}, "deny": ["exec"], "sandbox": {"tools": {"deny": []}}}
    tree = {"tools": tools, "agents": {"list": [{"id": "a", "tools": own}]}}
    names = [line.split('"')[1] for line in load(tmp_path, tree).notices]
    assert sorted(names) == [
        "agents.list.0.tools.elevated",
        "tools.elevated",
        "tools.media",
    ]


def test_what_commands_do_not_heed_is_told(tmp_path: Path) -> None:
    served = {"host": "gateway", "security": "full", "ask": "off", "timeoutSec": 1}
    tree = {
        "tools": {"exec": {**served, "safeBins": ["jq"]}},
        "agents": {"list": [{"id": "a", "tools": {"exec": {**served, "node": "n"}}}]},
    }
    names = [line.split('"')[1] for line in load(tmp_path, tree).notices]
    assert sorted(names) == ["agents.list.0.tools.exec.node", "tools.exec.safeBins"]
