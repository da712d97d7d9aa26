"""Figures on the session store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import Metric

from moltbot_gw.monitoring.families import counter, gauges, histogram
from moltbot_gw.tallies import Histogram


class Store(Protocol):
    """What is read of a store; see ``sessions.SqliteSessionStore``."""

    @property
    def commit_seconds(self) -> Histogram:
        """How long each commit took."""

    @property
    def writes_waiting(self) -> int:
        """How many jobs wait to be done."""

    @property
    def reads_waiting(self) -> int:
        """The same for those that only read."""

    @property
    def faults(self) -> int:
        """How often something went wrong."""


class StoreFigures:
    """Reads what *store* has counted."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Return how it is now."""
        store = self._store
        yield histogram(
            "store_commit_seconds",
            "How long commits took to reach the disk; one may serve many turns.",
            store.commit_seconds,
        )
        yield gauges(
            "store_queue",
            "Jobs that nobody has begun yet.",
            "worker",
            {"writer": store.writes_waiting, "reader": store.reads_waiting},
        )
        yield counter(
            "store_faults", "Files, jobs and commits that failed.", store.faults
        )
