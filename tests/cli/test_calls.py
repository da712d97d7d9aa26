"""Commands that ask the gateway one thing and show the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.support import Cli
from tests.support.fake_gateway import TOKEN, Asked, Failure, FakeGateway

HEALTH: dict[str, Any] = {
    "ok": True,
    "durationMs": 4,
    "defaultAgentId": "main",
    "agents": [
        {"agentId": "main", "isDefault": True, "heartbeat": {"enabled": False}},
        {"agentId": "b", "heartbeat": {"enabled": True, "every": "30m"}},
    ],
    "sessions": {
        "path": "/state/sessions",
        "count": 2,
        "recent": [{"key": "agent:main:main", "updatedAt": None}],
    },
}


def test_call_shows_the_answer(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["system-presence"] = [{"text": "ü"}]
    text = cli.succeed("gateway", "call", "system-presence", "--params", '{"a": 1}')
    heading, _, rest = text.partition("\n")
    assert heading == "Gateway call: system-presence"
    assert rest == '[\n  {\n    "text": "ü"\n  }\n]\n'
    assert fake.requests == [("system-presence", {"a": 1})]


def test_call_as_json_shows_nothing_else(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["x"] = None
    assert cli.succeed("gateway", "call", "x", "--json") == "null\n"


def test_call_may_wait_for_the_final_answer(cli: Cli, fake: FakeGateway) -> None:
    def answer(asked: Asked) -> None:
        asked.answer({"status": "accepted"})
        asked.answer({"status": "ok"})

    fake.replies["agent"] = answer
    assert cli.json("gateway", "call", "agent", "--json")["status"] == "accepted"
    words = ("gateway", "call", "agent", "--json", "--expect-final")
    assert cli.json(*words)["status"] == "ok"


def test_an_error_answer_is_just_its_message(cli: Cli) -> None:
    assert cli.fail("gateway", "call", "nope") == (
        "Gateway call failed: unknown method: nope\n"
    )


def test_params_must_be_json(cli: Cli) -> None:
    error = cli.fail("gateway", "call", "x", "--params", "{a: 1}")
    assert error.startswith("Gateway call failed: --params is not JSON")


def test_an_answer_of_the_gateway_cannot_command_the_terminal(
    cli: Cli, fake: FakeGateway
) -> None:
    fake.replies["x"] = Failure("UNAVAILABLE", "bad \x1b[31m news")
    assert "\x1b" not in cli.fail("gateway", "call", "x")


def test_a_slow_answer_times_out(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["x"] = lambda asked: None
    error = cli.fail("gateway", "call", "x", "--timeout", "200")
    assert error.startswith("Gateway call failed: gateway timeout after 200ms\n")
    assert f"Gateway target: {fake.url}\n" in error


def test_the_wrong_token(cli: Cli, fake: FakeGateway) -> None:
    error = cli.fail("gateway", "call", "x", "--token", "another-token-of-mine")
    assert "gateway closed (1008 policy violation): unauthorized" in error
    assert "another-token" not in error


@pytest.mark.parametrize(
    "words",
    [
        ("gateway", "call", "x"),
        ("gateway", "health"),
        ("gateway", "status"),
        ("gateway", "usage-cost"),
        ("health",),
        ("status",),
        ("logs",),
        ("sessions",),
        ("sessions", "show", "k"),
        ("models",),
        ("agents",),
        ("agents", "show", "main"),
        ("devices", "list"),
        ("system", "presence"),
        ("agent", "-m", "hi", "--agent", "main"),
    ],
)
def test_a_gateway_that_is_down_is_a_failure_with_the_target(
    cli: Cli, fake: FakeGateway, words: tuple[str, ...]
) -> None:
    cli.configure(gateway={"port": 1, "auth": {"token": TOKEN}})
    error = cli.fail(*words)
    assert (
        "gateway closed (1006 abnormal closure (no close frame)): connection refused\n"
        "Gateway target: ws://127.0.0.1:1\n"
        "Source: local loopback\n"
        f"Config: {cli.state}/moltbot.json\n"
        "Bind: loopback\n"
    ) in error


def test_health_for_people(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["health"] = HEALTH
    assert cli.succeed("health", "--verbose").splitlines() == [
        "Agents: main (default), b",
        "Heartbeat interval: 30m (b)",
        "Session store (main): /state/sessions (2 entries)",
        "- agent:main:main (unknown)",
    ]
    assert fake.requests == [("health", {"probe": True})]


def test_health_as_json(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["health"] = HEALTH
    assert cli.json("health", "--json") == HEALTH
    assert cli.json("gateway", "health", "--json") == HEALTH


def test_gateway_health_for_people(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["health"] = HEALTH
    lines = cli.succeed("gateway", "health").splitlines()
    assert lines[:2] == ["Gateway Health", "OK (4ms)"]


def test_usage_cost(cli: Cli, fake: FakeGateway) -> None:
    totals = {"totalCost": 1.5, "totalTokens": 12345, "missingCostEntries": 2}
    day = {"date": "2026-01-02", "totalCost": 0.25, "totalTokens": 10}
    fake.replies["usage.cost"] = {"days": 7, "daily": [day], "totals": totals}
    assert cli.succeed("gateway", "usage-cost", "--days", "7").splitlines() == [
        "Usage cost (7 days)",
        "Total: $1.50 · 12,345 tokens",
        "Missing entries: 2",
        "Latest day: 2026-01-02 · $0.25 · 10 tokens",
    ]
    assert cli.json("gateway", "usage-cost", "--json")["totals"] == totals
    assert fake.requests[-1] == ("usage.cost", {"days": 30})


def test_usage_cost_of_nothing(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["usage.cost"] = {"daily": [], "totals": {}}
    text = cli.succeed("gateway", "usage-cost")
    assert text.endswith("Total: $0.00 · 0 tokens\n")


def test_agents(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agents.list"] = {
        "defaultId": "main",
        "agents": [
            {"id": "main", "identity": {"name": "Clawd", "emoji": "🦞"}},
            {"id": "b", "name": "Bee"},
            {"id": "c"},
        ],
    }
    assert cli.succeed("agents").splitlines() == [
        "Agents:",
        "- main (default)",
        "  🦞 Clawd",
        "- b",
        "  Bee",
        "- c",
    ]
    assert cli.json("agents", "list", "--json")[0] == {
        "id": "main",
        "identityName": "Clawd",
        "identityEmoji": "🦞",
        "isDefault": True,
    }


def test_agents_as_json_without_a_sub_command(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agents.list"] = {"defaultId": "a", "agents": [{"id": "a"}]}
    listed = [{"id": "a", "isDefault": True}]
    assert cli.json("agents", "--json") == listed
    assert cli.json("agents", "--json", "list") == listed


SHOWN: dict[str, Any] = {
    "agentId": "coder",
    "model": "local/m1",
    "workspace": "/home/me/clawd-coder",
    "tools": [
        {
            "name": "read",
            "allowed": True,
            "stage": "tools.profile = coding",
            "why": 'allowed by "group:fs"',
            "served": True,
        },
        {
            "name": "exec",
            "allowed": False,
            "stage": "agents.list[coder].tools.deny",
            "why": 'denied by "exec"',
            "served": True,
        },
        {
            "name": "image",
            "allowed": True,
            "stage": "tools.profile = coding",
            "why": 'allowed by "image"',
            "served": False,
        },
    ],
}


def test_an_agents_tools(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agents.show"] = SHOWN
    lines = cli.succeed("agents", "show", "coder").splitlines()
    assert lines[:4] == [
        "Agent:     coder",
        "Model:     local/m1",
        "Workspace: /home/me/clawd-coder",
        "",
    ]
    assert [line.split(maxsplit=2) for line in lines[4:]] == [
        ["Tool", "Allowed", f"{'Stage':<42} Why"],
        ["read", "yes", f'{"tools.profile = coding":<42} allowed by "group:fs"'],
        ["exec", "no", f'{"agents.list[coder].tools.deny":<42} denied by "exec"'],
    ]
    assert fake.requests == [("agents.show", {"agentId": "coder"})]


def test_an_agents_tools_that_are_not_served(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agents.show"] = SHOWN
    words = ("agents", "show", "coder", "--model", "local/m2")
    assert "image" not in cli.succeed(*words)
    last = cli.succeed(*words, "--all").splitlines()[-1]
    assert last.split()[:2] == ["image", "absent"]
    assert fake.requests[-1][1] == {"agentId": "coder", "model": "local/m2"}


def test_an_agents_tools_as_json(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agents.show"] = SHOWN
    assert cli.json("agents", "show", "coder", "--json") == SHOWN
    assert cli.json("agents", "--json", "show", "coder") == SHOWN


def test_an_agent_that_is_not_there(cli: Cli, fake: FakeGateway) -> None:
    message = 'invalid agents.show params: unknown agent id "x"'
    fake.replies["agents.show"] = Failure("INVALID_REQUEST", message)
    assert message in cli.fail("agents", "show", "x")


def test_a_pending_device_says_what_it_wants(cli: Cli, fake: FakeGateway) -> None:
    device = {"deviceId": "d1", "scopes": ["operator.read", "operator.write"]}
    pending = {**device, "requestId": "r1"}
    fake.replies["device.pair.list"] = {"pending": [pending], "paired": [device]}
    lines = cli.succeed("devices", "list").splitlines()
    assert lines[2] == "  asks for operator.read, operator.write"
    assert len(lines) == 5


def test_devices_are_listed(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["device.pair.list"] = {
        "pending": [{"requestId": "r1", "deviceId": "d1", "role": "operator", "ts": 1}],
        "paired": [{"deviceId": "d2", "displayName": "desk", "roles": ["node"]}],
    }
    lines = cli.succeed("devices", "list").splitlines()
    assert lines[0] == "Pending (1)"
    assert lines[1].startswith("- r1 · d1 · operator · ")
    assert lines[2:] == ["Paired (1)", "- d2 · desk · node · unknown"]
    assert "pending" in cli.json("devices", "list", "--json")


def test_devices_are_let_in_and_sent_away(cli: Cli, fake: FakeGateway) -> None:
    device = {"deviceId": "d1", "tokens": [{"token": "t0ps3cret"}]}
    fake.replies["device.pair.approve"] = {"requestId": "r1", "device": device}
    fake.replies["device.pair.reject"] = {"requestId": "r2", "deviceId": "d2"}
    assert cli.succeed("devices", "approve", "r1") == "Approved d1\n"
    assert cli.succeed("devices", "reject", "r2") == "Rejected d2\n"
    assert "t0ps3cret" not in cli.succeed("devices", "approve", "r1", "--json")
    assert fake.requests[0] == ("device.pair.approve", {"requestId": "r1"})


def test_a_rotated_token_is_shown_on_demand_only(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["device.token.rotate"] = {"deviceId": "d", "token": "t0ps3cret"}
    words = ("devices", "rotate", "--device", "d", "--role", "operator")
    result = cli.run(*words)
    assert json.loads(result.stdout)["token"] == "***"
    assert "given it when it connects next" in result.stderr
    assert "--show-token" in result.stderr
    assert cli.json(*words, "--scope", "a", "--show-token")["token"] == "t0ps3cret"
    assert fake.requests[-1][1] == {
        "deviceId": "d",
        "role": "operator",
        "scopes": ["a"],
    }


def test_a_token_is_revoked(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["device.token.revoke"] = {"deviceId": "d", "revokedAtMs": 5}
    words = ("devices", "revoke", "--device", "d", "--role", "node")
    assert cli.json(*words)["revokedAtMs"] == 5


def test_system_events(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["wake"] = {"ok": True}
    assert cli.succeed("system", "event", "--text", "it rains") == "ok\n"
    words = ("system", "event", "--text", "x", "--mode", "now", "--json")
    assert cli.json(*words) == {"ok": True}
    assert fake.requests == [
        ("wake", {"mode": "next-heartbeat", "text": "it rains"}),
        ("wake", {"mode": "now", "text": "x"}),
    ]


def test_presence_and_heartbeat_are_json(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["system-presence"] = [{"text": "here"}]
    fake.replies["last-heartbeat"] = None
    fake.replies["set-heartbeats"] = {"ok": True}
    assert cli.json("system", "presence") == [{"text": "here"}]
    assert cli.json("system", "heartbeat", "last") is None
    cli.json("system", "heartbeat", "enable")
    cli.json("system", "heartbeat", "disable")
    assert fake.requests[-2:] == [
        ("set-heartbeats", {"enabled": True}),
        ("set-heartbeats", {"enabled": False}),
    ]


MODELS = {
    "models": [
        {"id": "m1", "name": "One", "provider": "p", "contextWindow": 200_000},
        {"id": "m2", "name": "Two", "provider": "q", "input": ["text", "image"]},
    ]
}


@pytest.fixture
def models(fake: FakeGateway) -> None:
    """A gateway with two models of two providers."""
    fake.replies["models.list"] = MODELS
    fake.replies["sessions.list"] = _own("p", "m1")


def _own(provider: str | None, model: str | None) -> dict[str, Any]:
    defaults = {"modelProvider": provider, "model": model, "contextTokens": None}
    return {"ts": 1, "sessions": [], "defaults": defaults}


def test_models_are_listed(cli: Cli, models: None) -> None:
    lines = cli.succeed("models", "list").splitlines()
    assert lines[0].split() == ["Model", "Input", "Ctx", "Tags"]
    assert lines[1].split() == ["p/m1", "text", "200k", "default"]
    assert lines[2].split() == ["q/m2", "text+image", "-"]
    assert cli.succeed("models", "list", "--plain") == "p/m1\nq/m2\n"
    listed = cli.json("models", "list", "--json", "--provider", "q")
    assert (listed["count"], listed["models"][0]["key"]) == (1, "q/m2")


def test_no_models(cli: Cli, models: None, fake: FakeGateway) -> None:
    fake.replies["models.list"] = {"models": []}
    assert cli.succeed("models", "list") == "No models found.\n"


def test_the_default_model(cli: Cli, models: None) -> None:
    assert cli.succeed("models").splitlines() == [
        "Default: p/m1",
        "Provider p: 1 model",
        "Provider q: 1 model",
    ]
    assert cli.succeed("models", "status", "--plain") == "p/m1\n"
    assert cli.json("models", "status", "--json")["allowed"] == ["p/m1", "q/m2"]
    assert cli.succeed("models", "--plain") == "p/m1\n"
    assert cli.json("models", "--json")["missing"] is False


MINUTE = 60_000
STATUS_TS = 1_769_774_400_000
MODELS_STATUS = {
    "ts": STATUS_TS,
    "providers": [
        {
            "provider": "gone",
            "served": False,
            "hasKey": False,
            "used": [{"model": "gone/x", "primaryOf": ["ops"], "fallbackOf": []}],
            "successes": 0,
            "failures": {},
        },
        {
            "provider": "p",
            "served": True,
            "hasKey": True,
            "used": [
                {"model": "p/m1", "primaryOf": ["main", "a"], "fallbackOf": ["ops"]},
                {"model": "p/m9", "primaryOf": [], "fallbackOf": ["main"]},
            ],
            "successes": 12,
            "failures": {"rate_limit": 2, "format": 1},
            "lastSuccessAt": STATUS_TS - 5 * MINUTE,
            "lastFailure": {
                "at": STATUS_TS - 2 * MINUTE,
                "model": "p/m1",
                "reason": "rate_limit",
                "message": "Later.",
            },
            "cooldownUntil": STATUS_TS + 3 * MINUTE,
            "cooldownReason": "rate_limit",
        },
        {
            "provider": "q",
            "served": True,
            "hasKey": False,
            "used": [],
            "successes": 0,
            "failures": {},
        },
    ],
}


def test_how_the_providers_are_doing(cli: Cli, models: None, fake: FakeGateway) -> None:
    fake.replies["models.status"] = MODELS_STATUS
    lines = cli.succeed("models", "status").splitlines()
    table = [" ".join(line.split()) for line in lines]
    assert table == [
        "Default: p/m1",
        "",
        "Provider Key Models OK Failed Last success State",
        "p yes 1 12 3 5m ago left alone for 3m (rate_limit)",
        "q no 1 0 0 - ready",
        "gone no 0 0 0 - not served here",
        "",
        "Used by agents:",
        "p/m1: main, a; fallback of ops",
        "p/m9: fallback of main",
        "gone/x: ops",
        "",
        "Last failures:",
        "p/m1 2m ago (rate_limit): Later.",
    ]
    page = cli.json("models", "status", "--json")
    assert [row["provider"] for row in page["providers"]] == ["p", "q", "gone"]
    first = page["providers"][0]
    assert (first["models"], first["failures"]) == (1, {"rate_limit": 2, "format": 1})
    assert cli.succeed("models", "status", "--plain") == "p/m1\n"


@pytest.mark.parametrize(
    ("left", "shown"), [(-1, "ready"), (1, "left alone for 1m"), (7_300_000, "2h")]
)
def test_time_that_a_provider_is_left_alone(
    cli: Cli, models: None, fake: FakeGateway, left: int, shown: str
) -> None:
    row = {**MODELS_STATUS["providers"][2], "cooldownReason": "auth"}
    row["cooldownUntil"] = STATUS_TS + left
    fake.replies["models.status"] = {"ts": STATUS_TS, "providers": [row]}
    lines = cli.succeed("models", "status").splitlines()
    assert shown in lines[4]
    assert "not served here" in lines[3]
    assert len(lines) == 5


def test_a_gateway_without_models_says_nothing_of_providers(
    cli: Cli, models: None, fake: FakeGateway
) -> None:
    fake.replies["models.list"] = {"models": []}
    fake.replies["sessions.list"] = _own("echo", "echo")
    fake.replies["models.status"] = {"ts": STATUS_TS, "providers": []}
    assert cli.succeed("models", "status") == "Default: echo/echo\n"


def test_a_senseless_status_is_told(cli: Cli, models: None, fake: FakeGateway) -> None:
    fake.replies["models.status"] = {"ts": 1, "providers": [{}]}
    error = cli.fail("models", "status")
    assert "the gateway's answer to models.status makes no sense: " in error


def test_a_status_that_fails_is_told(cli: Cli, models: None, fake: FakeGateway) -> None:
    fake.replies["models.status"] = Failure("UNAVAILABLE", "no status now")
    assert "no status now" in cli.fail("models", "status")


def test_options_before_a_sub_command_count_for_it(cli: Cli, models: None) -> None:
    assert cli.json("models", "--json", "list")["count"] == 2
    assert cli.succeed("models", "--plain", "list") == "p/m1\nq/m2\n"


def test_a_default_model_whose_provider_is_gone(
    cli: Cli, models: None, fake: FakeGateway
) -> None:
    fake.replies["sessions.list"] = _own("gone", "m1")
    lines = cli.succeed("models").splitlines()
    assert lines[0] == "Default: gone/m1 (not among the models below)"
    assert cli.json("models", "--json")["missing"] is True
    assert "default" not in cli.succeed("models", "list")
    fake.replies["sessions.list"] = _own("echo", "echo")
    assert cli.succeed("models").startswith("Default: echo/echo\n")


def test_no_default_model(cli: Cli, models: None, fake: FakeGateway) -> None:
    fake.replies["sessions.list"] = {"ts": 1, "sessions": []}
    assert cli.succeed("models").startswith("Default: none\n")
    fake.replies["sessions.list"] = _own(None, "gone")
    assert cli.succeed("models", "status", "--plain") == "gone\n"


STATUS = {
    "heartbeat": {"agents": [{"agentId": "main", "enabled": True, "every": "30m"}]},
    "queuedSystemEvents": ["a"],
    "sessions": {
        "count": 1,
        "defaults": {"model": "p/m1"},
        "recent": [{"key": "k1", "age": 120_000}, {"key": "k2", "age": None}],
    },
}


@pytest.fixture
def well(fake: FakeGateway) -> None:
    """A gateway that answers what status asks."""
    fake.replies |= {
        "status": STATUS,
        "health": HEALTH,
        "system-presence": [{"reason": "connect"}, {"reason": "self", "host": "box"}],
        "config.get": {
            "path": "/c",
            "exists": True,
            "valid": True,
            "config": {"gateway": {"mode": "local", "auth": {"token": "*"}}},
        },
        "usage.cost": {"totals": {"totalCost": 2, "totalTokens": 7}},
    }


def test_status_for_people(cli: Cli, well: None, fake: FakeGateway) -> None:
    text = cli.succeed("status", "--usage")
    assert f"{fake.url} (local loopback) · reachable" in text
    for line in (
        "Agents     main, b",
        "Model      p/m1",
        "Heartbeat  30m (main)",
        "Sessions   1 kept",
        "Usage      $2.00 · 7 tokens",
        "- k1 (2m ago)",
        "- k2 (unknown)",
    ):
        assert line in text.splitlines()
    assert fake.connects[-1]["client"]["mode"] == "probe"


def test_status_as_json(cli: Cli, well: None, fake: FakeGateway) -> None:
    page = cli.json("status", "--json", "--deep", "--usage")
    assert page["gateway"]["reachable"] is True
    assert page["gateway"]["self"]["host"] == "box"
    assert page["sessions"]["count"] == 1
    assert page["health"] == HEALTH
    assert page["usage"]["totals"]["totalCost"] == 2


def test_status_of_a_dead_gateway_is_json_and_a_failure(cli: Cli) -> None:
    cli.configure(gateway={"port": 1, "auth": {"token": TOKEN}})
    result = cli.run("status", "--json")
    assert result.exit_code == 1
    page = json.loads(result.stdout)
    assert page["gateway"]["reachable"] is False
    assert "connection refused" in page["gateway"]["error"]


def test_status_when_a_method_fails(cli: Cli, well: None, fake: FakeGateway) -> None:
    fake.replies["health"] = Failure("UNAVAILABLE", "broken")
    fake.replies["system-presence"] = Failure("UNAVAILABLE", "broken, too")
    result = cli.run("status", "--json")
    assert (result.exit_code, result.stderr) == (1, "broken\n")
    page = json.loads(result.stdout)
    assert page["gateway"]["reachable"] is True
    assert page["sessions"]["count"] == 1


def test_gateway_status(cli: Cli, well: None, fake: FakeGateway) -> None:
    page = cli.json("gateway", "status", "--json")
    assert page["rpc"] == {"ok": True, "url": fake.url}
    assert page["port"]["status"] == "busy"
    assert page["config"]["cli"]["valid"] is True
    text = cli.succeed("gateway", "status")
    assert "RPC probe: ok" in text


def test_gateway_status_without_a_probe(cli: Cli, fake: FakeGateway) -> None:
    assert "RPC" not in cli.succeed("gateway", "status", "--no-probe")
    assert fake.connects == []


def test_gateway_status_with_a_broken_configuration(alone: Cli) -> None:
    alone.configure(gateway={"port": "no"}, nonsense=1)
    result = alone.run("gateway", "status", "--json", "--no-probe")
    page = json.loads(result.stdout)
    assert page["config"]["cli"]["valid"] is False
    assert page["config"]["cli"]["issues"]
    assert "INVALID" in alone.succeed("gateway", "status", "--no-probe")


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("health",),
        ("logs",),
        ("gateway", "probe"),
        ("gateway", "health"),
        ("gateway", "call", "health"),
        ("gateway", "status"),
    ],
)
def test_a_broken_configuration_is_told_and_the_gateway_asked(
    cli: Cli, well: None, fake: FakeGateway, words: tuple[str, ...]
) -> None:
    fake.replies["logs.tail"] = {"file": "", "cursor": 0, "lines": []}
    path = cli.configure(gateway={"port": "no"})
    cli.setenv("CLAWDBOT_GATEWAY_PORT", str(fake.port))
    cli.setenv("CLAWDBOT_GATEWAY_TOKEN", TOKEN)
    result = cli.run(*words)
    assert result.exit_code == 0
    heading = f"Config invalid\nFile: {path}\nProblem:\n  - {path}:1: gateway.port: "
    assert result.stderr.startswith(heading)
    assert result.stderr.count("Config invalid") == 1


@pytest.mark.parametrize("words", [("sessions",), ("agents",), ("models",)])
def test_a_broken_configuration_ends_other_commands(
    cli: Cli, fake: FakeGateway, words: tuple[str, ...]
) -> None:
    cli.configure(gateway={"port": "no"})
    assert cli.fail(*words).startswith("Config invalid\n")
    assert fake.connects == []


def test_gateway_status_of_a_stranger(cli: Cli, fake: FakeGateway) -> None:
    fake.tokens = set()
    result = cli.run("gateway", "status")
    assert result.exit_code == 1
    assert "did not let us in" in result.stdout


@pytest.mark.parametrize(
    ("config", "host"),
    [
        ({"bind": "lan"}, "0.0.0.0"),
        ({"bind": "custom", "customBindHost": "127.0.0.2"}, "127.0.0.2"),
    ],
)
def test_gateway_status_shows_the_bind(
    alone: Cli, config: dict[str, Any], host: str
) -> None:
    alone.configure(gateway={"auth": {"token": TOKEN}, **config})
    result = alone.run("gateway", "status", "--json", "--no-probe")
    assert json.loads(result.stdout)["gateway"]["bindHost"] == host


def test_gateway_probe(cli: Cli, well: None, fake: FakeGateway) -> None:
    page = cli.json("gateway", "probe", "--json")
    assert page["ok"] is True
    [target] = page["targets"]
    assert (target["id"], target["active"]) == ("localLoopback", True)
    assert target["config"]["auth"]["tokenConfigured"] is True
    assert target["self"]["host"] == "box"
    lines = cli.succeed("gateway", "probe").splitlines()
    assert lines[:3] == ["Gateway Status", "Reachable: yes", "Probe budget: 3000ms"]


def test_gateway_probe_tries_every_gateway(
    cli: Cli, well: None, fake: FakeGateway
) -> None:
    remote = {"url": fake.url, "token": TOKEN}
    cli.use(fake, remote=remote)
    page = cli.json("gateway", "probe", "--json", "--url", fake.url)
    assert [target["id"] for target in page["targets"]] == [
        "explicit",
        "configRemote",
        "localLoopback",
    ]
    assert page["warnings"][0]["code"] == "multiple_gateways"
    assert "Warning: More than one" in cli.succeed("gateway", "probe")


def test_gateway_probe_without_a_gateway(alone: Cli, clean: None) -> None:
    alone.configure(gateway={"port": 1, "auth": {"token": TOKEN}})
    result = alone.run("gateway", "probe", "--json")
    assert result.exit_code == 1
    page = json.loads(result.stdout)
    assert page["targets"][0]["connect"]["close"]["code"] == 1006
    assert page["targets"][0]["config"] is None


# -- answers that make no sense


@pytest.mark.parametrize(
    ("words", "method", "answer"),
    [
        (("sessions",), "sessions.list", {"sessions": 3}),
        (("sessions",), "sessions.list", {"ts": 1, "sessions": [{"key": None}]}),
        (("sessions", "show", "k"), "chat.history", {"messages": "x"}),
        (("sessions", "delete", "k", "--yes"), "sessions.delete", {"deleted": True}),
        (("agents",), "agents.list", {"agents": []}),
        (("agents",), "agents.list", None),
        (("agents", "show", "a"), "agents.show", {"agentId": "a", "tools": []}),
        (("models",), "models.list", {"models": ["m"]}),
        (("devices", "list"), "device.pair.list", {"pending": [{}], "paired": []}),
        (("devices", "approve", "r"), "device.pair.approve", {"requestId": "r"}),
        (("health",), "health", [1]),
        (("gateway", "usage-cost"), "usage.cost", {"totals": {"totalCost": "much"}}),
        (("logs",), "logs.tail", {"lines": [1], "cursor": 1, "file": "x"}),
        (("agent", "--agent", "a", "-m", "x"), "agent", {"result": {"payloads": 1}}),
    ],
)
def test_an_answer_that_makes_no_sense_is_one_clear_line(
    cli: Cli, fake: FakeGateway, words: tuple[str, ...], method: str, answer: object
) -> None:
    fake.replies[method] = answer
    error = cli.fail(*words)
    assert f"the gateway's answer to {method} makes no sense: " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("method", ["status", "health", "system-presence"])
def test_a_status_that_makes_no_sense(
    cli: Cli, well: None, fake: FakeGateway, method: str
) -> None:
    fake.replies[method] = 7
    assert f"answer to {method} makes no sense" in cli.fail("status")
    probed = cli.json("gateway", "probe", "--json")["targets"][0]["connect"]
    assert f"answer to {method} makes no sense" in probed["error"]


def test_a_call_shows_whatever_comes(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["sessions.list"] = 7
    assert cli.json("gateway", "call", "sessions.list", "--json") == 7
