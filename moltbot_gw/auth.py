"""Who may speak to the gateway: one shared secret, compared without telling anything.

Only digests are kept and compared, so neither length nor content of the secret shows in
the time that a comparison takes, and no byte of a stranger can make it fail otherwise.
There is no exemption for loopback: behind a reverse proxy everybody is local.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256

MIN_SECRET_CHARS = 16
"""Below this a secret is warned of on loopback and refused on any other address."""

_PLACEHOLDERS = frozenset(
    {
        "changeme",
        "change-me",
        "secret",
        "password",
        "token",
        "undefined",
        "null",
        "none",
        "test",
        "your_token",
        "your-token",
        "yourtoken",
        "your-secret-token",
        "my-secret-token",
    }
)
_PLACEHOLDER_STARTS = ("replace", "your_", "your-", "<", "changeme", "change-me", "xxx")


class SharedSecret:
    """The secret that every request must bring; knows its digest only."""

    def __init__(self, secret: str) -> None:
        self._digest = sha256(secret.encode("utf-8", "surrogateescape")).digest()

    def matches(self, presented: bytes | None) -> bool:
        """Whether *presented* is the secret; None is not."""
        digest = sha256(presented or b"").digest()
        return hmac.compare_digest(digest, self._digest) and presented is not None


def bearer_of(values: Sequence[bytes]) -> bytes | None:
    """Return the token of the one ``Authorization`` header, or None.

    The scheme's case does not matter (RFC 9110, section 11.1); of two headers neither
    counts.
    """
    if len(values) != 1:
        return None
    scheme, _, token = values[0].strip().partition(b" ")
    if scheme.lower() != b"bearer":
        return None
    return token.strip() or None


def find_weakness(secret: str) -> str | None:
    """Return what is wrong with *secret*, fit for a log, or None."""
    lowered = secret.strip().lower()
    if lowered in _PLACEHOLDERS or lowered.startswith(_PLACEHOLDER_STARTS):
        return "is a placeholder"
    if len(secret) < MIN_SECRET_CHARS:
        return f"is shorter than {MIN_SECRET_CHARS} characters"
    return None
