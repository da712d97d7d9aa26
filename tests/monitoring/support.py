"""A gateway with both edges whose figures a test can read as Prometheus does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moltbot_gw import monitored
from moltbot_gw.monitored import build_monitoring
from moltbot_gw.monitoring.exposition import Exposition
from moltbot_gw.sessions import SqliteSessionStore
from tests.sessions.support import Pump
from tests.support.control import Control
from tests.support.gateway import Connection
from tests.support.http_client import Answer, http_request


@attrs.frozen
class Figures:
    """What one scrape has brought."""

    families: dict[str, Metric]

    def value(self, name: str, **labels: str) -> float:
        """Return the one sample of *name* whose labels are exactly *labels*."""
        found = self.samples(name)
        key = tuple(sorted(labels.items()))
        assert key in found, (name, labels, sorted(found))
        return found[key]

    def samples(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return all samples of *name*, by their labels.

        As with Prometheus, one that is empty is none.
        """
        found = [
            (tuple(sorted(filter(all, sample.labels.items()))), sample.value)
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name
        ]
        assert len(dict(found)) == len(found), "a sample comes twice"
        return dict(found)

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {s.name for family in self.families.values() for s in family.samples}


def read_figures(text: str) -> Figures:
    """Read an exposition strictly: no family comes twice."""
    families = list(text_string_to_metric_families(text))
    by_name = {family.name: family for family in families}
    assert len(by_name) == len(families)
    return Figures(by_name)


def figures_of(exposition: Exposition, clock: Clock) -> Figures:
    """Return what *exposition* tells; *clock* is its own."""
    found: list[bytes] = []
    Deferred.fromCoroutine(exposition.render()).addCallback(found.append)
    while not found:
        clock.advance(0)
    return read_figures(found[0].decode())


class Watched(Control):
    """The gateway; its store keeps its turns in memory, and *disk* is only counted."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **{"metrics": True, **options})
        self.pump = Pump()
        self.disk = SqliteSessionStore(folder / "sessions.sqlite", self.pump)
        self.own_site = self.metrics_site()
        self.monitoring = build_monitoring(
            monitored.Watched(
                edge=self.site,
                control=self.control,
                agents=self.agents,
                store=self.disk,
                limiter=self.limiter,
            ),
            exposition=self.exposition,
            enabled=self.options.metrics,
            listener=None,
            site=self.own_site,
            reactor=self.clock,
        )

    def scrape(self, **request: Any) -> Answer:
        """Return the answer of the gateway's own port."""
        return self.ask(http_request("GET", "/metrics", **request))

    def figures(self) -> Figures:
        """Return what stands in it."""
        answer = self.scrape()
        assert answer.status == 200
        return read_figures(answer.body.decode())

    def beside(self, data: bytes) -> Connection:
        """Send *data* to the listener for metrics."""
        return self.connect(site=self.own_site).send(data)

    def close(self) -> None:
        super().close()
        assert self.own_site.connections == 0
        self.pump.wait(self.disk.close())
