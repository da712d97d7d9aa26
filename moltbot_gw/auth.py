"""Who may speak to the gateway: one shared secret, compared without telling anything.

Only digests are kept and compared, so neither length nor content of the secret shows in
the time that a comparison takes, and no byte of a stranger can make it fail otherwise.
There is no exemption for loopback: behind a reverse proxy everybody is local.
"""

from __future__ import annotations

import hmac
import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from hashlib import sha256

from twisted.internet.interfaces import IReactorTime

from moltbot_gw.errors import TooManyFailures

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


class AuthLimiter:
    """Counts failed authentications by address, for both edges.

    After *most* failures within ``WINDOW`` an address is refused unheard, the right
    secret too, until the oldest of them is a window old: otherwise each answer would
    still tell a guesser whether the guess was right.  Loopback is an address like any
    other, because other users and pages in a browser guess from there.

    *failures* counts wrong secrets and *refusals* who was not heard, since the start.
    """

    WINDOW = 60.0
    MOST_ADDRESSES = 4096

    def __init__(self, clock: IReactorTime, most: int) -> None:
        self._clock = clock
        self._most = most
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self.failures = 0
        self.refusals = 0

    def allow(self, most: int) -> None:
        """Take *most* failures of an address from now on."""
        self._most = most
        for address, times in self._failures.items():
            self._failures[address] = deque(times, maxlen=most)

    @property
    def is_idle(self) -> bool:
        """Whether nobody has failed lately."""
        return not self._failures

    def check(self, address: str) -> None:
        """Raise ``TooManyFailures`` if *address* has failed too often."""
        now = self._clock.seconds()
        self._forget(now - self.WINDOW)
        times: Sequence[float] = self._failures.get(address, ())
        left = times[0] + self.WINDOW - now if len(times) == self._most else 0.0
        if left > 0:
            wait = math.ceil(left)
            self.refusals += 1
            raise TooManyFailures(
                f"Too many wrong secrets came from this address; wait {wait} seconds.",
                retry_after=wait,
            )

    def failed(self, address: str) -> None:
        """Note that *address* brought a wrong secret."""
        self.failures += 1
        now = self._clock.seconds()
        self._forget(now - self.WINDOW)
        times = self._failures.setdefault(address, deque(maxlen=self._most))
        times.append(now)
        self._failures.move_to_end(address)
        if len(self._failures) > self.MOST_ADDRESSES:
            self._failures.popitem(last=False)

    def _forget(self, before: float) -> None:
        """Drop who has not failed since *before*; who failed last stands last."""
        while self._failures:
            address, times = next(iter(self._failures.items()))
            if times[-1] > before:
                break
            del self._failures[address]


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
