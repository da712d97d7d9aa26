"""Replace one passage of a text, and tell a model why it cannot be done."""

from __future__ import annotations

import re

from moltbot_gw.tooling import ToolFailed

_MOST_LINES_TOLD = 5


def replaced(text: str, old: str, new: str) -> tuple[str, int]:
    """Return *text* with *new* for *old*, and the line (from 1) of the place.

    *old* must be there exactly once.  Models write LF where a file has CRLF: line ends
    are taken as the file has them, and all else stays as it is.  Raises ``ToolFailed``.
    """
    if old == new:
        raise ToolFailed("newText: it is the same as oldText; nothing would change.")
    for one, other in _spellings(text, old, new):
        at = text.find(one)
        if at < 0:
            continue
        # From the next character, so that places that overlap count, too.
        if text.find(one, at + 1) >= 0:
            raise ToolFailed(_several(text, one))
        if one == other:
            raise ToolFailed("newText: it differs in line ends only; they are kept.")
        return text[:at] + other + text[at + len(one) :], _line_at(text, at)
    raise ToolFailed(_missing(text, old))


def _spellings(text: str, old: str, new: str) -> list[tuple[str, str]]:
    """Return *old* and *new* with the line ends that *text* may have them in."""
    plain = (_with_ends(old, "\n"), _with_ends(new, "\n"))
    windows = (_with_ends(old, "\r\n"), _with_ends(new, "\r\n"))
    number = text.count("\r\n")
    if not number:
        return [plain]
    if number == text.count("\n"):
        return [windows]
    return [(old, new), windows, plain]


def _with_ends(text: str, end: str) -> str:
    return re.sub("\r?\n", end, text)


def _line_at(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _several(text: str, old: str) -> str:
    lines: list[str] = []
    at = text.find(old)
    while at >= 0 and len(lines) <= _MOST_LINES_TOLD:
        lines.append(str(_line_at(text, at)))
        at = text.find(old, at + 1)
    if len(lines) > _MOST_LINES_TOLD:
        lines[-1] = "..."
    return (
        f"oldText: it is there more than once (lines {', '.join(lines)}); add lines "
        "around it until it is unique."
    )


def _missing(text: str, old: str) -> str:
    """Say that *old* is not there; point to a place that differs in blanks only."""
    message = "oldText: it is not in the file; it must match exactly, with all blanks"
    near = _without_margins(old).strip()
    # A regular expression could take for ever here, and stop all other threads.
    lines = _without_margins(text)
    at = lines.find(near) if near else -1
    if at < 0:
        return f"{message}. Read the file again."
    return f"{message}. Line {_line_at(lines, at)} differs in blanks only."


def _without_margins(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))
