"""Why the daemon does not start: one clear line, and the exit status for it."""

from __future__ import annotations

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: starting again would fail again."""


class StartRefused(Exception):
    """The daemon must not start; the text is for the operator's terminal."""
