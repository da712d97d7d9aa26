"""The decisions of pairing, as functions from books to books.

What must hold: a device is the pair of its id and its public key, so a record with
another key lends it nothing; a token's scopes are never wider than what its device was
approved for; books are not changed in place.

Times are Unix milliseconds.  Source: upstream ``src/infra/device-pairing.ts``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import TypeVar
from uuid import uuid4

import msgspec

from moltbot_gw.devices.records import (
    Books,
    PairedDevice,
    PendingView,
    Strings,
    TokenRecord,
)
from moltbot_gw.devices.values import (
    Authorized,
    IssuedToken,
    PairingRequest,
    PairingRequired,
    Resolved,
    TooManyDevices,
    check_scopes,
    covers,
)

PENDING_TTL_MS = 300_000
MAX_PENDING = 64
MAX_PAIRED = 1024

_replace = msgspec.structs.replace
_V = TypeVar("_V")


def without_expired(books: Books, now_ms: int) -> Books:
    """Return the books without requests older than five minutes, or set in the future.

    The latter are what a clock leaves behind that was set back.
    """
    fresh = {
        request_id: pending
        for request_id, pending in books.pending.items()
        if abs(now_ms - pending.ts) <= PENDING_TTL_MS
    }
    return _replace(books, pending=fresh)


def authorize(
    books: Books, request: PairingRequest, now_ms: int
) -> tuple[Books, Authorized | PairingRequired]:
    """Let a device in, or say which request must be approved first."""
    device = books.paired.get(request.device_id)
    if (
        device is not None
        and device.public_key == request.public_key
        and _covers(device, request.role, request.scopes)
    ):
        return _welcome(books, device, request, now_ms)
    if request.is_local:
        return _approve_now(books, request, now_ms)
    older = _pending_of(books, request)
    if older is not None:
        waiting = PairingRequired(
            request_id=older.request_id, pending=older, is_new=False
        )
        return books, waiting
    return _ask(books, request, now_ms)


def approve(
    books: Books, pending: PendingView, now_ms: int
) -> tuple[Books, PairedDevice]:
    """Pair a device as *pending* asks, add its role and scopes, give it a fresh token.

    A record with another public key is replaced, and nothing of it stays.  Raises
    ``TooManyDevices``, and ``InvalidRequest`` if the scopes become too many.
    """
    known = books.paired.get(pending.device_id)
    if known is None and len(books.paired) >= MAX_PAIRED:
        raise TooManyDevices(
            f"{MAX_PAIRED} devices are paired already, and there is no place for more."
        )
    if known is None or known.public_key != pending.public_key:
        known = _stranger(pending, now_ms)
    roles = pending.roles or ((pending.role,) if pending.role else ())
    device = _replace(
        _described(known, pending),
        roles=_merged(known.all_roles, roles),
        scopes=_merged(known.scopes, pending.scopes),
        approved_at_ms=now_ms,
    )
    check_scopes(device.scopes)
    if pending.role:
        device = _extended(device, pending.role, pending.scopes, now_ms)
    books = _replace(books, pending=_without(books.pending, pending.request_id))
    return with_device(books, device), device


def reject(books: Books, pending: PendingView) -> Books:
    """Forget a request."""
    return _replace(books, pending=_without(books.pending, pending.request_id))


def renewed(
    device: PairedDevice, role: str, scopes: Iterable[str], now_ms: int
) -> PairedDevice:
    """Return the device with another token for *role*, for exactly *scopes*."""
    before = device.tokens.get(role)
    token = TokenRecord(
        token=secrets.token_hex(16),
        role=role,
        scopes=tuple(sorted(set(scopes))),
        created_at_ms=before.created_at_ms if before else now_ms,
        rotated_at_ms=now_ms if before else None,
        last_used_at_ms=before.last_used_at_ms if before else None,
    )
    return with_token(device, token)


def with_token(device: PairedDevice, token: TokenRecord) -> PairedDevice:
    """Return the device with *token* in the place of its role."""
    return _replace(device, tokens={**device.tokens, token.role: token})


def with_device(books: Books, device: PairedDevice) -> Books:
    """Return the books with *device* in the place of its id."""
    return _replace(books, paired={**books.paired, device.device_id: device})


def issued(token: TokenRecord) -> IssuedToken:
    """Return what the device itself may see of its token."""
    return IssuedToken(
        token=token.token,
        role=token.role,
        scopes=token.scopes,
        issued_at_ms=token.issued_at_ms,
    )


def _welcome(
    books: Books, device: PairedDevice, request: PairingRequest, now_ms: int
) -> tuple[Books, Authorized]:
    """Note what the device says of itself, and see that it has a token."""
    device = _replace(_described(device, request), roles=device.all_roles)
    token = device.tokens.get(request.role)
    if token is None or token.revoked_at_ms or not _within(request.scopes, token):
        device = _extended(device, request.role, request.scopes, now_ms)
    authorized = Authorized(token=issued(device.tokens[request.role]))
    return with_device(books, device), authorized


def _approve_now(
    books: Books, request: PairingRequest, now_ms: int
) -> tuple[Books, Authorized]:
    """Approve a local request, and with it an older one that asked for no more."""
    older = _pending_of(books, request)
    pending = _pending(books, request, now_ms)
    books, device = approve(books, pending, now_ms)
    if older is not None and _covers(device, older.role or "", older.scopes):
        pending = older
        books = reject(books, older)
    resolved = Resolved(
        request_id=pending.request_id,
        device_id=device.device_id,
        decision="approved",
        ts=now_ms,
        device=device.view(),
    )
    return books, Authorized(
        token=issued(device.tokens[request.role]), resolved=resolved
    )


def _ask(
    books: Books, request: PairingRequest, now_ms: int
) -> tuple[Books, PairingRequired]:
    """Store a request; of too many, the oldest goes: its device asks again anyway."""
    pending = _pending(books, request, now_ms)
    newest = sorted(books.pending.values(), key=lambda each: each.ts)[1 - MAX_PENDING :]
    kept = {each.request_id: each for each in (*newest, pending)}
    waiting = PairingRequired(
        request_id=pending.request_id, pending=pending, is_new=True
    )
    return _replace(books, pending=kept), waiting


def _pending(books: Books, request: PairingRequest, now_ms: int) -> PendingView:
    return PendingView(
        request_id=str(uuid4()),
        device_id=request.device_id,
        public_key=request.public_key,
        display_name=request.display_name,
        platform=request.platform,
        client_id=request.client_id,
        client_mode=request.client_mode,
        role=request.role,
        roles=(request.role,),
        scopes=request.scopes,
        remote_ip=request.remote_ip,
        silent=request.is_local,
        is_repair=request.device_id in books.paired,
        ts=now_ms,
    )


def _pending_of(books: Books, request: PairingRequest) -> PendingView | None:
    identity = (request.device_id, request.public_key)
    for pending in books.pending.values():
        if (pending.device_id, pending.public_key) == identity:
            return pending
    return None


def _covers(device: PairedDevice, role: str, scopes: Strings) -> bool:
    return role in device.all_roles and covers(device.scopes, scopes)


def _within(scopes: Strings, token: TokenRecord) -> bool:
    return set(scopes) <= set(token.scopes)


def _extended(
    device: PairedDevice, role: str, scopes: Strings, now_ms: int
) -> PairedDevice:
    """Return the device with another token, for *scopes* and those of the last one.

    Two programs of one device that ask for different scopes would otherwise take the
    token from each other at every connection.
    """
    token = device.tokens.get(role)
    if token is not None and not token.revoked_at_ms:
        scopes += tuple(scope for scope in token.scopes if scope in device.scopes)
    return renewed(device, role, scopes, now_ms)


def _stranger(pending: PendingView, now_ms: int) -> PairedDevice:
    return PairedDevice(
        device_id=pending.device_id,
        public_key=pending.public_key,
        created_at_ms=now_ms,
        approved_at_ms=now_ms,
    )


def _described(
    device: PairedDevice, source: PairingRequest | PendingView
) -> PairedDevice:
    """Return the device with what *source* says of it, where it says something."""
    return _replace(
        device,
        display_name=source.display_name or device.display_name,
        platform=source.platform or device.platform,
        client_id=source.client_id or device.client_id,
        client_mode=source.client_mode or device.client_mode,
        role=source.role or device.role,
        remote_ip=source.remote_ip or device.remote_ip,
    )


def _merged(first: Strings, second: Strings) -> Strings:
    return tuple(dict.fromkeys(first + second))


def _without(entries: Mapping[str, _V], key: str) -> dict[str, _V]:
    return {name: entry for name, entry in entries.items() if name != key}
