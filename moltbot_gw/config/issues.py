"""What can be wrong with a configuration, in words for its owner.

No message quotes a value of the file: after ``${VAR}`` any value may be a secret.
Names of keys are quoted, made printable and short.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Union

Place = tuple[Union[str, int], ...]
"""Where a value stands: keys and list indexes from the root, which is ``()``."""

MAX_NAME_CHARS = 60
"""A key is cut to this length when it is shown."""


@dataclass(frozen=True)
class Issue:
    """One thing to correct.

    *path* is dotted, list indexes included (``agents.list.0.id``), empty for the root.
    *file* and *line* (from 1) say where the key stands, None when that is not certain.
    """

    path: str
    message: str
    file: Path | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = "" if self.file is None else f"{self.file}: "
        if self.file is not None and self.line is not None:
            where = f"{self.file}:{self.line}: "
        return one_line(f"{where}{self.path or '<root>'}: {self.message}")


class Fault(NamedTuple):
    """An issue whose key has not yet been looked for in the files."""

    place: Place
    message: str


class ConfigError(Exception):
    """The configuration cannot be used; *issues* has at least one reason.

    *files* are those that were read for it, as far as they are known.
    """

    def __init__(
        self, path: Path, issues: tuple[Issue, ...], files: tuple[Path, ...] = ()
    ) -> None:
        super().__init__(path, issues)
        self.path = path
        self.issues = issues
        named = (issue.file for issue in issues if issue.file is not None)
        self.files = tuple(dict.fromkeys((path, *files, *named)))

    def __str__(self) -> str:
        heading = one_line(f"Invalid config at {self.path}:")
        return "\n".join([heading, *(f"  {issue}" for issue in self.issues)])


class BadField(ValueError):
    """A section's own rule is broken; *place* is where, from that section."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


def dotted(place: Place) -> str:
    """Return *place* in the form of `Issue.path`."""
    return ".".join(printable(str(name)) for name in place)


def bracketed(place: Place) -> str:
    """Return *place* in the form that ``${VAR}`` errors use: ``list[0].name``."""
    steps = (f"[{n}]" if isinstance(n, int) else f".{printable(n)}" for n in place)
    return "".join(steps).removeprefix(".")


def printable(name: str) -> str:
    """Return *name* without control characters and not longer than the limit."""
    tail = "..." if len(name) > MAX_NAME_CHARS else ""
    return one_line(name[:MAX_NAME_CHARS]) + tail


def one_line(text: str) -> str:
    """Return *text* with what could break or colour a line of a log made visible."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
