"""What names give away: secrets by their key, variables by their provider."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NOT_LETTER = re.compile(r"[^a-z]")
_SECRET_PARTS = (
    "token",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "apikey",
    "credential",
    "authorization",
    "cookie",
    "bearer",
    "webhook",
)
_LAST_WORDS = frozenset({"key", "keys", "pin", "auth"})
_HOLDERS = frozenset({"env", "headers", "vars", "serviceaccount"})
_NUMBERS = frozenset({"token", "password", "passwd", "passcode", "secret", "pin"})


def is_secret_name(name: str) -> bool:
    """Say whether a value under the key (or variable) *name* is likely a secret."""
    letters = _NOT_LETTER.sub("", name.lower())
    return any(part in letters for part in _SECRET_PARTS) or bool(
        _LAST_WORDS.intersection(_words(name)[-1:])
    )


def is_secret_number_name(name: str) -> bool:
    """Say the same of a number, which under ``maxTokens`` and its like is none."""
    return bool(_NUMBERS.intersection(_words(name)[-1:]))


def holds_secrets(name: str) -> bool:
    """Say whether everything inside the object *name* is to be hidden."""
    return name.lower() in _HOLDERS


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]
