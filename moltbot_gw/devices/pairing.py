"""The store of pending and paired devices, for the edge.

What must hold: what a call has answered is on the disk; changes happen one after the
other; memory never says what the disk does not.  Hence the books are a value: a change
makes other ones, which take the place of the last only once they are written.

A call that has begun is done to its end though its caller goes away: a thread cannot be
called back, and a second one must not write beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from moltbot_gw.devices import ledger, tokens
from moltbot_gw.devices.files import DeviceFiles, Notices
from moltbot_gw.devices.records import Books, PairedView, PendingView, TokenRecord
from moltbot_gw.devices.values import (
    Authorized,
    IssuedToken,
    PairingRequest,
    PairingRequired,
    Resolved,
    ScopesTooWide,
    TokenRevoked,
    TooManyDevices,
    UnknownDevice,
    UnknownRequest,
)
from moltbot_gw.errors import StoreFailed
from moltbot_gw.interfaces import RunInThread

__all__ = [
    "Authorized",
    "IssuedToken",
    "PairedView",
    "PairingRequest",
    "PairingRequired",
    "PairingStore",
    "PendingView",
    "Resolved",
    "ScopesTooWide",
    "TokenRevoked",
    "TooManyDevices",
    "UnknownDevice",
    "UnknownRequest",
]

_log = Logger()

_T = TypeVar("_T")

_Step = Callable[[Books, int], tuple[Books, _T]]
"""From books and the time (Unix milliseconds) to other books and an answer."""


class PairingStore:
    """Which devices may come in, and by which tokens.

    *folder* is ``<state>/devices``; it is read at the first call, and no other program
    may write there.  *unix_time* is in seconds.  Every method may errback with
    ``StoreFailed``; then nothing has changed, and the next call tries anew.
    """

    def __init__(
        self,
        folder: Path,
        *,
        unix_time: Callable[[], float],
        run_in_thread: RunInThread,
    ) -> None:
        self._folder = folder
        self._files = DeviceFiles(folder)
        self._unix_time = unix_time
        self._run_in_thread = run_in_thread
        self._books: Books | None = None
        self._waiting: deque[tuple[_Step[Any], Deferred[Any]]] = deque()
        self._is_working = False

    async def authorize(
        self, request: PairingRequest, token: str | None = None
    ) -> Authorized | PairingRequired:
        """Let a verified device in, or say which request must be approved first.

        A paired device gets the token that it has, or another one if that was revoked
        or has not all the scopes.  A local device is approved on the spot, also when a
        request of it from elsewhere still waits.  Of more than 64 waiting requests the
        oldest is dropped.  A device that came by its *token* must still have it: it
        may have been revoked since ``check_token``.  Raises ``InvalidRequest``,
        ``TooManyDevices``, ``TokenRevoked``.
        """
        bounded = request.bounded()
        decision = await self._change(
            lambda books, now_ms: _authorized(books, bounded, token, now_ms)
        )
        if isinstance(decision, Authorized) and decision.resolved is not None:
            _tell(decision.resolved, "it is local")
        return decision

    async def check_token(
        self, device_id: str, token: str, role: str, scopes: Collection[str]
    ) -> bool:
        """Say whether *token* lets the device in for *role* with all of *scopes*.

        Its use is noted once a minute at most; that this fails keeps nobody out.
        """
        valid, is_due = await self._change(
            lambda books, now_ms: _checked(
                books, tokens.find_valid(books, device_id, token, role, scopes), now_ms
            )
        )
        if valid is not None and is_due:
            await self._note_use(device_id, valid)
        return valid is not None

    async def list(self) -> tuple[tuple[PendingView, ...], tuple[PairedView, ...]]:
        """Return what waits and what is paired, newest first, without any token."""
        return await self._change(lambda books, _: (books, _listed(books)))

    async def approve(self, request_id: str) -> Resolved:
        """Pair the device of a waiting request; raise ``UnknownRequest``.

        Also raises ``TooManyDevices`` and ``InvalidRequest``; the request stays then.
        """
        resolved = await self._change(
            lambda books, now_ms: _approved(books, request_id, now_ms)
        )
        _tell(resolved, "somebody decided so")
        return resolved

    async def reject(self, request_id: str) -> Resolved:
        """Forget a waiting request; raise ``UnknownRequest``."""
        resolved = await self._change(
            lambda books, now_ms: _rejected(books, request_id, now_ms)
        )
        _tell(resolved, "somebody decided so")
        return resolved

    async def rotate(
        self, device_id: str, role: str, scopes: Collection[str] | None
    ) -> IssuedToken:
        """Replace a device's token, revoked or not; None keeps its scopes.

        Raises ``UnknownDevice``, and ``ScopesTooWide`` for scopes that the device was
        not approved for.
        """
        wanted = None if scopes is None else tuple(scopes)
        issued = await self._change(
            lambda books, now_ms: tokens.rotate(books, device_id, role, wanted, now_ms)
        )
        _log.info("device {id}: token for {role} rotated", id=device_id, role=role)
        return issued

    async def revoke(self, device_id: str, role: str) -> int:
        """Make a device's token worthless; return since when (Unix milliseconds).

        Raises ``UnknownDevice``.  The device stays paired: with the shared secret it
        gets another token.
        """
        revoked_at_ms = await self._change(
            lambda books, now_ms: tokens.revoke(books, device_id, role, now_ms)
        )
        _log.info("device {id}: token for {role} revoked", id=device_id, role=role)
        return revoked_at_ms

    async def _note_use(self, device_id: str, token: TokenRecord) -> None:
        with suppress(StoreFailed):  # it is in the log
            await self._change(
                lambda books, now_ms: (
                    tokens.note_use(books, device_id, token, now_ms),
                    None,
                )
            )

    def _change(self, step: _Step[_T]) -> Deferred[_T]:
        """Do *step* after all others.  Cancelling stops the waiting, not the work."""
        answer: Deferred[_T] = Deferred()
        self._waiting.append((step, answer))
        if not self._is_working:
            self._is_working = True
            work = Deferred.fromCoroutine(self._work())
            work.addErrback(lambda failure: _log.failure("device store", failure))
        return answer

    async def _work(self) -> None:
        # A loop, and no DeferredLock: its release calls the next waiter from within,
        # and some hundred devices that come back at once would exhaust the stack.
        while self._waiting:
            step, answer = self._waiting.popleft()
            if answer.called:  # cancelled
                continue
            try:
                result = await self._do(step)
            except Exception:  # it is the caller's, whatever it is
                answer.errback()
            else:
                answer.callback(result)
        self._is_working = False

    async def _do(self, step: _Step[_T]) -> _T:
        now_ms = int(self._unix_time() * 1000)
        before = ledger.without_expired(await self._loaded(now_ms), now_ms)
        after, answer = step(before, now_ms)
        if after != before:
            await self._save(before, after)
        self._books = after
        return answer

    async def _loaded(self, now_ms: int) -> Books:
        if self._books is None:
            try:
                load = self._run_in_thread(lambda: self._files.load(now_ms))
                self._books, notices = await load
            except OSError as error:
                raise self._failure("read", error) from None
            _warn(notices)
        return self._books

    async def _save(self, before: Books, after: Books) -> None:
        try:
            _warn(await self._run_in_thread(lambda: self._files.save(before, after)))
        except OSError as error:
            raise self._failure("written", error) from None

    def _failure(self, what: str, error: OSError) -> StoreFailed:
        _log.error(
            "the device store in {folder} could not be {what}: {reason}",
            folder=str(self._folder),
            what=what,
            reason=error.strerror,
        )
        return StoreFailed(
            f"The device store could not be {what}: {error.strerror}.",
            code="device_store_error",
        )


def _authorized(
    books: Books, request: PairingRequest, token: str | None, now_ms: int
) -> tuple[Books, Authorized | PairingRequired]:
    if token is not None:
        scopes = request.scopes
        found = tokens.find_valid(books, request.device_id, token, request.role, scopes)
        if found is None:
            raise TokenRevoked
    return ledger.authorize(books, request, now_ms)


def _checked(
    books: Books, token: TokenRecord | None, now_ms: int
) -> tuple[Books, tuple[TokenRecord | None, bool]]:
    return books, (token, token is not None and tokens.is_use_due(token, now_ms))


def _listed(books: Books) -> tuple[tuple[PendingView, ...], tuple[PairedView, ...]]:
    pending = sorted(books.pending.values(), key=lambda each: -each.ts)
    paired = sorted(books.paired.values(), key=lambda each: -each.approved_at_ms)
    return tuple(pending), tuple(device.view() for device in paired)


def _get(books: Books, request_id: str) -> PendingView:
    pending = books.pending.get(request_id)
    if pending is None:
        raise UnknownRequest
    return pending


def _approved(books: Books, request_id: str, now_ms: int) -> tuple[Books, Resolved]:
    books, device = ledger.approve(books, _get(books, request_id), now_ms)
    resolved = Resolved(
        request_id=request_id,
        device_id=device.device_id,
        decision="approved",
        ts=now_ms,
        device=device.view(),
    )
    return books, resolved


def _rejected(books: Books, request_id: str, now_ms: int) -> tuple[Books, Resolved]:
    pending = _get(books, request_id)
    resolved = Resolved(
        request_id=request_id,
        device_id=pending.device_id,
        decision="rejected",
        ts=now_ms,
    )
    return ledger.reject(books, pending), resolved


def _tell(resolved: Resolved, why: str) -> None:
    _log.info(
        "device {id} {decision}: {why}",
        id=resolved.device_id,
        decision=resolved.decision,
        why=why,
    )


def _warn(notices: Notices) -> None:
    for notice in notices:
        _log.warn("device store: {notice}", notice=notice)
