"""Which program a command line starts, where that is beyond doubt.

A shell is not imitated.  A line is *plain* if it is words and nothing else: whatever
could be an operator, an expansion, a pattern, an assignment or another line makes it
not plain, and the lists of programs do not apply to it.  A plain line is run without a
shell, by the words found here; so nobody can read it in two ways.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import attrs

_QUOTED = re.compile(r"'[^']*'|\"[^\"$`\\!]*\"")
_BARE = re.compile(r"[\w@%+:,./= \t-]*")

_RUN_OTHERS = re.compile(
    r"(?:ba|da|z|k|c|tc|a|fi)?sh|busybox|toybox|coreutils|env|xargs|find|parallel"
    r"|sudo|doas|su|runuser|setpriv|chroot|unshare|nsenter|systemd-run|script|expect"
    r"|nohup|nice|ionice|timeout|time|setsid|stdbuf|watch|strace|gdb|flock|screen|tmux"
    r"|python[\d.]*|pypy[\d.]*|perl[\d.]*|ruby[\d.]*|php[\d.]*|lua[\d.]*|node|nodejs|deno"
    r"|bun|npx|uv|uvx|java|[gmn]?awk|sed|ed|ex|vi|vim?\S*|emacs\S*|less|more|man|git|make"
    r"|ssh|scp|rsync|tar|zip|docker|podman|kubectl|at|crontab|ld\S*\.so\S*"
)
"""Programs that run what their arguments say: allowing one allows everything."""


@attrs.frozen(kw_only=True)
class Program:
    """What a plain line starts.

    *found* is where its name leads, its folder's links resolved; *real* is the file
    behind that.  They differ for a link, and some programs do what the link is called.
    """

    words: tuple[str, ...]
    found: str
    real: str

    @property
    def lasting(self) -> str | None:
        """The path to list if an operator allows it for good; None if that is too much.

        A link is as good as whoever may change it: it is listed by its own name only
        where nobody but the system's owner can, and never by the program behind it,
        which may be many programs in one file.
        """
        name = os.path.basename(self.real)
        if _RUN_OTHERS.fullmatch(os.path.basename(self.found)):
            return None
        if os.path.basename(self.found) != name:
            return self.found if _is_the_systems(os.path.dirname(self.found)) else None
        return None if _RUN_OTHERS.fullmatch(name) else self.real


def find_program(line: str, *, folder: str, search: str) -> Program | None:
    """Return what *line* starts; None if it is not plain or there is no such program.

    Names are looked up in *search* (as ``PATH``, of which only absolute folders count),
    paths in *folder*.
    """
    words = _plain_words(line)
    if not words or "=" in words[0]:
        return None
    if "/" in words[0]:
        path = os.path.join(folder, words[0])
        found = path if os.path.isfile(path) and os.access(path, os.X_OK) else None
    else:
        folders = [f for f in search.split(os.pathsep) if os.path.isabs(f)]
        found = shutil.which(words[0], path=os.pathsep.join(folders))
    if found is None:
        return None
    parent, name = os.path.split(found)
    return Program(
        words=words,
        found=os.path.join(os.path.realpath(parent), name),
        real=os.path.realpath(found),
    )


def allowed_path(program: Program, patterns: Sequence[str], home: Path) -> str | None:
    """Return the path to start *program* by, if one of *patterns* allows it.

    A pattern without a slash allows nothing: a name is no program.
    """
    for path in (program.real, program.found):
        for pattern in patterns:
            if _matches(pattern, path, home):
                return path
    return None


def _plain_words(line: str) -> tuple[str, ...]:
    if not all(char.isprintable() or char == "\t" for char in line):
        return ()
    if not _BARE.fullmatch(_QUOTED.sub("", line)):
        return ()
    return tuple(shlex.split(line))


def _matches(pattern: str, path: str, home: Path) -> bool:
    if pattern.startswith("~/"):
        pattern = f"{home}{pattern[1:]}"
    if not pattern.startswith("/"):
        return False
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    expression = "".join(_WILD.get(part) or re.escape(part) for part in parts)
    return re.fullmatch(expression, path) is not None


_WILD = {"**": r".*", "*": r"[^/]*", "?": r"[^/]"}


def _is_the_systems(folder: str) -> bool:
    status = os.stat(folder)
    return status.st_uid == 0 and not status.st_mode & 0o022
