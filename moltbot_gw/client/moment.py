"""Something that happens once, and that several may wait for."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from twisted.internet.defer import Deferred, succeed

T = TypeVar("T")


class Moment(Generic[T]):
    """Give each who asks a Deferred of their own; *come* may happen once."""

    def __init__(self) -> None:
        self.value: T | None = None
        self._has_come = False
        self._waiting: list[Deferred[T]] = []

    def when(self) -> Deferred[T]:
        """Fire with the value, at once if it has come; may be cancelled."""
        if self._has_come:
            return succeed(cast(T, self.value))
        waiting: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def come(self, value: T) -> None:
        """Tell everybody; a second time is passed over."""
        if self._has_come:
            return
        self._has_come = True
        self.value = value
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(value)
