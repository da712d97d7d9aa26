"""Named keys: who else than the owner of the one secret may do what, and how much."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from .fields import NotEmpty, Positive, Section, Strings, Text, ours
from .issues import BadField
from .secret import Secret

KeyScope = Literal[
    "chat",
    "operator.read",
    "operator.write",
    "operator.approvals",
    "operator.pairing",
    "operator.admin",
]
"""``chat`` is the HTTP endpoints; the others are rights of the gateway protocol."""

MAX_KEYS = 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID = re.compile(r"[a-z0-9]{4,32}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_AGENT = re.compile(r"[a-z0-9*][a-z0-9_*-]{0,63}")
_USER = re.compile(r"[!->@-Z\\^-~]{1,256}")  # [, ] and ? mean something in patterns
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_OTHER_HEADERS = frozenset(
    {"host", "origin", "authorization", "cookie", "forwarded", "connection"}
    | {"x-forwarded-for", "x-real-ip", "x-forwarded-host", "x-request-id"}
)


class AuthKey(Section, frozen=True, kw_only=True):
    """ours: a named key; ``moltbot keys create`` makes them."""

    name: Annotated[NotEmpty, ours("what logs and metrics call it")]
    id: Annotated[Text, ours("the second part of its secret, which is no secret")] = (
        None
    )
    hash: Annotated[
        Secret | None, ours("sha256: and the digest of its secret in hex digits")
    ] = None
    users: Annotated[
        Strings,
        ours("whom a trusted proxy may name instead of the secret; * for any text"),
    ] = ()
    scopes: Annotated[
        tuple[KeyScope, ...],
        ours("chat: the HTTP endpoints; operator.*: rights by WebSocket"),
    ] = ("chat",)
    agents: Annotated[
        Strings, ours("the agents that it may use; * for any text in a name")
    ] = ("*",)
    expires_at: Annotated[
        Text, ours("from when it is worth nothing, as 2027-01-31T00:00:00Z")
    ] = None
    requests_per_minute: Annotated[
        Positive | None, ours("requests that start runs")
    ] = None
    tokens_per_minute: Annotated[
        Positive | None, ours("tokens of its runs, prompts included")
    ] = None
    max_concurrent_runs: Annotated[
        Positive | None, ours("its runs at the same time, waiting ones included")
    ] = None

    @property
    def expires(self) -> float | None:
        """Unix seconds of ``expiresAt``."""
        return None if self.expires_at is None else parse_instant(self.expires_at)

    def __post_init__(self) -> None:
        _check(_NAME, self.name, "name", "letters, digits, dots and dashes, 64 at most")
        self._check_secret()
        for index, user in enumerate(self.users):
            if not _USER.fullmatch(user):
                message = "expected a name without blanks, brackets and question marks"
                raise BadField(("users", index), message)
        if not self.scopes:
            raise BadField(("scopes",), "name at least one scope")
        agents = tuple(pattern.strip().lower() for pattern in self.agents)
        for index, agent in enumerate(agents):
            if not _AGENT.fullmatch(agent):
                raise BadField(("agents", index), 'expected the id of an agent, or "*"')
        if not agents:
            raise BadField(("agents",), 'name at least one agent, or "*" for all')
        if "*" not in agents and self.scopes != ("chat",):
            # Operators see every run, and every session, of every agent.
            message = 'operators see all agents; use "*", or the scope chat alone'
            raise BadField(("agents",), message)
        msgspec.structs.force_setattr(self, "agents", agents)
        if self.expires_at is not None:
            try:
                parse_instant(self.expires_at)
            except ValueError as error:
                raise BadField(("expiresAt",), str(error)) from None

    def _check_secret(self) -> None:
        if self.hash is None and not self.users:
            raise BadField(
                (), "a key needs id and hash (moltbot keys create), or users"
            )
        if (self.id is None) != (self.hash is None):
            raise BadField((), "id and hash belong together")
        if self.id is not None and self.hash is not None:
            _check(_ID, self.id, "id", "4 to 32 of a-z and 0-9")
            _check(_HASH, self.hash.reveal(), "hash", '"sha256:" and 64 hex digits')


class TrustedProxy(Section, frozen=True, kw_only=True):
    """ours: a proxy of ``gateway.trustedProxies`` that has checked who its user is."""

    user_header: Annotated[
        Text, ours("the header in which it names its user, for keys with users")
    ] = None

    def __post_init__(self) -> None:
        if self.user_header is None:
            return
        _check(_HEADER, self.user_header, "userHeader", "the name of a header")
        if self.user_header.lower() in _OTHER_HEADERS:
            raise BadField(("userHeader",), "this header has another meaning")


def check_keys(keys: tuple[AuthKey, ...], user_header: str | None) -> None:
    """Raise `BadField` for what is wrong between *keys*, from ``gateway.auth``."""
    if len(keys) > MAX_KEYS:
        raise BadField(("keys",), f"there may be {MAX_KEYS} keys")
    names: dict[str, int] = {}
    ids: dict[str, int] = {}
    for index, key in enumerate(keys):
        if names.setdefault(key.name.lower(), index) != index:
            message = f"the same name as keys.{names[key.name.lower()]}"
            raise BadField(("keys", index, "name"), message)
        if key.id is not None and ids.setdefault(key.id, index) != index:
            raise BadField(("keys", index, "id"), f"the same id as keys.{ids[key.id]}")
        if key.users and user_header is None:
            message = "needs gateway.auth.trustedProxy.userHeader"
            raise BadField(("keys", index, "users"), message)


def parse_instant(text: str) -> float:
    """Return the Unix seconds of *text* (RFC 3339); raise `ValueError`."""
    try:
        # Python 3.10 does not read the Z.
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text.strip()))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("expected a time with its zone, as 2027-01-31T00:00:00Z")
    return moment.timestamp()


def _check(pattern: re.Pattern[str], text: str, name: str, expected: str) -> None:
    if not pattern.fullmatch(text):
        raise BadField((name,), f"expected {expected}")
