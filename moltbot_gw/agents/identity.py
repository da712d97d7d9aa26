"""What an agent says of itself in ``IDENTITY.md`` of its workspace.

Lines such as ``- Name: X``, ``- Emoji: Y``, ``- Theme: Z``, ``- Avatar: A``; the words
may stand in asterisks.  The template's own hints, in brackets, say nothing.

Source: upstream ``src/agents/identity-file.ts``.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import msgspec

FILE_NAME = "IDENTITY.md"
MAX_FILE_BYTES = 64 * 1024
MAX_VALUE_CHARS = 1000

# An agent writes the file: no run of characters may be read in two ways, or a long one
# takes minutes.
_LINE = re.compile(
    r"^[ \t]*(?:[-*_][ \t*_]*)?(name|emoji|theme|avatar)[ \t*_]*:([^\n]*)$", re.I | re.M
)
_Signature = tuple[int, int, int]


class IdentityLines(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says."""

    name: str | None = None
    emoji: str | None = None
    theme: str | None = None
    avatar: str | None = None


_NOTHING = IdentityLines()


class IdentityFile:
    """The file of one workspace, read again only when it has changed.

    A look costs one ``stat``, and a change the reading of at most ``MAX_FILE_BYTES``;
    either may block on the disk.
    """

    def __init__(self, workspace: Path) -> None:
        self._path = os.path.join(workspace, FILE_NAME)
        self._known: tuple[_Signature, IdentityLines] | None = None

    def read(self) -> IdentityLines:
        """Return what the file says; nothing if it cannot be read."""
        try:
            found = os.stat(self._path)
            signature = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._known is not None and self._known[0] == signature:
                return self._known[1]
            if not stat.S_ISREG(found.st_mode):
                return _NOTHING  # opening a pipe would wait for its writer
            with open(self._path, "rb") as file:
                data = file.read(MAX_FILE_BYTES)
        except OSError:
            return _NOTHING
        lines = parse_identity(data.decode("utf-8", "replace"))
        self._known = (signature, lines)
        return lines


def parse_identity(text: str) -> IdentityLines:
    """Return what *text* says; of several lines with one name the first counts."""
    said: dict[str, str] = {}
    for match in _LINE.finditer(text):
        value = match[2].strip(" \t\r*_")[:MAX_VALUE_CHARS]
        if value and not value.startswith(("(", "[")):
            said.setdefault(match[1].lower(), value)
    return IdentityLines(**said)
