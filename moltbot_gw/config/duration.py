"""Durations as the configuration writes them: ``30m``, ``1h``, ``90s``, ``500ms``."""

from __future__ import annotations

import math
import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds that *text* says; a bare number is in minutes.

    Blanks around it and upper case are allowed.  Raises `ValueError` for anything else.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _SECONDS[match[2] or "m"] if match else math.inf
    if not math.isfinite(seconds):
        raise ValueError('expected a duration such as "90s", "30m", "1h" or "7d"')
    return seconds
