"""What commands write: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import re
import sys
from typing import IO, Any

import click

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000


class Failure(click.ClickException):
    """Ends the command with status 1 and these lines on stderr."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message as it is; terminals get no control characters of others."""
        click.echo(printable(self.message), err=True, file=file)


def write_json(value: Any) -> None:
    """Write *value* for scripts: JSON with two blanks of indent."""
    click.echo(for_stdout(json.dumps(value, indent=2, ensure_ascii=False)))


def write(line: str = "") -> None:
    """Write a line of text for people."""
    click.echo(for_stdout(line))


def warn(line: str) -> None:
    """Write a line to stderr."""
    click.echo(printable(line), err=True)


def printable(text: str) -> str:
    """Return *text* without what could command a terminal; lines and tabs stay."""
    return _CONTROL.sub("", text)


def for_stdout(text: str) -> str:
    """Return *text* as it is for a file, and fit for a terminal if there is one."""
    return printable(text) if sys.stdout.isatty() else text


def counted(number: int, noun: str) -> str:
    """Return *number* and *noun*, in the plural where there is not just one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def age(since_ms: float | None, now_ms: float) -> str:
    """Return how long ago *since_ms* was."""
    return "unknown" if since_ms is None else age_of(now_ms - since_ms)


def age_of(passed_ms: float) -> str:
    """Return a time that has passed, in words."""
    if passed_ms < _MINUTE:
        return "just now"
    if passed_ms < _HOUR:
        return f"{int(passed_ms // _MINUTE)}m ago"
    if passed_ms < 2 * _DAY:
        return f"{int(passed_ms // _HOUR)}h ago"
    return f"{int(passed_ms // _DAY)}d ago"


def thousands(tokens: float) -> str:
    """Return a number of tokens in few characters: 950, 1.5k, 12k, 2.0m."""
    if tokens < 1000:
        return str(int(tokens))
    if tokens < 10_000:
        return f"{tokens / 1000:.1f}k".replace(".0k", "k")
    if tokens < 1_000_000:
        return f"{round(tokens / 1000)}k"
    return f"{tokens / 1_000_000:.1f}m"


def shorten(text: str, width: int) -> str:
    """Return *text* in at most *width* characters, its beginning and its end."""
    if len(text) <= width:
        return text
    return f"{text[: width - 10]}...{text[-6:]}" if width >= 20 else text[:width]


def columns(rows: list[list[str]], widths: tuple[int, ...]) -> str:
    """Return *rows* as lines; the last column is as wide as it likes."""
    padded = [
        [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        + row[len(widths) :]
        for row in rows
    ]
    return "\n".join(" ".join(row).rstrip() for row in padded)
