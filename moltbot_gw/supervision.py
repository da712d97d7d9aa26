"""What the init system is told, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from moltbot_gw.sdnotify import Notifier

STATUS_SECONDS = 10.0
"""The least time between two lines of status."""


class Supervision:
    """Our side of the watch that an init system keeps over us.

    The signs of life come from the reactor, half a watchdog's time apart: a process
    whose reactor hangs serves nobody, however much alive it is.  *describe* returns the
    line of status, which is sent when it has changed.
    """

    def __init__(
        self, notifier: Notifier, *, clock: IReactorTime, describe: Callable[[], str]
    ) -> None:
        self._notifier = notifier
        self._describe = describe
        self._told = ""
        self._breathing = _loop(notifier.alive, clock)
        self._telling = _loop(self._tell, clock)

    def ready(self) -> None:
        """We serve; from now on we are watched."""
        self._notifier.ready()
        if self._notifier.watchdog is not None:
            self._breathing.start(self._notifier.watchdog / 2)
        if self._notifier.is_heard:
            self._telling.start(STATUS_SECONDS)

    def reloading(self) -> None:
        """The configuration is read anew; ``reloaded`` follows in any case."""
        self._notifier.reloading()

    def reloaded(self) -> None:
        """The configuration was taken, or refused and the old one kept."""
        self._notifier.ready()

    def stopping(self, seconds: float) -> None:
        """We stop, in *seconds* at most; signs of life go on until ``stop``."""
        self._notifier.stopping(seconds)

    def stop(self) -> None:
        """Say no more."""
        for loop in (self._breathing, self._telling):
            if loop.running:
                loop.stop()

    def _tell(self) -> None:
        text = self._describe()
        if text != self._told:
            self._told = text
            self._notifier.status(text)


def _loop(work: Callable[[], None], clock: Any) -> LoopingCall:
    loop = LoopingCall(work)
    loop.clock = clock
    return loop
