"""One absolute deadline that moves, with a timer that is rarely made anew."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """Calls *expired* once the time that was last set has come, unless none is set.

    The timer is only moved when it would ring too late, so that a busy connection
    makes no timers.
    """

    def __init__(self, clock: IReactorTime, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired: Callable[[], None] | None = expired
        self._due: float | None = None
        self._timer: IDelayedCall | None = None

    def set(self, seconds: float | None) -> None:
        """Expire in *seconds* from now, whatever was set before; None: never."""
        if seconds is None:
            self._due = None
            return
        self._due = self._clock.seconds() + seconds
        if self._timer is not None:
            if self._timer.getTime() <= self._due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self._ring)

    def stop(self) -> None:
        """Be done for good: no timer is left, nor a circle with the owner."""
        self._expired = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._due is None:
            return
        left = self._due - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._ring)
        else:
            assert self._expired is not None, "who has stopped has no timer"
            self._expired()
