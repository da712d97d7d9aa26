"""Make a provider's own error message fit for a stranger."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_CHARS = 300

_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|key|ghp|AIza)[-_]?[A-Za-z0-9*_-]{12,}|Bearer\s+\S+",
    re.IGNORECASE,
)
_PATH = re.compile(
    r"(?<![\w/.])(?:~|[A-Za-z]:|file:/{0,2})?[/\\](?:[\w.+@-]+[/\\])+[\w.+@-]*"
)


def safe_text(text: str, secrets: Iterable[str]) -> str:
    """Return the first line of *text* without *secrets*, key-like words and file paths.

    Control characters become blanks; the result may be empty and has at most
    ``MAX_CHARS`` characters.
    """
    line = next((line for line in text.splitlines() if line.strip()), "")
    for secret in secrets:
        if secret:
            line = line.replace(secret, "***")
    line = _PATH.sub("[path]", _KEY_LIKE.sub("***", line[: 8 * MAX_CHARS]))
    line = "".join(char if char.isprintable() else " " for char in line)
    return " ".join(line.split())[:MAX_CHARS]
