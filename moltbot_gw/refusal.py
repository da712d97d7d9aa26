"""Why the daemon does not start: one clear line, and the exit status for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: starting again would fail again."""


class StartRefused(Exception):
    """The daemon must not start; the text is for the operator's terminal.

    *files* are those that were read, as far as they are known: to mend one of them may
    be enough.
    """

    def __init__(self, text: str, files: Iterable[Path] = ()) -> None:
        super().__init__(text)
        self.files = tuple(files)
