"""How late the reactor was, as the exported histogram shows it."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from moltbot_gw.monitoring.exposition import Exposition
from moltbot_gw.monitoring.reactor import TICK_SECONDS, StallProbe
from tests.monitoring.support import Figures, figures_of

LATE = "moltbot_reactor_tick_late_seconds"


class Machine:
    """A reactor's clock, which may be set, and one that nobody can set.

    Its reactor began to run *starting* seconds after the probe was started.
    """

    def __init__(self, starting: float = 0.0) -> None:
        self.clock = Clock()
        self.monotonic = 50.0
        self.probe = StallProbe(clock=self.clock, monotonic=lambda: self.monotonic)
        self.probe.start()
        self.work(starting)
        self._scraping = Clock()
        self._exposition = Exposition(self._scraping)
        self._exposition.add(self.probe.collect)

    def work(self, seconds: float) -> None:
        """Keep the reactor busy, and let it ring what is due then."""
        self.monotonic += seconds
        self.clock.advance(seconds)

    @property
    def figures(self) -> Figures:
        return figures_of(self._exposition, self._scraping)

    def longest(self) -> tuple[float, float]:
        """Return between which bounds the longest stall lies."""
        buckets = [
            (float(dict(labels)["le"]), value)
            for labels, value in self.figures.samples(f"{LATE}_bucket").items()
        ]
        buckets.sort()
        whole = buckets[-1][1]
        reached = next(i for i, (_, count) in enumerate(buckets) if count == whole)
        return (buckets[reached - 1][0] if reached else 0.0), buckets[reached][0]


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_an_idle_reactor_is_hardly_late(machine: Machine) -> None:
    for _ in range(100):
        machine.work(TICK_SECONDS)
    assert machine.figures.value(f"{LATE}_count") == 100
    assert machine.longest() == (0.0, 0.001)


def test_what_is_done_before_the_reactor_runs_is_no_stall() -> None:
    machine = Machine(starting=3.0)
    machine.work(TICK_SECONDS)
    assert machine.figures.value(f"{LATE}_count") == 1
    assert machine.longest() == (0.0, 0.001)


@pytest.mark.parametrize(
    ("busy", "bounds"),
    [(0.038, (0.025, 0.03)), (0.059, (0.045, 0.05)), (0.063, (0.05, 0.06))],
)
def test_the_longest_stall_is_read_from_the_buckets(
    machine: Machine, busy: float, bounds: tuple[float, float]
) -> None:
    for _ in range(10):
        machine.work(TICK_SECONDS)
    machine.work(busy)
    assert machine.longest() == bounds
    longest = machine.figures.value("moltbot_reactor_longest_stall_seconds")
    assert longest == pytest.approx(busy - TICK_SECONDS)


def test_a_clock_that_is_set_forward_is_no_stall(machine: Machine) -> None:
    machine.monotonic += 0.002
    machine.clock.advance(3600)
    assert machine.longest() == (0.0, 0.001)


def test_a_clock_that_is_set_back_is_no_stall(machine: Machine) -> None:
    machine.clock.rightNow -= 3600
    machine.work(3600 + TICK_SECONDS)
    assert machine.figures.value(f"{LATE}_count") == 1
    assert machine.longest() == (0.0, 0.001)


def test_it_can_be_stopped_twice_and_leaves_no_timer(machine: Machine) -> None:
    machine.probe.stop()
    machine.probe.stop()
    assert machine.clock.getDelayedCalls() == []
