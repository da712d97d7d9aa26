"""Looks at a gateway from outside: its figures, its memory, its files."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import attrs
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import processes

SAMPLE_SECONDS = 2.0
REST_SECONDS = 30.0
"""How long a gateway may take to let go of everything once its clients have gone."""

MOST_STALL = 0.05
"""Seconds, the longest stall of the reactor."""

_AT_REST = (
    "moltbot_runs_active",
    "moltbot_runs_held_back",
    "moltbot_lane_depth",
    "moltbot_http_connections",
    "moltbot_streams_open",
    "moltbot_streams_stalled",
    "moltbot_streams_held_back_characters",
    "moltbot_websocket_clients",
    "moltbot_store_queue",
)
"""Figures that are zero when nobody is there."""


@attrs.frozen
class Sample:
    """One look at the gateway: *at* in seconds, *busy* what is not 0."""

    at: float
    kib: int
    files: int
    busy: dict[str, float]


class Watch:
    """Looks at a gateway; *metrics* is the port of its figures."""

    def __init__(self, pid: int, metrics: int) -> None:
        self._pid = pid
        self._url = f"http://127.0.0.1:{metrics}/metrics"

    def figures(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Return all figures by name and labels."""
        with urllib.request.urlopen(self._url, timeout=30) as answer:
            text = answer.read().decode()
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    def sample(self) -> Sample:
        """Return how it is now."""
        figures = self.figures()
        busy = {n: sum(figures.get(n, {(): 1.0}).values()) for n in _AT_REST}
        return Sample(
            time.monotonic(),
            processes.resident_kib(self._pid),
            processes.descriptors(self._pid),
            {name: value for name, value in busy.items() if value},
        )

    def rest(self) -> Sample:
        """Return how it is once nothing goes on, or after ``REST_SECONDS``.

        Connections to providers are kept for some seconds, so files have to be still.
        """
        end = time.monotonic() + REST_SECONDS
        before = self.sample()
        while time.monotonic() < end:
            time.sleep(5.0)
            now = self.sample()
            if not now.busy and now.files == before.files:
                return now
            before = now
        return before

    def stall(self) -> dict[str, float]:
        """Return the longest stall, and the bound of its bucket, in seconds."""
        figures = self.figures()
        (longest,) = figures["moltbot_reactor_longest_stall_seconds"].values()
        buckets = {
            float(dict(labels)["le"]): count
            for labels, count in figures[
                "moltbot_reactor_tick_late_seconds_bucket"
            ].items()
        }
        ticks = max(buckets.values())
        bucket = min(bound for bound, count in buckets.items() if count == ticks)
        late = ticks - buckets[MOST_STALL]
        return {"longest": longest, "bucket": bucket, "ticks": ticks, "late": late}


def slope(samples: list[Sample]) -> float:
    """Return the growth of memory in KiB a minute, by least squares."""
    times = [sample.at / 60 for sample in samples]
    sizes = [sample.kib for sample in samples]
    mean_time, mean_size = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((at - mean_time) ** 2 for at in times)
    together = (
        (at - mean_time) * (size - mean_size)
        for at, size in zip(times, sizes, strict=True)
    )
    return sum(together) / spread if spread else 0.0


@contextmanager
def every(seconds: float, work: Callable[[], object]) -> Iterator[None]:
    """Do *work* each *seconds* beside the block; raise what it has raised."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(seconds):
            work()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            yield
        finally:
            stopped.set()
        running.result()


@contextmanager
def sampling(watch: Watch, samples: list[Sample]) -> Iterator[None]:
    """Take samples beside the block."""
    with every(SAMPLE_SECONDS, lambda: samples.append(watch.sample())):
        yield
