from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .support import at, load, message

UNKNOWN = "names no tool, group or wildcard that is known"
IGNORED = "names no tool that is known; it is ignored, only deny counts"


def notes(folder: Path, tree: Any) -> dict[str, str]:
    """Return what is told of *tree*, by its place."""
    lines = (line.split('"', 2) for line in load(folder, tree).notices)
    return {path: text.strip() for _, path, text in lines}


@pytest.mark.parametrize(
    "entry",
    [
        "read",
        "Bash",
        " apply-patch ",
        "tts",
        "web_*",
        "*",
        "group:nodes",
        "GROUP:plugins",
    ],
)
def test_known_names_are_not_mentioned(tmp_path: Path, entry: str) -> None:
    assert notes(tmp_path, at("tools.deny", [entry])) == {}


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ("web_ftech", '; did you mean "web_fetch"?'),
        ("group:runtme", '; did you mean "group:runtime"?'),
        ("group:*", '; did you mean "group:ui"?'),
        ("hunter2", ""),
        (" ", ""),
        ("x" * 5000, ""),
    ],
)
def test_unknown_name_is_told_and_not_shown(
    tmp_path: Path, entry: str, hint: str
) -> None:
    tree = at("tools.deny", ["read", entry])
    assert notes(tmp_path, tree) == {"tools.deny.1": UNKNOWN + hint}


@pytest.mark.parametrize(
    "scope",
    [
        "tools",
        "tools.byProvider.local",
        "tools.subagents.tools",
        "tools.sandbox.tools",
    ],
)
def test_list_that_allows_nothing_known_is_told(tmp_path: Path, scope: str) -> None:
    tree = at(scope, {"allow": ["mine"], "deny": ["mine"]})
    assert notes(tmp_path, tree) == {
        f"{scope}.allow.0": UNKNOWN,
        f"{scope}.allow": IGNORED,
        f"{scope}.deny.0": UNKNOWN,
    }


def test_lists_of_an_agent_are_looked_at(tmp_path: Path) -> None:
    own = {
        "alsoAllow": ["mine"],
        "allow": [],
        "byProvider": {"p/m": {"allow": ["group:plugins"]}},
        "sandbox": {"tools": {"allow": ["mine", "read"]}},
    }
    tree = {"agents": {"list": [{"id": "a"}, {"id": "b", "tools": own}]}}
    assert notes(tmp_path, tree) == {
        "agents.list.1.tools.alsoAllow.0": UNKNOWN,
        "agents.list.1.tools.byProvider.p/m.allow": IGNORED,
        "agents.list.1.tools.sandbox.tools.allow.0": UNKNOWN,
    }


@pytest.mark.parametrize("scope", ["tools", "tools.byProvider.openai"])
def test_unknown_profile_is_an_error_that_names_the_four(
    tmp_path: Path, scope: str
) -> None:
    told = message(tmp_path, at(scope, {"profile": "all"}))
    expected = 'expected one of "minimal", "coding", "messaging", "full"'
    assert told == (f"{scope}.profile", expected)


def test_a_sandbox_has_known_modes(tmp_path: Path) -> None:
    path, text = message(tmp_path, at("agents.defaults.sandbox.mode", "sometimes"))
    assert path == "agents.defaults.sandbox.mode"
    assert text == 'expected one of "off", "non-main", "all"'
