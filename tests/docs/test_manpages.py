"""The man pages name the options that there are, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import rst
from click.testing import CliRunner
from commands import all_commands, daemon_options

from moltbot_gw.cli.main import root
from moltbot_gw.tap import Options
from tests.docs.blocks import ROOT

COMMANDS = {command.words: command for command in all_commands()}
_OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")


def _in_help(text: str) -> set[str]:
    """Return the options that a help text lists, which stand before its columns."""
    lines = [line.strip() for line in text.splitlines() if re.match(r" +-", line)]
    return _options(re.split(r"  +", line)[0] for line in lines)


def _in_page(lines: Iterable[str]) -> set[str]:
    """Return the options that the source of a man page describes."""
    return _options(line for line in lines if line.startswith(".. option:: "))


def _options(heads: Iterable[str]) -> set[str]:
    return {option for head in heads for option in _OPTION.findall(head)}


def test_page_of_the_daemon_has_its_options() -> None:
    real = _in_help(str(Options()).replace("=", " "))
    assert {"--config", "-c", "--dev", "--endpoint"} <= real
    program = ("twistd", "moltbot-gateway")
    assert _in_page(rst.option_list(program, daemon_options())) == real


@pytest.mark.parametrize("words", COMMANDS, ids="-".join)
def test_page_of_the_command_has_its_options(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(root, [*words[1:], "--help"], terminal_width=200)
    assert result.exit_code == 0
    real = _in_help(result.stdout)
    assert "--help" in real
    assert _in_page(rst.command_list([COMMANDS[words]])) == real


def test_page_of_the_command_has_every_command() -> None:
    result = CliRunner().invoke(root, ["--help"], terminal_width=200)
    told = result.stdout.partition("Commands:\n")[2]
    names = re.findall(r"^  ([a-z-]+) ", told, re.MULTILINE)
    assert {("moltbot", name) for name in names} <= COMMANDS.keys()


@pytest.mark.parametrize(
    ("page", "directive"),
    [("moltbot-gateway", "daemon-options"), ("moltbot", "command-options")],
)
def test_pages_take_their_options_from_the_program(page: str, directive: str) -> None:
    source = (ROOT / "docs" / "man" / f"{page}.rst").read_text()
    assert f"\n.. {directive}::\n" in source
