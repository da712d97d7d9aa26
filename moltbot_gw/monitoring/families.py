"""From plain numbers to what Prometheus calls metric families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from moltbot_gw.tallies import Counts, Histogram, Histograms, Labels

PREFIX = "moltbot_"


def counter(name: str, about: str, value: float) -> Metric:
    """Return one number that only grows; its name gets the prefix and ``_total``."""
    return CounterMetricFamily(PREFIX + name, about, value=value)


def counters(name: str, about: str, counts: Counts) -> Metric:
    """Return such numbers by labels."""
    family = CounterMetricFamily(PREFIX + name, about, labels=counts.labels)
    for values, amount in counts.items():
        family.add_metric(values, amount)
    return family


def gauge(name: str, about: str, value: float) -> Metric:
    """Return one number that goes up and down."""
    return GaugeMetricFamily(PREFIX + name, about, value=value)


def gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return such numbers by one label."""
    family = GaugeMetricFamily(PREFIX + name, about, labels=[label])
    for value, amount in values.items():
        family.add_metric([value], amount)
    return family


def histogram(name: str, about: str, table: Histogram) -> Metric:
    """Return one histogram."""
    return _histogram(name, about, (), [((), table)])


def histograms(name: str, about: str, tables: Histograms) -> Metric:
    """Return histograms by labels."""
    return _histogram(name, about, tables.labels, tables.items())


def _histogram(
    name: str,
    about: str,
    labels: Labels,
    tables: Iterable[tuple[Labels, Histogram]],
) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, about, labels=labels)
    for values, table in tables:
        bounds = [*map(str, table.bounds), "+Inf"]
        sums = accumulate(table.counts)
        family.add_metric(values, list(zip(bounds, sums, strict=True)), table.total)
    return family
