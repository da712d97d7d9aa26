"""What is kept of devices, in the original's form: two JSON files of the state folder.

``pending.json`` maps a request id to a ``PendingView``, ``paired.json`` a device id to
a ``PairedDevice``.  Keys are camelCase in JSON; absent values are left out, and unknown
keys skipped.  Times are Unix milliseconds.  Tokens are there in clear, because the
original's tools read them.

Source: upstream ``src/infra/device-pairing.ts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

Strings = tuple[str, ...]


class _Record(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """An object of either file, or one that is shown to a client."""


class PendingView(_Record, frozen=True, kw_only=True):
    """A request that waits for somebody's approval, as it is stored and shown.

    It holds no secret.  *silent* is true for one of a local client, *is_repair* where
    the device was paired before.
    """

    request_id: str
    device_id: str
    public_key: str
    display_name: str | None = None
    platform: str | None = None
    client_id: str | None = None
    client_mode: str | None = None
    role: str | None = None
    roles: Strings = ()
    scopes: Strings = ()
    remote_ip: str | None = None
    silent: bool | None = None
    is_repair: bool | None = None
    ts: int


class TokenView(_Record, frozen=True, kw_only=True):
    """A device's token for one role, without the token."""

    role: str
    scopes: Strings
    created_at_ms: int
    rotated_at_ms: int | None = None
    revoked_at_ms: int | None = None
    last_used_at_ms: int | None = None


class TokenRecord(_Record, frozen=True, kw_only=True):
    """A device's token for one role; *scopes* are sorted.

    One that was revoked lets nobody in, and is kept to show when that was.
    """

    token: str
    role: str
    scopes: Strings
    created_at_ms: int
    rotated_at_ms: int | None = None
    revoked_at_ms: int | None = None
    last_used_at_ms: int | None = None

    @property
    def issued_at_ms(self) -> int:
        """When this token came into being."""
        return self.rotated_at_ms or self.created_at_ms

    def view(self) -> TokenView:
        """Return what may be shown."""
        fields = msgspec.structs.asdict(self)
        del fields["token"]
        return TokenView(**fields)

    def __repr__(self) -> str:
        return f"TokenRecord({self.role!r}, {self.scopes!r}, token=***)"


class _Device(_Record, frozen=True, kw_only=True):
    device_id: str
    public_key: str
    display_name: str | None = None
    platform: str | None = None
    client_id: str | None = None
    client_mode: str | None = None
    role: str | None = None
    roles: Strings = ()
    scopes: Strings = ()
    remote_ip: str | None = None


class PairedView(_Device, frozen=True, kw_only=True):
    """A paired device as it is shown, its tokens without their values."""

    tokens: tuple[TokenView, ...] = ()
    created_at_ms: int
    approved_at_ms: int


class PairedDevice(_Device, frozen=True, kw_only=True):
    """A device that was let in: for *all_roles*, and for *scopes* in each of them.

    *tokens* has one for each role at most; nobody changes it in place.
    """

    tokens: dict[str, TokenRecord] = {}
    created_at_ms: int
    approved_at_ms: int

    @property
    def all_roles(self) -> Strings:
        """The approved roles; older records name only the one."""
        return self.roles or ((self.role,) if self.role else ())

    def view(self) -> PairedView:
        """Return what may be shown."""
        fields = msgspec.structs.asdict(self)
        fields["tokens"] = tuple(token.view() for token in self.tokens.values())
        return PairedView(**fields)


class Books(msgspec.Struct, frozen=True):
    """All that is known at one moment; a change makes other books."""

    pending: Mapping[str, PendingView] = {}
    paired: Mapping[str, PairedDevice] = {}


_Entry = TypeVar("_Entry", PendingView, PairedDevice)


def decode_pending(data: bytes) -> dict[str, PendingView]:
    """Read ``pending.json``; raise ``ValueError`` or ``RecursionError``."""
    entries = msgspec.json.decode(data, type=dict[str, PendingView])
    if any(key != entry.request_id for key, entry in entries.items()):
        raise ValueError("a request is not under its own id")
    return entries


def decode_paired(data: bytes) -> dict[str, PairedDevice]:
    """Read ``paired.json``; raise ``ValueError`` or ``RecursionError``."""
    entries = msgspec.json.decode(data, type=dict[str, PairedDevice])
    if any(key != entry.device_id for key, entry in entries.items()):
        raise ValueError("a device is not under its own id")
    return entries


def encode(entries: Mapping[str, _Entry]) -> bytes:
    """Return the content of a file."""
    return msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n"
