"""The tokens of paired devices: checked, rotated, revoked, as functions of books."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from hashlib import sha256

import msgspec

from moltbot_gw.devices import ledger
from moltbot_gw.devices.records import Books, PairedDevice, Strings, TokenRecord
from moltbot_gw.devices.values import (
    IssuedToken,
    ScopesTooWide,
    UnknownDevice,
    check_scopes,
    covers,
)

USE_NOTED_EVERY_MS = 60_000
"""How exact the time of a token's last use is."""


def find_valid(
    books: Books, device_id: str, presented: str, role: str, scopes: Collection[str]
) -> TokenRecord | None:
    """Return the token of the device and role, if *presented* is it and it may serve.

    It may when it was not revoked and has all of *scopes*.  Digests are compared, so
    the time taken tells nothing of the token.
    """
    device = books.paired.get(device_id)
    token = device.tokens.get(role) if device is not None else None
    same = hmac.compare_digest(
        _digest(presented), _digest(token.token if token else "")
    )
    if not same or not presented or token is None or token.revoked_at_ms:
        return None
    return token if covers(token.scopes, scopes) else None


def is_use_due(token: TokenRecord, now_ms: int) -> bool:
    """Say whether the last use that is noted is a minute old."""
    return now_ms - (token.last_used_at_ms or 0) >= USE_NOTED_EVERY_MS


def note_use(books: Books, device_id: str, token: TokenRecord, now_ms: int) -> Books:
    """Return the books with the use of *token*, unless it was replaced meanwhile."""
    device = books.paired.get(device_id)
    if device is None or device.tokens.get(token.role) != token:
        return books
    used = msgspec.structs.replace(token, last_used_at_ms=now_ms)
    return ledger.with_device(books, ledger.with_token(device, used))


def rotate(
    books: Books, device_id: str, role: str, scopes: Strings | None, now_ms: int
) -> tuple[Books, IssuedToken]:
    """Replace a token; without *scopes*, keep those of the last one.

    Raises ``UnknownDevice`` also for a role that the device was not approved for, and
    ``ScopesTooWide``.
    """
    device = _get(books, device_id, role)
    if scopes is None:
        last = device.tokens.get(role)
        scopes = last.scopes if last is not None else device.scopes
    check_scopes(scopes)
    if not covers(device.scopes, scopes):
        raise ScopesTooWide
    device = ledger.renewed(device, role, scopes, now_ms)
    return ledger.with_device(books, device), ledger.issued(device.tokens[role])


def revoke(books: Books, device_id: str, role: str, now_ms: int) -> tuple[Books, int]:
    """Make a token worthless and return since when it is; raise ``UnknownDevice``."""
    device = _get(books, device_id, role)
    token = device.tokens.get(role)
    if token is None:
        raise UnknownDevice
    if token.revoked_at_ms:
        return books, token.revoked_at_ms
    revoked = msgspec.structs.replace(token, revoked_at_ms=now_ms)
    device = ledger.with_token(device, revoked)
    return ledger.with_device(books, device), now_ms


def _get(books: Books, device_id: str, role: str) -> PairedDevice:
    device = books.paired.get(device_id)
    if device is None or role not in device.all_roles:
        raise UnknownDevice
    return device


def _digest(text: str) -> bytes:
    # A client's JSON can spell half of a surrogate pair.
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
