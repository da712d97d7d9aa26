from __future__ import annotations

from pathlib import Path

import pytest

from moltbot_gw.config import config_path, expand_home, state_dir
from moltbot_gw.config.paths import is_path_value

from .support import write


def test_fresh_machine_uses_the_old_name(tmp_path: Path) -> None:
    assert state_dir({}, tmp_path) == tmp_path / ".clawdbot"


def test_new_directory_is_used_when_it_is_alone(tmp_path: Path) -> None:
    (tmp_path / ".moltbot").mkdir()
    assert state_dir({}, tmp_path) == tmp_path / ".moltbot"


def test_old_directory_wins_over_the_new_one(tmp_path: Path) -> None:
    (tmp_path / ".moltbot").mkdir()
    (tmp_path / ".clawdbot").mkdir()
    assert state_dir({}, tmp_path) == tmp_path / ".clawdbot"


def test_first_variable_names_the_state_directory(tmp_path: Path) -> None:
    environ = {"MOLTBOT_STATE_DIR": " ~/a ", "CLAWDBOT_STATE_DIR": "/b"}
    assert state_dir(environ, tmp_path) == tmp_path / "a"


def test_blank_variable_counts_as_unset(tmp_path: Path) -> None:
    environ = {"MOLTBOT_STATE_DIR": " ", "CLAWDBOT_STATE_DIR": "/b"}
    assert state_dir(environ, tmp_path) == Path("/b")


def test_relative_state_directory_becomes_absolute(tmp_path: Path) -> None:
    path = state_dir({"MOLTBOT_STATE_DIR": "here"}, tmp_path)
    assert path == Path.cwd() / "here"


def test_config_path_variable_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, {}, ".clawdbot/moltbot.json")
    environ = {"MOLTBOT_CONFIG_PATH": "~/x.json5", "CLAWDBOT_CONFIG_PATH": "/y"}
    assert config_path(environ, tmp_path) == tmp_path / "x.json5"


def test_without_any_file_the_canonical_path_is_named(tmp_path: Path) -> None:
    assert config_path({}, tmp_path) == tmp_path / ".clawdbot/moltbot.json"


CANDIDATES = [
    "first/moltbot.json",
    "first/clawdbot.json",
    "second/moltbot.json",
    "second/clawdbot.json",
    ".moltbot/moltbot.json",
    ".moltbot/clawdbot.json",
    ".clawdbot/moltbot.json",
    ".clawdbot/clawdbot.json",
]


@pytest.mark.parametrize("rank", range(len(CANDIDATES)))
def test_first_existing_candidate_wins(tmp_path: Path, rank: int) -> None:
    for name in CANDIDATES[rank:]:
        write(tmp_path, {}, name)
    environ = {"MOLTBOT_STATE_DIR": "~/first", "CLAWDBOT_STATE_DIR": "~/second"}
    assert config_path(environ, tmp_path) == tmp_path / CANDIDATES[rank]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("~", "/h"), ("~/a", "/h/a"), ("~you/a", "~you/a"), ("/a/~/b", "/a/~/b")],
)
def test_only_a_leading_tilde_is_home(text: str, expanded: str) -> None:
    assert expand_home(text, Path("/h")) == expanded


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        (("agents", "defaults", "workspace"), True),
        (("agents", "list", 0, "agentDir"), True),
        (("gateway", "tls", "certPath"), True),
        (("session", "store"), True),
        (("plugins", "load", "paths", 3), True),
        (("tools", "exec", "pathPrepend", 0), True),
        (("tools", "fs", "roots", 0), True),
        (("models", "providers", "x", "apiKey"), False),
        (("tools", "allow", 0), False),
        ((0,), False),
        ((), False),
    ],
)
def test_paths_are_known_by_their_key(
    place: tuple[str | int, ...], answer: bool
) -> None:
    assert is_path_value(place) is answer
