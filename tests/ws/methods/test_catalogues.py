from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.agents.identity import MAX_FILE_BYTES
from moltbot_gw.config import Assistant
from tests.ws.methods.support import Desk, caller_of

READER = caller_of("read")


def desk_of(home: Path, *agents: dict[str, Any], **more: Any) -> Desk:
    return Desk(home, {"agents": {"list": list(agents)}, **more})


def identity_with(home: Path, text: str, **identity: str) -> Any:
    """Ask for the identity of an agent with *text* in its IDENTITY.md."""
    (home / "ws").mkdir()
    (home / "ws" / "IDENTITY.md").write_text(text)
    agent = {"id": "main", "workspace": str(home / "ws"), "identity": identity}
    return desk_of(home, agent).ask("agent.identity.get", {}, READER)


def test_agents_are_listed_with_the_default_first(desk: Desk) -> None:
    assert desk.ask("agents.list", {}, READER) == {
        "defaultId": "main",
        "mainKey": "main",
        "scope": "per-sender",
        "agents": [
            {
                "id": "main",
                "name": "Molty",
                "identity": {"name": "Molty", "theme": "sea", "emoji": "🦞"},
            },
            {"id": "ops", "name": "Operator", "identity": {"name": "Operator"}},
        ],
    }


def test_agent_without_any_identity(tmp_path: Path) -> None:
    told = desk_of(tmp_path, {"id": "a"}, session={"scope": "global"}).ask(
        "agents.list"
    )
    assert told["agents"] == [{"id": "a"}]
    assert told["scope"] == "global"


@pytest.mark.parametrize(
    ("avatar", "is_url"), [("https://x/a.png", True), ("pics/a.png", False)]
)
def test_avatar_of_an_agent(tmp_path: Path, avatar: str, is_url: bool) -> None:
    desk = desk_of(tmp_path, {"id": "a", "identity": {"avatar": avatar}})
    [agent] = desk.ask("agents.list")["agents"]
    expected = {"avatar": avatar, **({"avatarUrl": avatar} if is_url else {})}
    assert agent == {"id": "a", "identity": expected}


def test_models_are_listed_by_provider_and_name(desk: Desk) -> None:
    assert desk.ask("models.list", {}, READER) == {
        "models": [
            {
                "id": "m1",
                "name": "One",
                "provider": "local",
                "contextWindow": 100_000,
                "reasoning": False,
                "input": ["text"],
            },
            {
                "id": "m2",
                "name": "Two",
                "provider": "local",
                "contextWindow": 200_000,
                "reasoning": True,
                "input": ["text"],
            },
            {
                "id": "gpt-5.2",
                "name": "GPT",
                "provider": "openai",
                "contextWindow": 200_000,
                "reasoning": False,
                "input": ["text", "image"],
            },
        ]
    }


@pytest.mark.parametrize("method", ["agents.list", "models.list"])
def test_catalogues_take_no_parameters(desk: Desk, method: str) -> None:
    code, message = desk.refusal(method, {"x": 1})
    assert code == "INVALID_REQUEST"
    assert message.startswith(f"invalid {method} params: ")


@pytest.mark.parametrize("method", ["agents.list", "models.list", "agent.identity.get"])
def test_catalogues_need_their_scope(desk: Desk, method: str) -> None:
    assert desk.refusal(method, {}, caller_of("approvals")) == (
        "INVALID_REQUEST",
        "missing scope: operator.read",
    )


@pytest.mark.parametrize(
    ("params", "agent_id", "name"),
    [
        ({}, "main", "Molty"),
        ({"agentId": "OPS"}, "ops", "Operator"),
        ({"agentId": " "}, "main", "Molty"),
        ({"sessionKey": "agent:ops:x"}, "ops", "Operator"),
        ({"sessionKey": "agent:ops:x", "agentId": "ops"}, "ops", "Operator"),
        ({"sessionKey": "main"}, "main", "Molty"),
        ({"agentId": "nobody"}, "nobody", "Assistant"),
    ],
)
def test_whose_identity(desk: Desk, params: Any, agent_id: str, name: str) -> None:
    told = desk.ask("agent.identity.get", params, READER)
    assert (told["agentId"], told["name"]) == (agent_id, name)


def test_agent_and_key_must_agree(desk: Desk) -> None:
    params = {"agentId": "main", "sessionKey": "agent:ops:x"}
    assert desk.refusal("agent.identity.get", params) == (
        "INVALID_REQUEST",
        'invalid agent.identity.get params: agent "main" does not match session key'
        ' agent "ops"',
    )


@pytest.mark.parametrize("params", [{"agentId": ""}, {"agent": "x"}, []])
def test_identity_is_strict(desk: Desk, params: Any) -> None:
    _, message = desk.refusal("agent.identity.get", params)
    assert message.startswith("invalid agent.identity.get params: ")


def test_identity_of_the_page_comes_first(desk: Desk) -> None:
    desk.assistant = Assistant(name="x" * 99, avatar="https://x/a.png")
    assert desk.ask("agent.identity.get") == {
        "agentId": "main",
        "name": "x" * 50,
        "avatar": "https://x/a.png",
    }


def test_emoji_stands_in_for_an_avatar(desk: Desk) -> None:
    assert desk.ask("agent.identity.get")["avatar"] == "🦞"
    assert desk.ask("agent.identity.get", {"agentId": "ops"})["avatar"] == "A"


@pytest.mark.parametrize(
    "avatar", ["pics/a.png", "a.b", "too long", "https://" + "x" * 200]
)
def test_avatar_that_no_page_can_show_is_passed_over(
    tmp_path: Path, avatar: str
) -> None:
    desk = desk_of(tmp_path, {"id": "a", "identity": {"avatar": avatar, "emoji": "🦞"}})
    assert desk.ask("agent.identity.get")["avatar"] == "🦞"


def test_identity_file_says_what_the_configuration_does_not(tmp_path: Path) -> None:
    text = "# Who\n- **Name:** Clawd\n- Emoji: 🐙\r\nAvatar: [a path]\n- Name: Other\n"
    assert identity_with(tmp_path, text) == {
        "agentId": "main",
        "name": "Clawd",
        "avatar": "🐙",
    }


def test_avatar_of_the_identity_file(tmp_path: Path) -> None:
    told = identity_with(tmp_path, "- Avatar: data:image/png;base64,AA==\n- emoji: 🐙")
    assert told["avatar"] == "data:image/png;base64,AA=="


def test_configured_name_counts_before_the_file(tmp_path: Path) -> None:
    assert identity_with(tmp_path, "- Name: Clawd", name="Molty")["name"] == "Molty"


def test_identity_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "IDENTITY.md"
    file.write_text("Name: One")
    desk = desk_of(tmp_path, {"id": "a", "workspace": str(tmp_path)})
    table = desk.table()
    desk.table = lambda: table  # type: ignore[method-assign]
    assert desk.ask("agent.identity.get")["name"] == "One"
    assert desk.ask("agent.identity.get")["name"] == "One"
    file.write_text("Name: Another")
    assert desk.ask("agent.identity.get")["name"] == "Another"
    file.unlink()
    assert desk.ask("agent.identity.get")["name"] == "Assistant"


def test_pipe_in_the_place_of_the_identity_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "IDENTITY.md")
    desk = desk_of(tmp_path, {"id": "a", "workspace": str(tmp_path)})
    assert desk.ask("agent.identity.get")["name"] == "Assistant"


# An agent writes this file itself.  Where a pattern can read one of these runs in many
# ways, this test takes minutes, and the gateway would stand still for as long.
@pytest.mark.parametrize("filler", [" ", "\t", "*", "- ", "-*", "name ", "name*", "\n"])
def test_huge_identity_file_is_read_in_part(tmp_path: Path, filler: str) -> None:
    text = (filler * MAX_FILE_BYTES)[:MAX_FILE_BYTES]
    told = identity_with(tmp_path, text + "\nName: Late\n")
    assert told["name"] == "Assistant"
