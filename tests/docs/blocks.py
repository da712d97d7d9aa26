"""The examples in the manual's sources, and what is to be done with each.

A comment right before a block says it; without one the language decides:

``.. example: not run, REASON``
    It cannot run here; the reason is for the list that a test prints.
``.. example: setup a gateway with the token $TOKEN``
    A gateway with the echo agent runs from here to the end of the page.
``.. example: file PATH`` (``, which is wrong`` may follow)
    It is what the file holds from here on.
``.. example: background, until "TEXT"``
    It goes on in the background once it has written the text.
``.. example: fails with status N``
    It ends with this status.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
MARK = ".. example:"

_FENCE = re.compile(r"( *)\.\. code-block:: (\S+)")
_OPTION = re.compile(r" +:[a-z-]+:")


@attrs.frozen(kw_only=True)
class Block:
    """One example: *mark* is what its comment says, empty without one."""

    page: str
    line: int
    language: str
    text: str
    mark: str

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        """Whether it is meant to run."""
        return not self.mark.startswith("not run")

    def said(self, pattern: str) -> re.Match[str] | None:
        """Return the match of the whole mark."""
        return re.fullmatch(pattern, self.mark)


def pages() -> list[Path]:
    """Return the sources that have examples, the README included."""
    docs = ROOT / "docs"
    sources = sorted(p for p in docs.rglob("*.rst") if "_build" not in p.parts)
    return [ROOT / "README.rst", *sources]


def blocks_of(path: Path) -> list[Block]:
    """Return the examples of one source, in their order."""
    return list(find_blocks(path.relative_to(ROOT).as_posix(), path.read_text()))


def find_blocks(page: str, source: str) -> Iterator[Block]:
    """Yield the examples in *source*, which is a *page*."""
    lines = source.splitlines()
    for number, line in enumerate(lines):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            continue
        above = lines[number - 1] if number else ""
        yield Block(
            page=page,
            line=number + 1,
            language=fence[2],
            text=_body(lines[number + 1 :], len(fence[1])),
            mark=_mark(above),
        )


def _mark(line: str) -> str:
    """Return what a comment says of the example below it."""
    mark = line.strip()
    return mark.removeprefix(MARK).strip() if mark.startswith(MARK) else ""


def _body(lines: list[str], indent: int) -> str:
    """Return what is indented deeper than the fence, without options."""
    body: list[str] = []
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        if body or not _OPTION.match(line):
            body.append(line)
    return textwrap.dedent("\n".join(body)).strip("\n") + "\n"
