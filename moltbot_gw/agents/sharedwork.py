"""Work that many wait for and that is done once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

K = TypeVar("K", bound=Hashable)


class SharedWork(Generic[K]):
    """Of each key, one piece of work is under way at most."""

    def __init__(self) -> None:
        self._waiting: dict[K, list[Deferred[None]]] = {}

    def join(self, key: K, begin: Callable[[], Deferred[None]]) -> Deferred[None]:
        """Fire when the work of *key* is over; *begin* it unless it is under way.

        What *begin* returns must not fail.  Cancelling only stops the waiting.
        """
        waiters = self._waiting.get(key)
        is_first = waiters is None
        if waiters is None:
            waiters = self._waiting[key] = []
        waiter: Deferred[None] = Deferred(waiters.remove)
        waiters.append(waiter)
        if is_first:
            begin().addCallback(self._over, key)
        return waiter

    def _over(self, _: None, key: K) -> None:
        waiters = self._waiting.pop(key)
        while waiters:
            # One by one: what a waiter does may cancel another.
            waiters.pop(0).callback(None)
