"""How long the reactor was busy with one thing while others waited."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Metric
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from moltbot_gw.monitoring.families import gauge, histogram
from moltbot_gw.tallies import Histogram

TICK_SECONDS = 0.01

BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05),
    *(0.06, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class StallProbe:
    """Rings every ``TICK_SECONDS`` and notes how late it was.

    Whatever keeps the reactor from ringing keeps it from everything else, too.  A stall
    may begin up to a tick before the probe is due, so it is up to a tick longer than
    what is noted.  Lateness is what both *clock* and *monotonic* (seconds) agree on: a
    wall clock that is set is no stall.
    """

    def __init__(self, *, clock: IReactorTime, monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._late = Histogram(BOUNDS)
        self._longest = 0.0
        self._timer: IDelayedCall | None = None
        self._began = (0.0, 0.0)

    def start(self) -> None:
        """Begin to ring, once the reactor runs and nothing more is being started."""
        self._timer = self._clock.callLater(0, self._begin)

    def stop(self) -> None:
        """Ring no more; harmless when it does not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def collect(self) -> Iterator[Metric]:
        """Return what was noted."""
        yield histogram(
            "reactor_tick_late_seconds",
            f"How late a timer of {TICK_SECONDS:g} s rang.",
            self._late,
        )
        yield gauge(
            "reactor_longest_stall_seconds",
            "The largest of these since the start.",
            self._longest,
        )

    def _begin(self) -> None:
        self._began = (self._clock.seconds(), self._monotonic())
        self._timer = self._clock.callLater(TICK_SECONDS, self._ring)

    def _ring(self) -> None:
        clock, monotonic = self._began
        elapsed = min(self._clock.seconds() - clock, self._monotonic() - monotonic)
        late = max(elapsed - TICK_SECONDS, 0.0)
        self._late.observe(late)
        self._longest = max(self._longest, late)
        self._begin()
