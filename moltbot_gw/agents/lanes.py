"""Lanes: who may run now, who waits, and when there are too many.

Every run takes the slot of its session's lane first (one at a time, so that turns keep
their order), then one of the global lane.  Waiting is first come, first served.
"""

from __future__ import annotations

from collections import deque

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed

from moltbot_gw.errors import GatewayError, QueueFull

RETRY_AFTER = 5
"""Seconds that a refused client is asked to wait: about one short answer."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs wait: in their *session* for one before, or for a slot of *all*."""

    session: int
    all: int


class Lane:
    """A queue with *limit* slots."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[Deferred[None]] = deque()

    def resize(self, limit: int) -> None:
        """Have *limit* slots from now on; who holds one keeps it."""
        self._limit = limit
        while self._waiting and self._taken < limit:
            self._taken += 1
            self._waiting.popleft().callback(None)

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nobody holds or awaits a slot."""
        return not self._taken and not self._waiting

    def try_acquire(self) -> bool:
        """Take a slot if one is free now."""
        if self._taken < self._limit:
            self._taken += 1
            return True
        return False

    def acquire(self) -> Deferred[None]:
        """Fire when a slot is ours.  Cancelling gives up the place in the queue.

        The holder of a slot must ``release`` it, once.
        """
        if self.try_acquire():
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def release(self) -> None:
        """Give a slot back; the one that waits longest gets it."""
        if self._waiting and self._taken <= self._limit:
            self._waiting.popleft().callback(None)
        else:
            self._taken -= 1

    def refuse_waiting(self, error: GatewayError) -> None:
        """Fail everybody who waits."""
        while self._waiting:
            self._waiting.popleft().errback(error)


@attrs.frozen(kw_only=True)
class LaneLimits:
    """How many run at once, and how many wait.

    *max_waiting* bounds the runs that wait anywhere, *max_waiting_per_session* those
    that wait for the same session.
    """

    max_concurrent: int
    max_waiting: int
    max_waiting_per_session: int


class Lanes:
    """All lanes of the gateway; a session's lane exists only while it is in use."""

    def __init__(self, limits: LaneLimits) -> None:
        self._limits = limits
        self._main = Lane(limits.max_concurrent)
        self._sessions: dict[str, Lane] = {}
        self._admitted = 0

    def resize(self, limits: LaneLimits) -> None:
        """Go by other limits; who runs or waits already is not turned away."""
        self._limits = limits
        self._main.resize(limits.max_concurrent)

    @property
    def idle(self) -> bool:
        """Whether nobody runs or waits, in any lane."""
        return not self._admitted and not self._sessions and self._main.idle

    @property
    def waiting(self) -> Waiting:
        """How many wait, and for what."""
        in_sessions = sum(lane.waiting for lane in self._sessions.values())
        return Waiting(session=in_sessions, all=self._main.waiting)

    def enter(self, session_key: str, *, nested: bool = False) -> LaneTicket:
        """Admit a run, or raise ``QueueFull``; the ticket must be closed.

        A *nested* one needs only its session's slot: the run that waits for it holds
        one of the others already.
        """
        lane = self._sessions.get(session_key)
        if lane is not None and lane.waiting >= self._limits.max_waiting_per_session:
            raise self._full("this session")
        if self._admitted >= self._limits.max_concurrent + self._limits.max_waiting:
            raise self._full("this gateway")
        if lane is None:
            lane = self._sessions[session_key] = Lane(limit=1)
        self._admitted += 1
        return LaneTicket(self, session_key, lane, nested=nested)

    def refuse_waiting(self, error: GatewayError) -> None:
        """Fail every run that has not got both its slots yet."""
        self._main.refuse_waiting(error)
        for lane in tuple(self._sessions.values()):
            lane.refuse_waiting(error)

    @staticmethod
    def _full(where: str) -> QueueFull:
        message = f"Too many runs of {where} are waiting; try again later."
        return QueueFull(message, retry_after=RETRY_AFTER)

    def _leave(self, session_key: str, lane: Lane) -> None:
        self._admitted -= 1
        if lane.idle:
            self._sessions.pop(session_key, None)


class LaneTicket:
    """One run's place: in its session's lane, then (not *nested*) the global one."""

    def __init__(
        self, lanes: Lanes, session_key: str, session_lane: Lane, *, nested: bool
    ) -> None:
        self._lanes = lanes
        self._nested = nested
        self._session_key = session_key
        self._session_lane = session_lane
        self._held: list[Lane] = []

    def take_free(self) -> bool:
        """Take the slots that are free now; say whether these are both."""
        for lane in self._missing():
            if not lane.try_acquire():
                return False
            self._held.append(lane)
        return True

    async def ready(self) -> None:
        """Wait for both slots.  Whatever becomes of it, ``close`` is still due."""
        for lane in self._missing():
            await lane.acquire()
            self._held.append(lane)

    def _missing(self) -> list[Lane]:
        needed = [self._session_lane]
        if not self._nested:
            needed.append(self._lanes._main)
        return needed[len(self._held) :]

    def close(self) -> None:
        """Give back what is held and leave the lanes; call it exactly once."""
        for lane in reversed(self._held):
            lane.release()
        self._held.clear()
        self._lanes._leave(self._session_key, self._session_lane)
