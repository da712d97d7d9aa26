from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ws.methods.support import TREE, Desk, caller_of

READER = caller_of("read")
TOOLS: dict[str, Any] = {
    "profile": "coding",
    "deny": ["exec"],
    "byProvider": {
        "local": {"deny": ["read"]},
        "local/m2": {"deny": ["session_status"]},
    },
}


@pytest.fixture
def told(tmp_path: Path) -> Desk:
    """A desk of a configuration that says something of tools."""
    return Desk(tmp_path, {**TREE, "tools": TOOLS})


def row(answer: Any, name: str) -> Any:
    [found] = [row for row in answer["tools"] if row["name"] == name]
    return found


def test_an_agent_is_shown_with_its_tools(desk: Desk) -> None:
    shown = desk.ask("agents.show", {"agentId": "OPS"}, READER)
    tools = shown.pop("tools")
    assert shown == {
        "agentId": "ops",
        "model": "local/m1",
        "workspace": str(desk.roster.agents["ops"].workspace),
    }
    stage = "default profile = minimal"
    names = ["session_status", "exec", "read", "our_own"]
    assert [tool["name"] for tool in tools[:4]] == names
    assert [tool["served"] for tool in tools] == [True] * 4 + [False] * 21
    assert tools[0] == {
        "name": "session_status",
        "allowed": True,
        "stage": stage,
        "why": 'allowed by "session_status"',
        "served": True,
    }
    denied = {"allowed": False, "stage": stage, "why": "not in this list"}
    assert all(tool.items() >= denied.items() for tool in tools[1:])


def test_every_tool_of_the_original_is_told_once(desk: Desk) -> None:
    shown = desk.ask("agents.show", {"agentId": "main"})
    names = [tool["name"] for tool in shown["tools"]]
    assert len(names) == len(set(names)) == 25
    assert {"web_search", "tts", "apply_patch"} <= set(names)


def test_lists_for_the_agents_own_model_count(told: Desk) -> None:
    shown = told.ask("agents.show", {"agentId": "main"})
    stage = "tools.byProvider[local].deny"
    assert row(shown, "read").items() >= {"allowed": False, "stage": stage}.items()
    assert row(shown, "exec")["stage"] == "tools.deny"
    assert row(shown, "session_status")["allowed"]


@pytest.mark.parametrize(
    ("model", "found", "denied"),
    [
        ("local/m2", "local/m2", {"exec", "read", "session_status"}),
        ("LOCAL/m2", "local/m2", {"exec", "read", "session_status"}),
        ("openai/any", "openai/any", {"exec"}),
        ("claude", "anthropic/claude", {"exec"}),
    ],
)
def test_another_model_may_be_asked_about(
    told: Desk, model: str, found: str, denied: set[str]
) -> None:
    shown = told.ask("agents.show", {"agentId": "main", "model": model})
    assert shown["model"] == found
    served = {"exec", "read", "session_status"}
    assert {name for name in served if not row(shown, name)["allowed"]} == denied


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"agentId": "nobody"}, 'unknown agent id "nobody"'),
        ({"agentId": "main", "model": "local/"}, 'no model "local/"'),
        ({"agentId": "main", "model": "/m"}, 'no model "/m"'),
        ({}, "Object missing required field `agentId`"),
        ({"agentId": ""}, "Expected `str` of length >= 1 - at `$.agentId`"),
        ({"agentId": "main", "x": 1}, "Object contains unknown field `x`"),
    ],
)
def test_wrong_questions(desk: Desk, params: Any, problem: str) -> None:
    assert desk.refusal("agents.show", params) == (
        "INVALID_REQUEST",
        f"invalid agents.show params: {problem}",
    )


def test_tools_are_shown_to_readers_only(desk: Desk) -> None:
    params = {"agentId": "main"}
    assert desk.refusal("agents.show", params, caller_of("approvals")) == (
        "INVALID_REQUEST",
        "missing scope: operator.read",
    )


def test_answer_is_about_the_main_session(tmp_path: Path) -> None:
    tree: dict[str, Any] = {
        "agents": {"list": [{"id": "a", "sandbox": {"mode": "non-main"}}]},
        "tools": {"profile": "full", "sandbox": {"tools": {"deny": ["*"]}}},
        "session": {"scope": "global"},
    }
    shown = Desk(tmp_path, tree).ask("agents.show", {"agentId": "a"})
    assert all(tool["allowed"] for tool in shown["tools"])
