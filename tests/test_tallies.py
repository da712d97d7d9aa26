from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.tallies import (
    MOST_HISTOGRAMS,
    MOST_SERIES,
    OTHER,
    Counts,
    Histogram,
    Histograms,
)


def test_sums_are_kept_apart_by_their_labels() -> None:
    counts = Counts("agent", "kind")
    counts.add("main", "prompt", amount=3)
    counts.add("main", "completion")
    counts.add("main", "prompt", amount=4)
    assert counts.labels == ("agent", "kind")
    assert counts.items() == [(("main", "prompt"), 7), (("main", "completion"), 1)]


def test_labels_that_are_too_many_are_counted_together() -> None:
    counts = Counts("name", "kind")
    for number in range(MOST_SERIES + 50):
        counts.add(f"n{number}", "a")
    counts.add("n0", "a", amount=10)
    kept = dict(counts.items())
    assert len(kept) == MOST_SERIES + 1
    assert kept[OTHER, OTHER] == 50
    assert kept["n0", "a"] == 11


def test_histograms_that_are_too_many_are_one() -> None:
    tables = Histograms((1.0,), "name")
    for number in range(MOST_HISTOGRAMS + 50):
        tables.observe(0.5, f"n{number}")
    kept = dict(tables.items())
    assert len(kept) == MOST_HISTOGRAMS + 1
    assert kept[(OTHER,)].counts == [50, 0]


def test_a_value_counts_at_the_smallest_bound_that_holds_it() -> None:
    table = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        table.observe(value)
    assert table.counts == [2, 2, 1]
    assert table.total == 7.5


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    table = Histogram((1.0,))
    table.observe(-3600.0)
    assert (table.counts, table.total) == ([1, 0], 0.0)


@given(st.lists(st.floats(0, 10)), st.sets(st.floats(0.1, 9), min_size=1))
def test_every_value_is_counted_once(values: list[float], bounds: set[float]) -> None:
    ordered = tuple(sorted(bounds))
    table = Histogram(ordered)
    for value in values:
        table.observe(value)
    assert sum(table.counts) == len(values)
    for index in range(len(ordered)):
        expected = sum(bisect_left(ordered, value) <= index for value in values)
        assert sum(table.counts[: index + 1]) == expected
