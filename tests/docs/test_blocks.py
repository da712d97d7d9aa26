"""Every example of the manual is right, or says why nobody has looked."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

import click
import json5
import pytest

from moltbot_gw.cli.main import root
from moltbot_gw.config import load_config
from moltbot_gw.tap import Options
from tests.docs.blocks import MARK, Block, blocks_of, pages
from tests.docs.console import commands_in

BLOCKS = [block for path in pages() for block in blocks_of(path)]
MARKS = (
    r"not run, \S.{10,}",
    r"setup a gateway with the token \$TOKEN",
    r"file ~/\S+(, which is wrong)?",
    r'background, until ".+"',
    r"fails with status \d+",
)
LANGUAGES = {"console", "sh", "bash", "python", "json5", "json", "ini", "text"}
MAIN_FILES = ("", "file ~/.clawdbot/moltbot.json")
_VARIABLE = re.compile(r"\$\{([A-Z_0-9]+)\}")


def _of(*languages: str) -> list[pytest.param]:  # type: ignore[valid-type]
    found = [block for block in BLOCKS if block.language in languages and block.is_run]
    return [pytest.param(block, id=block.place) for block in found]


def test_each_example_is_run_or_says_why_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    left_out = [block for block in BLOCKS if not block.is_run]
    with capsys.disabled():
        print(f"\n{len(left_out)} of {len(BLOCKS)} examples are not run:")
        for block in left_out:
            print(f"  {block.place}: {block.mark.removeprefix('not run, ')}")
    unknown = [b.place for b in BLOCKS if b.language not in LANGUAGES and b.is_run]
    assert unknown == [], "these languages are not run; say why with '.. example:'"
    assert len(left_out) < len(BLOCKS) / 3


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_marks_are_understood_and_stand_before_an_example(path: Path) -> None:
    marked = [block for block in blocks_of(path) if block.mark]
    lines = path.read_text().splitlines()
    assert len(marked) == sum(line.lstrip().startswith(MARK) for line in lines)
    wrong = [b.place for b in marked if not any(map(b.said, MARKS))]
    assert wrong == []


def test_manual_has_no_unnamed_literal_blocks_with_commands() -> None:
    commands = re.compile(r"::\n\n +(?:\$|#|curl|moltbot|twistd|python3?|pip) ")
    assert [path.name for path in pages() if commands.search(path.read_text())] == []


@pytest.mark.parametrize("block", _of("json5"))
def test_configuration_is_one(block: Block, tmp_path: Path) -> None:
    if block.mark not in MAIN_FILES:
        assert isinstance(json5.loads(block.text), dict)
        return
    names = re.findall(r'"\$include": "([^"]+)"', block.text)
    for name in names:
        (tmp_path / name).write_text("{}")
    path = tmp_path / "moltbot.json"
    path.write_text(block.text)
    environ = dict.fromkeys(_VARIABLE.findall(block.text), "x")
    loaded = load_config(environ, tmp_path, path=path)
    assert loaded.notices == (), "an example asks for what is not served"


@pytest.mark.parametrize("block", _of("json"))
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", _of("ini"))
def test_unit_is_a_file_of_sections(block: Block) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(block.text)
    assert parser.sections()


def _typed_but_not_run() -> list[tuple[str, str]]:
    """Return the commands that root would type, and those of left-out examples."""
    found = []
    for block in BLOCKS:
        if block.language == "console":
            found += [
                (block.place, command.words)
                for command in commands_in(block.text)
                if command.root or not block.is_run
            ]
    return found


@pytest.mark.parametrize(("place", "words"), _typed_but_not_run())
def test_command_that_is_not_run_could_be(place: str, words: str) -> None:
    program, *rest = shlex.split(words, comments=True)
    if program.endswith("moltbot"):
        _parse(rest)
    elif program.endswith("twistd"):
        Options().parseOptions(rest[rest.index("moltbot-gateway") + 1 :])  # type: ignore[no-untyped-call]


def _parse(words: list[str]) -> None:
    """Let the command's own parsers read *words*; raise ``click.UsageError``."""
    command: click.Command = root
    context: click.Context | None = None
    name = "moltbot"
    while True:
        context = command.make_context(name, words, parent=context)
        words = [*context._protected_args, *context.args]
        if not isinstance(command, click.Group) or not words:
            return
        found, below, words = command.resolve_command(context, words)
        assert found is not None
        assert below is not None
        name, command = found, below


def _named_commands() -> list[tuple[str, str]]:
    found = []
    for path in pages():
        for words in re.findall(r"``moltbot ([a-z][^`]*)``", path.read_text()):
            found.append((path.name, " ".join(words.split())))
    return sorted(set(found))


@pytest.mark.parametrize(("page", "words"), _named_commands())
def test_command_that_is_named_exists(page: str, words: str) -> None:
    command: click.Command = root
    for word in shlex.split(words):
        if not isinstance(command, click.Group) or not re.fullmatch(r"[a-z-]+", word):
            return
        context = click.Context(command)
        below = command.get_command(context, word)
        assert below is not None, f"moltbot {words}"
        command = below
