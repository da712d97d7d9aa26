"""The text that Prometheus reads, made from what the rooms have counted."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import InfoMetricFamily
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from moltbot_gw import __version__
from moltbot_gw.monitoring.families import PREFIX

Collect = Callable[[], Iterable[Metric]]
"""Looks at counters and returns them as metric families; plain, quick, never raises."""


class Exposition:
    """All figures of one gateway; two of them in a process share none.

    Beside what is added there are the build's and those of the process: descriptors,
    memory, CPU, garbage collection.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        # Once: to find a version takes a look at the disk.
        self.add(partial(_build, metadata.version("twisted")))

    def add(self, collect: Collect) -> None:
        """Tell what *collect* finds, too."""
        self._registry.register(_Collector(collect))

    async def render(self) -> bytes:
        """Return everything as it is now (text format 0.0.4).

        One family in each turn of the reactor: all together, those of hundreds of
        agents would keep the streams waiting.
        """
        parts = []
        for family in self._registry.collect():
            parts.append(generate_latest(_Collector(partial(_alone, family))))
            await deferLater(self._clock, 0)
        return b"".join(parts)


class _Collector(Collector):
    """What the registry asks; the library wants a class of its own."""

    def __init__(self, collect: Collect) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def _alone(family: Metric) -> Iterable[Metric]:
    return (family,)


def _build(twisted: str) -> Iterable[Metric]:
    build = {
        "version": __version__,
        "python": platform.python_version(),
        "twisted": twisted,
    }
    yield InfoMetricFamily(f"{PREFIX}build", "What is running.", value=build)
