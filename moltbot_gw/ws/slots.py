"""A few at a time, and the others in the order in which they came."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred, succeed


class Slots:
    """Places that are taken and given back, *count* of them.

    Who waits is called from a loop.  Twisted's own lock and semaphore call each from
    within the release of the one before; some hundred that have nothing left to wait
    for exhaust the stack, and what they held is never given back.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[Deferred[None]] = deque()
        self._is_calling = False

    @property
    def are_taken(self) -> bool:
        """Whether the next one would have to wait."""
        return not self._free

    def take(self) -> Deferred[None]:
        """Fire when there is a place, which is the caller's until ``give_back``."""
        if self._free and not self._waiting:
            self._free -= 1
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def give_back(self) -> None:
        """Leave a place to who has waited longest."""
        self._free += 1
        if self._is_calling:
            return  # the call that is under way goes on with it
        self._is_calling = True
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().callback(None)
        self._is_calling = False
