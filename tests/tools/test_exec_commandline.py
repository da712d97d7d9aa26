"""Which lines are plain, and which program such a line starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.tools.exec_commandline import Program, allowed_path, find_program

NOWHERE = Path("/nonexistent")


class Disk:
    """A folder of programs, and one for work."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder.resolve() / "bin"
        self.work = folder.resolve() / "work"
        self.work.mkdir()
        self.add("ls")

    def add(self, name: str, folder: Path | None = None) -> Path:
        """Make a program."""
        path = (folder or self.bin) / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    def find(self, line: str, search: str | None = None) -> Program | None:
        usual = f"{self.bin}" if search is None else search
        return find_program(line, folder=str(self.work), search=usual)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ls", ("ls",)),
        ("  ls\t-l  --color=auto a/b.c ", ("ls", "-l", "--color=auto", "a/b.c")),
        ("ls 'a; rm b' \"c | d\"", ("ls", "a; rm b", "c | d")),
        ("ls '$(x)' '`y`' 'a*' '~'", ("ls", "$(x)", "`y`", "a*", "~")),
        ("ls a'b'c ''", ("ls", "abc", "")),
        ("'ls' x=y @%+:,", ("ls", "x=y", "@%+:,")),
        ("ls é ünï", ("ls", "é", "ünï")),
    ],
)
def test_words_and_quotes_are_plain(
    disk: Disk, line: str, words: tuple[str, ...]
) -> None:
    program = disk.find(line)
    assert program is not None
    assert program.words == words
    assert program.found == program.real == str(disk.bin / "ls")


TRICKS = [
    "",
    " ",
    "ls; rm x",
    "ls;rm x",
    "ls && rm x",
    "ls || rm x",
    "ls | sh",
    "ls & rm x",
    "ls\nrm x",
    "ls\r\nrm x",
    "ls \u2028 rm",
    "ls\0rm",
    "ls > f",
    "ls >> f",
    "ls 2>&1",
    "ls < f",
    "ls << E",
    "ls $(rm x)",
    "ls `rm x`",
    "ls $HOME",
    "ls ${HOME}",
    "ls $'a'",
    'ls "$(rm x)"',
    'ls "`rm x`"',
    'ls "$HOME"',
    'ls "a\\" ; rm x"',
    'ls "!!"',
    "ls !!",
    "ls 'a",
    'ls "a',
    "ls a\\ b",
    "ls \\; rm",
    "ls \\\nrm",
    "ls *",
    "ls ?",
    "ls [a]",
    "ls {a,b}",
    "ls ~",
    "ls ~root",
    "ls # rm",
    "(ls)",
    "{ ls; }",
    "! ls",
    "[ a ]",
    "FOO=1 ls",
    "LD_PRELOAD=x.so ls",
    "PATH=. ls",
    "'FOO=1' ls",
    "if ls",
    "eval ls",
    "exec ls",
    ". ls",
    "source ls",
    "cd ls",
    "-ls",
    "''",
    "nothing",
    "./ls",
    "../work",
    "/",
    "\x1b[2Jls",
    "ls \x7f",
    "ls\u00a0-l",
    "ls <(rm x)",
    "ls =(rm x)",
]


@pytest.mark.parametrize("line", TRICKS)
def test_whatever_else_a_shell_does_is_not_plain(disk: Disk, line: str) -> None:
    assert disk.find(line) is None


@given(st.text(alphabet="ls '\"\\$`;|&<>(){}*?[]!#~=\n\t a/.-", max_size=20))
def test_a_plain_line_has_no_sign_of_a_shell_outside_quotes(line: str) -> None:
    program = find_program(line, folder="/", search="/usr/bin:/bin")
    if program is not None and not set(line) & set("'\""):
        assert set(line) <= set("ls= \ta/.-")
        assert program.words == tuple(line.split())


def test_a_path_is_looked_for_in_the_folder_of_the_command(disk: Disk) -> None:
    own = disk.add("ls", disk.work)
    program = disk.find("./ls")
    assert program is not None
    assert program.real == str(own)
    assert allowed_path(program, [str(disk.bin / "ls")], NOWHERE) is None


@pytest.mark.parametrize("search", ["", ".", ".:", "work", "::"])
def test_folders_that_depend_on_where_we_are_do_not_count(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, search: str
) -> None:
    monkeypatch.chdir(disk.bin)
    assert disk.find("ls", search) is None


def test_what_cannot_be_executed_is_no_program(disk: Disk) -> None:
    (disk.work / "data").write_text("x")
    assert disk.find("./data") is None
    assert disk.find(f"{disk.work}") is None


def test_a_link_is_no_other_program_in_disguise(disk: Disk) -> None:
    rm = disk.add("rm")
    (disk.work / "ls").symlink_to(rm)
    program = disk.find("./ls")
    assert program is not None
    assert program.real == str(rm)
    assert allowed_path(program, [str(disk.bin / "ls")], NOWHERE) is None
    assert allowed_path(program, [str(rm)], NOWHERE) == str(rm)


def test_a_link_to_a_folder_is_no_disguise_either(disk: Disk) -> None:
    disk.add("ls", disk.work / "evil")
    (disk.work / "bin").symlink_to(disk.work / "evil")
    program = disk.find("bin/ls")
    assert program is not None
    assert allowed_path(program, [str(disk.work / "bin" / "*")], NOWHERE) is None


def test_a_program_that_goes_by_its_name_is_allowed_by_its_name(disk: Disk) -> None:
    many = disk.add("manyone")
    for name in ("cat", "rm"):
        (disk.bin / name).symlink_to(many)
    cat, rm = disk.find("cat"), disk.find("rm")
    assert cat is not None
    assert rm is not None
    listed = [str(disk.bin / "cat")]
    assert allowed_path(cat, listed, NOWHERE) == str(disk.bin / "cat")
    assert allowed_path(rm, listed, NOWHERE) is None


@pytest.mark.parametrize(
    ("pattern", "allows"),
    [
        ("{bin}/ls", True),
        ("{bin}/*", True),
        ("{bin}/l?", True),
        ("{bin}/**", True),
        ("/**/ls", True),
        ("~/bin/ls", True),
        ("ls", False),
        ("*", False),
        ("**", False),
        ("", False),
        ("bin/ls", False),
        ("{bin}", False),
        ("{bin}/l", False),
        ("{bin}/ls/", False),
        ("/*/ls", False),
        ("{bin}/[l]s", False),
        ("{bin}/L*", False),
    ],
)
def test_patterns_are_of_whole_paths(disk: Disk, pattern: str, allows: bool) -> None:
    program = disk.find("ls")
    assert program is not None
    listed = [pattern.format(bin=disk.bin)]
    found = allowed_path(program, listed, disk.bin.parent)
    assert found == (program.real if allows else None)


def test_what_is_allowed_always_is_one_program(disk: Disk) -> None:
    program = disk.find("ls -l")
    assert program is not None
    assert program.lasting == str(disk.bin / "ls")


@pytest.mark.parametrize(
    "name", ["sh", "bash", "env", "xargs", "sudo", "python3.11", "node", "git", "awk"]
)
def test_what_runs_everything_is_never_allowed_always(disk: Disk, name: str) -> None:
    disk.add(name)
    program = disk.find(name)
    assert program is not None
    assert program.lasting is None


def test_a_link_that_others_may_change_is_never_allowed_always(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk.bin / "list").symlink_to(disk.bin / "ls")
    (disk.bin / "harmless").symlink_to(disk.add("python3"))
    for name in ("list", "harmless"):
        program = disk.find(name)
        assert program is not None
        disk.bin.chmod(0o777)
        assert program.lasting is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes what root owns")
def test_a_link_of_the_system_is_allowed_by_its_own_name(disk: Disk) -> None:
    (disk.bin / "list").symlink_to(disk.bin / "ls")
    disk.bin.chmod(0o755)
    program = disk.find("list")
    assert program is not None
    assert program.lasting == str(disk.bin / "list")
    # Not the program behind it, which may be many.
    assert program.lasting != program.real
