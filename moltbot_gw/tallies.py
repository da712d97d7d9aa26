"""Counting in plain numbers: cheap where it is done, exported by who asks.

The rooms count here and know nothing of how it is shown (``monitoring/``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

MOST_SERIES = 1000
"""Combinations of labels in one table.  All are names of the configuration, but that
may be changed again and again while the process lives."""

MOST_HISTOGRAMS = 100
"""The same for histograms, each of which is twenty lines of a scrape."""

OTHER = "other"
"""Stands for every label of what is one too many."""

Labels = tuple[str, ...]


class Counts:
    """Sums by the values of *labels*."""

    def __init__(self, *labels: str) -> None:
        self.labels = labels
        self._sums: dict[Labels, int] = {}

    def add(self, *values: str, amount: int = 1) -> None:
        """Add *amount* under *values*, one for each label."""
        sums = self._sums
        if values not in sums and len(sums) >= MOST_SERIES:
            values = (OTHER,) * len(values)
        sums[values] = sums.get(values, 0) + amount

    def items(self) -> list[tuple[Labels, int]]:
        """Return all sums, in the order of their first use."""
        return list(self._sums.items())


class Histogram:
    """How many values were at most how large.

    *bounds* ascend; ``counts`` has one number for each, not added up, and a last one
    for what is above them all.  One thread may observe while another reads: that one
    may miss the value that is being added, and nothing else.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add *value*; one below zero (the clock was set back) counts as zero."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histograms:
    """Histograms with the same *bounds* by the values of *labels*."""

    def __init__(self, bounds: tuple[float, ...], *labels: str) -> None:
        self.labels = labels
        self._bounds = bounds
        self._tables: dict[Labels, Histogram] = {}

    def observe(self, value: float, *values: str) -> None:
        """Add *value* under *values*, one for each label."""
        table = self._tables.get(values)
        if table is None:
            if len(self._tables) >= MOST_HISTOGRAMS:
                values = (OTHER,) * len(values)
            table = self._tables.setdefault(values, Histogram(self._bounds))
        table.observe(value)

    def items(self) -> Iterator[tuple[Labels, Histogram]]:
        """Return all histograms, in the order of their first use."""
        return iter(tuple(self._tables.items()))
