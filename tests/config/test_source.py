from __future__ import annotations

from pathlib import Path

import pytest

from moltbot_gw.config import ConfigError, load_config
from moltbot_gw.config.source import MAX_FILE_BYTES

from .support import fail, load

JSON5 = """\ufeff// comment
{
  gateway: { port: 0x4A38, bind: 'lan', },
  "agents": { /* none */ defaults: { workspace: "/a\\
b" } },
}
"""


def test_json5_is_understood(tmp_path: Path) -> None:
    config = load(tmp_path, JSON5).config
    assert config.gateway.port == 0x4A38
    assert config.agents.defaults.workspace == "/ab"


def test_syntax_error_names_file_line_and_column(tmp_path: Path) -> None:
    error = fail(tmp_path, "{\n  gateway: {\n    port: @hunter2\n} }")
    path = tmp_path / "moltbot.json"
    expected = f"{path}:3: <root>: JSON5 syntax error at column 11"
    assert str(error) == f"Invalid config at {path}:\n  {expected}"


@pytest.mark.parametrize("text", ["", "  ", "// nothing\n"])
def test_text_without_a_value_is_refused(tmp_path: Path, text: str) -> None:
    [issue] = fail(tmp_path, text).issues
    assert "JSON5" in issue.message


def test_empty_file_is_refused(tmp_path: Path) -> None:
    [issue] = fail(tmp_path, b"").issues
    assert issue.message == "the file is not valid JSON5"


@pytest.mark.parametrize(
    "text", ['{"gateway": {"port": 1, "port": 2}}', "{gateway: {port: 1, port: 2}}"]
)
def test_duplicate_key_is_refused(tmp_path: Path, text: str) -> None:
    [issue] = fail(tmp_path, text).issues
    assert issue.message == 'an object has the key "port" twice'


@pytest.mark.parametrize("text", ["[" * 200_000, "{a:" * 5_000, "[" * 90 + "]" * 90])
def test_deep_nesting_is_refused(tmp_path: Path, text: str) -> None:
    [issue] = fail(tmp_path, text).issues
    assert "nested too deeply" in issue.message


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    [issue] = fail(tmp_path, b'{\n"env": {"A": "\xff"}}').issues
    assert (issue.message, issue.line) == ("the file is not UTF-8", 2)


def test_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    [issue] = fail(tmp_path, "{}" + " " * MAX_FILE_BYTES).issues
    assert issue.message == f"the file is larger than {MAX_FILE_BYTES} bytes"


def test_file_at_the_limit_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, "{}" + " " * (MAX_FILE_BYTES - 2)).exists


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the file: Is a directory"):
        load_config({}, tmp_path, path=tmp_path)


def test_impossible_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="impossible file name"):
        load_config({}, tmp_path, path=tmp_path / "a\0b")


def test_escaped_surrogate_pairs_are_one_character(tmp_path: Path) -> None:
    json5 = r"{'agents': {defaults: {workspace: '\uD83E\uDD9E'}}}"
    for text in (json5, json5.replace("'", '"').replace("defaults", '"defaults"')):
        assert load(tmp_path, text).config.agents.defaults.workspace == "\U0001f99e"


@pytest.mark.parametrize("text", [r'{"ui": "\ud800"}', r'{"ui": {"\ud800": 1}}'])
def test_half_a_surrogate_pair_is_refused(tmp_path: Path, text: str) -> None:
    [issue] = fail(tmp_path, text).issues
    expected = ("ui", "half of a surrogate pair is no character")
    assert (issue.path, issue.message) == expected


def test_syntax_error_does_not_keep_the_text(tmp_path: Path) -> None:
    error = fail(tmp_path, '{"gateway": {"auth": {"token": "hunter2"}}')
    assert error.__context__ is None
    assert "hunter2" not in repr(error)
