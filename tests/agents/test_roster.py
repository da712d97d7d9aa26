from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.agents.catalog import Catalog, ModelRef
from moltbot_gw.agents.roster import Agent, Roster, build_roster
from tests.config.support import load

LOCAL = {
    "baseUrl": "http://x/v1",
    "models": [
        {"id": "m/1", "name": "one"},
        {"id": "eyes", "name": "two", "input": ["text", "image"]},
    ],
}


def roster_of(folder: Path, tree: dict[str, Any], profile: str | None = None) -> Roster:
    return build_roster(load(folder, tree).config, Path("/home/u"), profile)


def agents_of(folder: Path, *entries: dict[str, Any], **defaults: Any) -> Roster:
    return roster_of(folder, {"agents": {"list": entries, "defaults": defaults}})


def model_of(
    folder: Path, *, providers: Any = None, defaults: Any = None, **entry: Any
) -> ModelRef:
    tree = {
        "agents": {"list": [{"id": "a", **entry}], "defaults": defaults or {}},
        "models": {"providers": {"local": LOCAL} if providers is None else providers},
    }
    return roster_of(folder, tree).agents["a"].model


def test_nothing_configured_means_one_agent_that_echoes(tmp_path: Path) -> None:
    roster = roster_of(tmp_path, {})
    assert roster.default_id == "main"
    assert list(roster.agents.values()) == [
        Agent(
            id="main",
            name=None,
            theme=None,
            emoji=None,
            workspace=Path("/home/u/clawd"),
            model=ModelRef("echo", "echo"),
            timeout=600.0,
            bootstrap_max_chars=20_000,
        )
    ]


@pytest.mark.parametrize(
    ("entries", "default_id"),
    [
        ([{"id": "a"}, {"id": "b"}], "a"),
        ([{"id": "a"}, {"id": "B", "default": True}], "b"),
        ([{"id": "a", "default": True}, {"id": "b", "default": True}], "a"),
        ([{"id": " My Agent! "}], "my-agent"),
    ],
)
def test_first_default_else_first_agent_is_the_default(
    tmp_path: Path, entries: list[dict[str, Any]], default_id: str
) -> None:
    assert agents_of(tmp_path, *entries).default_id == default_id


def test_agents_keep_the_order_of_the_configuration(tmp_path: Path) -> None:
    roster = agents_of(tmp_path, {"id": "b"}, {"id": "A"})
    assert list(roster.agents) == ["b", "a"]


def test_identity_is_taken_over(tmp_path: Path) -> None:
    identity = {"name": "Max", "theme": "space lobster", "emoji": "*"}
    agent = agents_of(tmp_path, {"id": "a", "name": "A", "identity": identity}).agents
    shown = (agent["a"].name, agent["a"].theme, agent["a"].emoji)
    assert shown == ("Max", "space lobster", "*")


@pytest.mark.parametrize("identity", [{}, {"identity": {"emoji": "*"}}])
def test_name_of_the_entry_stands_in_for_the_identitys(
    tmp_path: Path, identity: Any
) -> None:
    roster = agents_of(tmp_path, {"id": "a", "name": "A", **identity})
    assert roster.agents["a"].name == "A"


def test_avatar_is_that_of_the_identity(tmp_path: Path) -> None:
    entries: Any = ({"id": "a", "identity": {"avatar": "a.png"}}, {"id": "b"})
    agents = agents_of(tmp_path, *entries).agents
    assert (agents["a"].avatar, agents["b"].avatar) == ("a.png", None)


def test_thinking_comes_from_the_defaults(tmp_path: Path) -> None:
    roster = agents_of(tmp_path, {"id": "a"}, thinkingDefault="low")
    assert roster.agents["a"].thinking == "low"
    assert agents_of(tmp_path, {"id": "a"}).agents["a"].thinking is None


def test_catalog_has_the_models_that_agents_may_be_asked_to_use(tmp_path: Path) -> None:
    tree = {"models": {"providers": {"local": LOCAL}}}
    catalog = roster_of(tmp_path, tree).catalog
    assert [known.name for known in catalog.models] == ["one", "two"]
    assert Roster(agents={}, default_id="main").catalog.models == []


def test_limits_come_from_the_defaults(tmp_path: Path) -> None:
    roster = agents_of(tmp_path, {"id": "a"}, timeoutSeconds=5, bootstrapMaxChars=7)
    agent = roster.agents["a"]
    assert (agent.timeout, agent.bootstrap_max_chars) == (5.0, 7)


@pytest.mark.parametrize(
    ("entry", "default", "folder"),
    [
        ({"id": "a"}, None, "/home/u/clawd"),
        ({"id": "a"}, "/ws", "/ws"),
        ({"id": "a", "workspace": "/own"}, "/ws", "/own"),
        ({"id": "b"}, None, "/home/u/clawd-b"),
        ({"id": "b"}, "/ws", "/home/u/clawd-b"),
        ({"id": "b", "workspace": "/own"}, "/ws", "/own"),
    ],
)
def test_workspace_by_agent(
    tmp_path: Path, entry: dict[str, Any], default: str | None, folder: str
) -> None:
    first = {"id": "a"} if entry["id"] != "a" else entry
    entries = [first] if first is entry else [first, entry]
    defaults: dict[str, Any] = {"workspace": default} if default else {}
    roster = agents_of(tmp_path, *entries, **defaults)
    assert roster.agents[entry["id"]].workspace == Path(folder)


@pytest.mark.parametrize(
    ("profile", "folder"),
    [("dev", "clawd-dev"), ("default", "clawd"), ("", "clawd"), (None, "clawd")],
)
def test_profile_is_part_of_the_default_workspace(
    tmp_path: Path, profile: str | None, folder: str
) -> None:
    roster = roster_of(tmp_path, {}, profile)
    assert roster.agents["main"].workspace == Path("/home/u") / folder


@pytest.mark.parametrize("profile", ["dev", None])
def test_workspaces_can_lie_elsewhere_unless_configured(
    tmp_path: Path, profile: str | None
) -> None:
    entries = [{"id": "a"}, {"id": "b"}, {"id": "c", "workspace": "/own"}]
    config = load(tmp_path, {"agents": {"list": entries}}).config
    roster = build_roster(config, Path("/home/u"), profile, Path("/state"))
    folders = [agent.workspace for agent in roster.agents.values()]
    assert folders == [
        Path("/state/workspace"),
        Path("/state/workspace-b"),
        Path("/own"),
    ]


@pytest.mark.parametrize(
    ("entry", "ref"),
    [
        ({"model": "local/m/1"}, "local/m/1"),
        ({"model": {"primary": "local/m/1"}}, "local/m/1"),
        ({"model": " LOCAL/m/1 "}, "local/m/1"),
        ({"model": "claude-x"}, "anthropic/claude-x"),
        ({"model": "Fast"}, "local/quick"),
        ({"model": {"fallbacks": []}}, "local/main"),
        ({}, "local/main"),
    ],
)
def test_model_of_the_agent_else_of_the_defaults(
    tmp_path: Path, entry: dict[str, Any], ref: str
) -> None:
    defaults = {
        "model": {"primary": "local/main"},
        "models": {"local/quick": {"alias": "fast"}, "local/main": {}},
    }
    assert str(model_of(tmp_path, defaults=defaults, **entry)) == ref


def test_builtin_alias_of_a_listed_model_is_known(tmp_path: Path) -> None:
    defaults: Any = {"models": {"anthropic/claude-opus-4-5": {}}}
    model = model_of(tmp_path, defaults=defaults, model="opus")
    assert str(model) == "anthropic/claude-opus-4-5"


@pytest.mark.parametrize("defaults", [{}, {"model": {"fallbacks": ["local/m/1"]}}])
def test_without_any_model_the_originals_default_is_used(
    tmp_path: Path, defaults: Any
) -> None:
    assert str(model_of(tmp_path, defaults=defaults)) == "anthropic/claude-opus-4-5"


def test_without_any_provider_the_echo_answers(tmp_path: Path) -> None:
    assert str(model_of(tmp_path, providers={})) == "echo/echo"


@pytest.mark.parametrize("name", ["local", "Local"])
@pytest.mark.parametrize(
    ("model", "images"), [("eyes", True), ("m/1", False), ("unknown", False)]
)
def test_model_takes_images_if_its_entry_says_so(
    tmp_path: Path, name: str, model: str, images: bool
) -> None:
    config = load(tmp_path, {"models": {"providers": {name: LOCAL}}}).config
    assert Catalog(config).find(f"local/{model}").accepts_images is images


@pytest.mark.parametrize(
    ("model", "agent_id"),
    [
        ("moltbot:ops", "ops"),
        ("moltbot/ops", "ops"),
        ("agent:ops", "ops"),
        ("clawdbot:ops", "ops"),
        ("openclaw/ops", "ops"),
        ("MOLTBOT:Ops", "ops"),
        ("moltbot:nobody", "nobody"),
        ("moltbot:default", "main"),
        ("openclaw/default", "main"),
        ("agent:default", "main"),
        ("moltbot", None),
        ("agent/ops", None),
        ("moltbot:", None),
        ("moltbot:-x", None),
        ("moltbot:a b", None),
        ("moltbot:" + "a" * 65, None),
        ("gpt-5", None),
        ("x moltbot:ops", None),
        ("", None),
        (None, None),
    ],
)
def test_request_names_an_agent_by_its_model(
    tmp_path: Path, model: str | None, agent_id: str | None
) -> None:
    roster = agents_of(tmp_path, {"id": "main"}, {"id": "ops"})
    assert roster.from_model(model) == agent_id


def test_agent_called_default_is_meant_by_its_name(tmp_path: Path) -> None:
    roster = agents_of(tmp_path, {"id": "main"}, {"id": "default"})
    assert roster.from_model("moltbot:default") == "default"


@pytest.mark.parametrize(
    ("model", "fallbacks", "own"),
    [
        (None, ["local/m/1", "anthropic/x"], False),
        ("local/eyes", ["local/m/1", "anthropic/x"], False),
        ({"primary": "local/eyes"}, ["local/m/1", "anthropic/x"], False),
        ({"fallbacks": ["Fast"]}, ["local/quick"], True),
        ({"fallbacks": []}, [], True),
    ],
)
def test_fallbacks_of_the_agent_else_of_the_defaults(
    tmp_path: Path, model: Any, fallbacks: list[str], own: bool
) -> None:
    tree = {
        "agents": {
            "list": [{"id": "a", **({} if model is None else {"model": model})}],
            "defaults": {
                "model": {"fallbacks": ["LOCAL/m/1", "x"]},
                "models": {"local/quick": {"alias": "fast"}},
            },
        }
    }
    agent = roster_of(tmp_path, tree).agents["a"]
    assert [str(ref) for ref in agent.fallbacks] == fallbacks
    assert agent.has_own_fallbacks is own
