"""Some seconds of the soak; ``python -m benchmarks soak`` is the whole.

How long the reactor stalled and how fast memory grew is not asserted here: what a busy
machine does to those is no fault of the gateway's.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.soak import find_faults, measure
from benchmarks.watching import Sample, slope

pytestmark = pytest.mark.skipif(
    "not __import__('os').path.exists('/proc/self/status')", reason="needs /proc"
)


def test_nothing_is_left_behind_by_clients_of_every_kind() -> None:
    result = measure(seconds=3.0, warm_up=2.0, rate=15.0)
    assert result["faults"] == []
    assert result["after"]["busy"] == {}
    assert all(result["runs"][outcome] > 0 for outcome in ("done", "failed", "aborted"))
    assert result["load"]["visits"].keys() >= {"read_slowly", "stop_reading", "let_act"}


def result(**changes: Any) -> dict[str, Any]:
    phase = {"problems": 0, "first_problems": []}
    rest = {"files": 18, "busy": {}}
    return {"warm_up": phase, "load": phase, "before": rest, "after": rest, **changes}


@pytest.mark.parametrize(
    ("changes", "log", "told"),
    [
        ({}, "2026-11-23T07:00:00+0000 [moltbot_gw.service#critical] no", "critical"),
        ({}, "2026-11-23T07:00:00+0000 [-] Unhandled error in Deferred:", "Unhandled"),
        ({"after": {"files": 30, "busy": {}}}, "", "12 files more"),
        ({"after": {"files": 18, "busy": {"runs": 1.0}}}, "", "not at rest after"),
        ({"load": {"problems": 1, "first_problems": ["talk: cut"]}}, "", "talk: cut"),
    ],
)
def test_what_is_left_behind_is_told(
    changes: dict[str, Any], log: str, told: str
) -> None:
    (fault,) = find_faults(result(**changes), log)
    assert told in fault


def test_what_is_foreseen_is_not_told() -> None:
    log = "[moltbot_gw.agents.failover#warn] the model fail/fail failed\n"
    log += "[moltbot_gw.reloading#error] the configuration was not reloaded: why\n"
    assert not list(find_faults(result(), log))


def test_growth_is_told_by_the_minute() -> None:
    samples = [Sample(at, int(1000 + at * 4), 18, {}) for at in (0.0, 30.0, 90.0)]
    assert slope(samples) == pytest.approx(240.0)
    assert slope(samples[:1]) == 0.0
