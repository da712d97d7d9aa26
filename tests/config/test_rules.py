from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config import normalize_agent_id

from .support import at, load, message, messages


def agents(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"agents": {"list": list(entries)}}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Main", "main"),
        (" Work Bot! ", "work-bot"),
        ("a_b-c", "a_b-c"),
        ("--x", "x"),
        ("y" * 80, "y" * 64),
        ("!!!", ""),
    ],
)
def test_agent_ids_have_one_form(text: str, normal: str) -> None:
    assert normalize_agent_id(text) == normal


def test_loaded_agent_ids_are_normal(tmp_path: Path) -> None:
    [entry] = load(tmp_path, agents({"id": "Work Bot"})).config.agents.list
    assert entry.id == "work-bot"


def test_agent_id_without_a_letter_is_refused(tmp_path: Path) -> None:
    path, text = message(tmp_path, agents({"id": "!!"}))
    assert (path, text) == (
        "agents.list.0.id",
        "an agent id needs a letter a-z or a digit",
    )


def test_second_agent_with_an_id_is_refused(tmp_path: Path) -> None:
    told = message(tmp_path, agents({"id": "Main"}, {"id": "x"}, {"id": "main"}))
    assert told == ("agents.list.2.id", "the same agent id as agents.list.0")


@pytest.mark.parametrize("second", ["/d/", "/x/../d", "~/../../../../../../../../d"])
def test_agents_must_not_share_a_directory(tmp_path: Path, second: str) -> None:
    tree = agents({"id": "a", "agentDir": "/d"}, {"id": "b", "agentDir": second})
    path, text = message(tmp_path, tree)
    assert path == "agents.list.1.agentDir"
    assert text.startswith("the same agentDir as agents.list.0;")


def test_default_directory_of_another_agent_is_refused(tmp_path: Path) -> None:
    folder = "~/.clawdbot/agents/a/agent"
    tree = agents({"id": "a"}, {"id": "b", "agentDir": folder})
    assert message(tmp_path, tree)[0] == "agents.list.1.agentDir"


@pytest.mark.parametrize(
    "avatar",
    ["https://x/a.png", "HTTP://x", "data:image/png;base64,AA", "a/b.png", "/w/a", ""],
)
def test_good_avatars(tmp_path: Path, avatar: str) -> None:
    tree = agents({"id": "a", "workspace": "/w", "identity": {"avatar": avatar}})
    assert load(tmp_path, tree).exists


@pytest.mark.parametrize(
    "avatar", ["../a.png", "a/../../b", "/etc/x", "/ww/a", "~/a.png", "file:///a"]
)
def test_avatar_outside_the_workspace_is_refused(tmp_path: Path, avatar: str) -> None:
    tree = agents({"id": "a", "workspace": "/w", "identity": {"avatar": avatar}})
    path, text = message(tmp_path, tree)
    assert path == "agents.list.0.identity.avatar"
    assert text == "expected an http(s) or data URL or a path inside the workspace"


def test_absolute_avatar_needs_a_known_workspace(tmp_path: Path) -> None:
    tree = agents({"id": "a", "identity": {"avatar": "/w/a.png"}})
    assert message(tmp_path, tree)[0] == "agents.list.0.identity.avatar"
    tree["agents"]["defaults"] = {"workspace": "/w"}
    assert load(tmp_path, tree).exists


@pytest.mark.parametrize(
    "scope",
    [
        "tools",
        "tools.byProvider.openai",
        "tools.sandbox.tools",
        "tools.subagents.tools",
    ],
)
def test_allow_and_also_allow_exclude_each_other(tmp_path: Path, scope: str) -> None:
    path, text = message(tmp_path, at(scope, {"allow": ["a"], "alsoAllow": ["b"]}))
    assert path == f"{scope}.alsoAllow"
    assert text == "allow and alsoAllow exclude each other; put all names in allow"


def test_empty_allow_list_beside_also_allow_is_fine(tmp_path: Path) -> None:
    assert load(tmp_path, at("tools", {"allow": [], "alsoAllow": ["b"]})).exists


@pytest.mark.parametrize("root", ["", "work", "./x", "~you/x", "file:///x", "/a\0b"])
def test_root_of_file_tools_must_be_absolute(tmp_path: Path, root: str) -> None:
    told = ("roots.1", 'expected an absolute path or one that begins with "~/"')
    path, text = message(tmp_path, at("tools.fs.roots", ["/ok", root]))
    assert (path.removeprefix("tools.fs."), text) == told
    tree = agents({"id": "a", "tools": {"fs": {"roots": ["~/ok", root]}}})
    path, text = message(tmp_path, tree)
    assert (path.removeprefix("agents.list.0.tools.fs."), text) == told


def test_retention_must_be_a_duration(tmp_path: Path) -> None:
    path, text = message(tmp_path, at("session.anonymousRetention", "a while"))
    assert path == "session.anonymousRetention"
    assert text.startswith("expected a duration such as")


@pytest.mark.parametrize(
    ("origin", "kept"),
    [
        ("https://app.example", "https://app.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("HTTPS://App.Example:443", "https://app.example"),
        ("http://[::1]:80", "http://[::1]"),
        ("app://obsidian.md", "app://obsidian.md"),
    ],
)
def test_origin_is_kept_as_browsers_write_it(
    tmp_path: Path, origin: str, kept: str
) -> None:
    config = load(tmp_path, at("gateway.http.cors.allowedOrigins", [origin])).config
    assert config.gateway.http.cors.allowed_origins == (kept,)


@pytest.mark.parametrize(
    "origin",
    ["https://x/", "https://x/a", "x.example", "https://u@x", "https://x:y", "", "//x"],
)
def test_what_is_no_origin_is_refused(tmp_path: Path, origin: str) -> None:
    tree = at("gateway.http.cors.allowedOrigins", ["https://ok", origin])
    told = messages(tmp_path, tree)["gateway.http.cors.allowedOrigins.1"]
    assert told.startswith("expected scheme://host")


@pytest.mark.parametrize("origin", ["*", "null"])
def test_origins_that_mean_everybody_are_refused(tmp_path: Path, origin: str) -> None:
    told = message(tmp_path, at("gateway.http.cors.allowedOrigins", [origin]))
    assert told[1] == 'name each origin; "*" and "null" would let any page in'
