from __future__ import annotations

from typing import Any

import pytest

from tests.ws.methods.support import KEY, NOW_MS, STORE_PATH, TREE, Desk, wait

XHIGH_ONLY = (
    'thinkingLevel "xhigh" is only supported for openai/gpt-5.2,'
    " openai-codex/gpt-5.2-codex or openai-codex/gpt-5.1-codex"
)


def patched(desk: Desk, key: str = "main", **fields: Any) -> dict[str, Any]:
    """Patch and return the entry."""
    told = desk.ask("sessions.patch", {"key": key, **fields})
    assert told["ok"] is True
    return told["entry"]  # type: ignore[no-any-return]


def problem(desk: Desk, key: str = "main", **fields: Any) -> str:
    code, message = desk.refusal("sessions.patch", {"key": key, **fields})
    assert code == "INVALID_REQUEST"
    return message


def test_patch_makes_the_session_it_does_not_find(desk: Desk) -> None:
    told = desk.ask("sessions.patch", {"key": "main", "label": " home "})
    session_id = told["entry"].pop("sessionId")
    assert len(session_id) == 36
    assert told == {
        "ok": True,
        "path": STORE_PATH,
        "key": KEY,
        "entry": {
            "updatedAt": NOW_MS,
            "abortedLastRun": False,
            "inputTokens": 0,
            "outputTokens": 0,
            "totalTokens": 0,
            "label": "home",
        },
    }


def test_patch_of_nothing_changes_nothing(desk: Desk) -> None:
    desk.turn()
    patched(desk, label="home", execNode="n1")
    entry = patched(desk)
    assert (entry["sessionId"], entry["label"], entry["execNode"]) == (
        "id-1",
        "home",
        "n1",
    )


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("thinkingLevel", "off", None),
        ("thinkingLevel", "on", "low"),
        ("thinkingLevel", " MAX ", "high"),
        ("thinkingLevel", "med", "medium"),
        ("thinkingLevel", "minimal", "minimal"),
        ("verboseLevel", "off", "off"),
        ("verboseLevel", "false", "off"),
        ("verboseLevel", "Yes", "on"),
        ("verboseLevel", "everything", "full"),
        ("reasoningLevel", "off", None),
        ("reasoningLevel", "stream", "stream"),
        ("reasoningLevel", "on", "on"),
        ("responseUsage", "off", None),
        ("responseUsage", "on", "tokens"),
        ("responseUsage", "full", "full"),
        ("elevatedLevel", "off", "off"),
        ("elevatedLevel", "ask", "ask"),
        ("execHost", "Gateway", "gateway"),
        ("execSecurity", "allowlist", "allowlist"),
        ("execAsk", "on-miss", "on-miss"),
        ("execNode", " n1 ", "n1"),
        ("sendPolicy", "deny", "deny"),
        ("groupActivation", "always", "always"),
        ("label", "x" * 64, "x" * 64),
    ],
)
def test_words_that_a_field_takes(
    desk: Desk, field: str, value: str, stored: str | None
) -> None:
    assert patched(desk, **{field: value}).get(field) == stored
    cleared: dict[str, Any] = {field: None}
    assert field not in patched(desk, **cleared)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("label", " ", "invalid label: empty"),
        (
            "thinkingLevel",
            "hard",
            "invalid thinkingLevel (use off|minimal|low|medium|high)",
        ),
        ("verboseLevel", "loud", 'invalid verboseLevel (use "on"|"off")'),
        (
            "reasoningLevel",
            "x",
            'invalid reasoningLevel (use "on"|"off"|"stream")',
        ),
        (
            "elevatedLevel",
            "x",
            'invalid elevatedLevel (use "on"|"off"|"ask"|"full")',
        ),
        ("execHost", "x", 'invalid execHost (use "sandbox"|"gateway"|"node")'),
        ("execSecurity", "x", 'invalid execSecurity (use "deny"|"allowlist"|"full")'),
        ("execAsk", "x", 'invalid execAsk (use "off"|"on-miss"|"always")'),
        ("execNode", " ", "invalid execNode: empty"),
        ("model", " ", "invalid model: empty"),
        ("model", "openai/", "invalid model: openai/"),
        ("model", "/m1", "invalid model: /m1"),
        ("model", "local/m3", "model not allowed: local/m3"),
        ("model", "m1", "model not allowed: anthropic/m1"),
        (
            "spawnedBy",
            "agent:main:main",
            "spawnedBy is only supported for subagent:* sessions",
        ),
        ("thinkingLevel", "xhigh", XHIGH_ONLY),
    ],
)
def test_words_that_a_field_does_not_take(
    desk: Desk, field: str, value: str, message: str
) -> None:
    assert problem(desk, **{field: value}) == message


@pytest.mark.parametrize(
    "fields",
    [
        {"label": ""},
        {"label": "x" * 65},
        {"label": 5},
        {"verboseLevel": ""},
        {"responseUsage": "some"},
        {"sendPolicy": "maybe"},
        {"groupActivation": "never"},
        {"unknown": 1},
        {"key": ""},
    ],
)
def test_patch_is_strict(desk: Desk, fields: dict[str, Any]) -> None:
    params = {"key": "main", **fields}
    code, message = desk.refusal("sessions.patch", params)
    assert code == "INVALID_REQUEST"
    assert message.startswith("invalid sessions.patch params: ")


def test_refused_patch_leaves_no_session(desk: Desk) -> None:
    problem(desk, verboseLevel="loud")
    assert desk.ask("sessions.list")["sessions"] == []


def test_label_is_unique_among_the_sessions_of_an_agent(desk: Desk) -> None:
    patched(desk, "a", label="home")
    assert problem(desk, "b", label="home") == "label already in use: home"
    assert patched(desk, "agent:ops:c", label="home")["label"] == "home"
    assert patched(desk, "a", label="home")["label"] == "home"


def test_session_of_an_unknown_agent(desk: Desk) -> None:
    assert problem(desk, "agent:nobody:x") == (
        'invalid sessions.patch params: unknown agent id "nobody"'
    )


def test_model_is_kept_by_provider_and_name(desk: Desk) -> None:
    entry = patched(desk, model="LOCAL/m2")
    assert (entry["providerOverride"], entry["modelOverride"]) == ("local", "m2")
    assert (entry["modelProvider"], entry["model"]) == ("local", "m2")


@pytest.mark.parametrize("model", [None, "local/m1"])
def test_own_model_clears_the_other(desk: Desk, model: str | None) -> None:
    patched(desk, model="local/m2")
    entry = patched(desk, model=model)
    assert {"providerOverride", "modelOverride"}.isdisjoint(entry)


def test_alias_names_a_model(desk: Desk) -> None:
    agents = TREE["agents"]
    defaults = {**agents["defaults"], "models": {"local/m2": {"alias": "Smart"}}}
    other = Desk(desk.home, {**TREE, "agents": {**agents, "defaults": defaults}})
    assert patched(other, model="smart")["modelOverride"] == "m2"
    assert problem(other, model="openai/gpt-5.2") == "model not allowed: openai/gpt-5.2"


def test_xhigh_comes_with_a_model_that_has_it(desk: Desk) -> None:
    entry = patched(desk, model="openai/gpt-5.2", thinkingLevel="xhigh")
    assert entry["thinkingLevel"] == "xhigh"
    assert problem(desk, thinkingLevel="hard") == (
        "invalid thinkingLevel (use off|minimal|low|medium|high|xhigh)"
    )


def test_xhigh_is_lowered_when_the_model_changes(desk: Desk) -> None:
    patched(desk, model="openai/gpt-5.2", thinkingLevel="xhigh")
    assert patched(desk, label="x")["thinkingLevel"] == "xhigh"
    assert patched(desk, model=None)["thinkingLevel"] == "high"


def test_parent_may_be_cleared_where_there_is_none(desk: Desk) -> None:
    assert "spawnedBy" not in patched(desk, spawnedBy=None)


def test_session_belongs_to_the_agent_that_made_it(desk: Desk) -> None:
    wait(
        desk.store.patch("global", {}, agent_id="gone", new_session_id="id-1", now_ms=1)
    )
    patched(desk, "global", verboseLevel="on", model="local/m2")
    [row] = desk.ask("sessions.list", {"includeGlobal": True, "agentId": "gone"})[
        "sessions"
    ]
    assert row["verboseLevel"] == "on"
