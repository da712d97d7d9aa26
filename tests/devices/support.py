"""Requests of devices, a clock, and a thread that a test can hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, execute

from moltbot_gw.devices.pairing import (
    Authorized,
    PairingRequest,
    PairingRequired,
    PairingStore,
)
from tests.support.device import make_identity

_T = TypeVar("_T")

NOW_MS = 1769700000000
READ = ("operator.read",)
ADMIN = ("operator.admin",)


class Time:
    """The wall clock, in seconds."""

    def __init__(self) -> None:
        self.now = NOW_MS / 1000

    def __call__(self) -> float:
        return self.now


class Thread:
    """Does its work at once; while *held*, only when ``go`` is called."""

    def __init__(self) -> None:
        self.held = False
        self._gates: list[Deferred[None]] = []

    def __call__(self, work: Callable[[], _T], /) -> Deferred[_T]:
        if not self.held:
            return execute(work)
        done: Deferred[_T] = Deferred()
        gate: Deferred[None] = Deferred()
        gate.addCallback(lambda _: work()).addCallbacks(done.callback, done.errback)
        self._gates.append(gate)
        return done

    @property
    def waiting(self) -> int:
        """How many pieces of work wait."""
        return len(self._gates)

    def go(self) -> None:
        """Do the oldest work that waits."""
        self._gates.pop(0).callback(None)


def start(call: Coroutine[Any, Any, _T]) -> Deferred[_T]:
    """Start *call* and let it wait."""
    return Deferred.fromCoroutine(call)


def result(deferred: Deferred[_T]) -> _T:
    """Return what *deferred* has fired with, or raise what it has failed with."""
    results: list[_T] = []
    failures: list[Any] = []
    deferred.addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    [value] = results
    return value


def finish(call: Coroutine[Any, Any, _T]) -> _T:
    """Return what *call* returns without waiting, or raise what it raises."""
    return result(start(call))


def request(number: int = 1, **changes: Any) -> PairingRequest:
    """Return the request of a remote device that wants to read."""
    identity = make_identity(number)
    plain = PairingRequest(
        device_id=identity.id,
        public_key=identity.public_key,
        role="operator",
        scopes=READ,
        is_local=False,
    )
    return msgspec.structs.replace(plain, **changes)


def let_in(store: PairingStore, request: PairingRequest) -> Authorized:
    """Authorize a device that may come in."""
    decision = finish(store.authorize(request))
    assert isinstance(decision, Authorized)
    return decision


def keep_out(store: PairingStore, request: PairingRequest) -> PairingRequired:
    """Authorize a device that must be approved first."""
    decision = finish(store.authorize(request))
    assert isinstance(decision, PairingRequired)
    return decision


def pair(store: PairingStore, request: PairingRequest) -> Authorized:
    """Have a remote device approved by hand, and let it in."""
    finish(store.approve(keep_out(store, request).request_id))
    return let_in(store, request)


def stored(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of a file of the store."""
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content
