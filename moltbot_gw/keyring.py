"""The named keys (``gateway.auth.keys``): found by their secrets, or by a proxy's word.

The configuration is their one place: it is checked as a whole, no client can change
``gateway.auth`` over the network, backups and reloads exist already, and whoever sets
up machines by files can set up keys, without their secrets, in the same way.

A secret is ``mbk_<id>_<52 characters>``, with 256 random bits.  Guessing it is
hopeless, so one round of SHA-256 is as good at rest as a slow hash, and costs a request
nothing.  The id finds the one digest to compare with, in constant time.
"""

from __future__ import annotations

import hmac
import math
import secrets
from base64 import b32encode
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from hashlib import sha256

import msgspec

from moltbot_gw.config import AuthKey
from moltbot_gw.errors import KeyExpired
from moltbot_gw.principals import Limits, Principal

PREFIX = "mbk"
_ID_BYTES, _SECRET_BYTES = 5, 32
_NOBODY = bytes(32)
Observer = Callable[[frozenset[str]], None]


class NewSecret(msgspec.Struct, frozen=True):
    """A secret that was just made: what its owner gets, and what is kept of it."""

    text: str
    id: str
    hash: str


def make_secret() -> NewSecret:
    """Return a secret of 256 random bits."""
    key_id = _letters(_ID_BYTES)
    text = f"{PREFIX}_{key_id}_{_letters(_SECRET_BYTES)}"
    return NewSecret(text, key_id, f"sha256:{sha256(text.encode()).hexdigest()}")


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is looked up; two that are equal let the same people do the same."""

    principal: Principal
    digest: bytes | None
    users: tuple[str, ...]

    def same_rights(self, other: _Key) -> bool:
        """Whether who has come in with *other* may stay, whatever its limits are."""
        return self._rights() == other._rights()

    def _rights(self) -> _Key:
        bare = msgspec.structs.replace(self.principal, limits=Limits())
        return msgspec.structs.replace(self, principal=bare)


class KeyRing:
    """The keys that count now; *unix_time* decides which have expired."""

    def __init__(self, keys: Iterable[AuthKey], unix_time: Callable[[], float]) -> None:
        self._unix_time = unix_time
        self._observers: list[Observer] = []
        self._keys: dict[str, _Key] = {}
        self._by_id: dict[bytes, _Key] = {}
        self._load(keys)

    def find(self, presented: bytes | None) -> Principal | None:
        """Return whose secret *presented* is; raise ``KeyExpired``."""
        parts = (presented or b"").split(b"_", 2)
        if presented is None or len(parts) < 3 or parts[0] != PREFIX.encode():
            return None
        key = self._by_id.get(parts[1])
        kept = None if key is None else key.digest
        good = hmac.compare_digest(sha256(presented).digest(), kept or _NOBODY)
        if not good or key is None:
            return None
        return self._checked(key.principal)

    def find_user(self, user: str) -> Principal | None:
        """Return the first key for *user*, as a trusted proxy names him.

        Case does not count.  Raises ``KeyExpired``.
        """
        name = user.lower()
        for key in self._keys.values():
            if any(fnmatchcase(name, pattern) for pattern in key.users):
                return self._checked(key.principal)
        return None

    def is_current(self, principal: Principal) -> bool:
        """Whether the key of *principal* still counts."""
        if principal.is_owner:
            return True
        key = self._keys.get(principal.name)
        return key is not None and key.principal.expires > self._unix_time()

    def limits_of(self, principal: Principal) -> Limits:
        """Return how much *principal* may use now."""
        key = self._keys.get(principal.name)
        return principal.limits if key is None else key.principal.limits

    def observe(self, observer: Observer) -> None:
        """Call *observer* with the names of keys that are gone or mean others now."""
        self._observers.append(observer)

    def replace(self, keys: Iterable[AuthKey]) -> bool:
        """Let *keys* count from now on, and tell whose time is over.

        Return whether they are others than before.
        """
        before = self._keys
        self._load(keys)
        ended = frozenset(
            name
            for name, key in before.items()
            if name not in self._keys or not key.same_rights(self._keys[name])
        )
        if ended:
            for observer in self._observers:
                observer(ended)
        return self._keys != before

    def _load(self, keys: Iterable[AuthKey]) -> None:
        self._keys = {}
        self._by_id = {}
        for entry in keys:
            key = self._keys[entry.name] = _key_of(entry)
            if entry.id is not None:
                self._by_id[entry.id.encode()] = key

    def _checked(self, principal: Principal) -> Principal:
        if principal.expires <= self._unix_time():
            raise KeyExpired(f'The key "{principal.name}" has expired.')
        return principal


def _key_of(entry: AuthKey) -> _Key:
    digest = None
    if entry.hash is not None:
        digest = bytes.fromhex(entry.hash.reveal().partition(":")[2])
    expires = entry.expires
    return _Key(
        principal=Principal(
            name=entry.name,
            scopes=frozenset(entry.scopes),
            agents=entry.agents,
            expires=math.inf if expires is None else expires,
            limits=Limits(
                requests_per_minute=entry.requests_per_minute,
                tokens_per_minute=entry.tokens_per_minute,
                max_concurrent_runs=entry.max_concurrent_runs,
            ),
        ),
        digest=digest,
        users=tuple(user.lower() for user in entry.users),
    )


def _letters(size: int) -> str:
    """Return *size* random bytes as letters and digits, which a double click takes."""
    return b32encode(secrets.token_bytes(size)).decode("ascii").rstrip("=").lower()
