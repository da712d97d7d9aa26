from __future__ import annotations

import os
from pathlib import Path

import pytest

from moltbot_gw.config import ConfigError, load_environ
from moltbot_gw.config.environ import add_env_block

from .support import load, write


def test_environment_beats_the_env_file(tmp_path: Path) -> None:
    write(tmp_path, "A=file\nB=file\nBARE\n", ".env")
    assert load_environ({"A": "real"}, tmp_path) == {"A": "real", "B": "file"}


def test_env_file_values_are_taken_as_written(tmp_path: Path) -> None:
    write(tmp_path, "A='${HOME}/x'\nB=$HOME # comment\n", ".env")
    assert load_environ({}, tmp_path) == {"A": "${HOME}/x", "B": "$HOME"}


def test_missing_env_file_adds_nothing(tmp_path: Path) -> None:
    assert load_environ({"A": "1"}, tmp_path) == {"A": "1"}


def test_env_file_of_the_working_directory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "A=1\n", "cwd/.env")
    monkeypatch.chdir(tmp_path / "cwd")
    assert load_environ({}, tmp_path / "state") == {}


def test_env_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write(tmp_path, b"A=1\nB=\xff\n", ".env")
    with pytest.raises(ConfigError, match=r"\.env:2: <root>: the file is not UTF-8"):
        load_environ({}, tmp_path)


def test_env_block_fills_unset_and_blank_variables() -> None:
    tree = {"env": {"vars": {"A": "new", "B": "new", "C": " "}, "D": "new"}}
    result = add_env_block({"A": "old", "B": " "}, tree)
    assert result == {"A": "old", "B": "new", "D": "new"}


def test_variable_beside_vars_beats_the_one_inside() -> None:
    assert add_env_block({}, {"env": {"vars": {"A": "1"}, "A": "2"}}) == {"A": "2"}


@pytest.mark.parametrize(
    "tree",
    [[], {}, {"env": 3}, {"env": {"vars": 3, "A": 3}}, {"env": {"shellEnv": "x"}}],
)
def test_odd_env_blocks_add_nothing(tree: object) -> None:
    assert add_env_block({"X": "1"}, tree) == {"X": "1"}


def test_loading_leaves_the_process_environment_alone(tmp_path: Path) -> None:
    before = dict(os.environ)
    loaded = load(tmp_path, {"env": {"MOLTBOT_TEST_VARIABLE": "1"}})
    assert loaded.environ["MOLTBOT_TEST_VARIABLE"] == "1"
    assert dict(os.environ) == before


def test_state_env_file_feeds_references(tmp_path: Path) -> None:
    write(tmp_path, "GW_TOKEN=abc\n", ".clawdbot/.env")
    loaded = load(tmp_path, {"gateway": {"auth": {"token": "${GW_TOKEN}"}}})
    token = loaded.config.gateway.auth.token
    assert token is not None
    assert token.reveal() == "abc"
