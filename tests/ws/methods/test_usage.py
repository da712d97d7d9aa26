from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from moltbot_gw.events import Usage
from moltbot_gw.ws.methods.usage import MAX_KEPT
from tests.ws.methods.support import NOW_MS, Desk, caller_of

READER = caller_of("read")
DAY_MS = 86_400_000
USAGE = Usage(
    prompt_tokens=1000, completion_tokens=100, total_tokens=1100, cached_tokens=500
)


@pytest.fixture(autouse=True)
def east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose day began at 12:00 UTC, the very time of the tests."""
    monkeypatch.setenv("TZ", "EAST-12")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def used(desk: Desk, number: int, at_ms: int, model: str = "m1") -> None:
    desk.turn(run_id=f"run-{number}", at_ms=at_ms, model=model, usage=USAGE)


def test_quotas_are_not_looked_up(desk: Desk) -> None:
    told = desk.ask("usage.status", {"x": 1}, READER)
    assert told == {"updatedAt": NOW_MS, "providers": []}


def test_nothing_used_costs_nothing(desk: Desk) -> None:
    assert desk.ask("usage.cost", {}, READER) == {
        "updatedAt": NOW_MS,
        "days": 30,
        "daily": [],
        "totals": {
            "input": 0,
            "output": 0,
            "cacheRead": 0,
            "cacheWrite": 0,
            "totalTokens": 0,
            "totalCost": 0,
            "missingCostEntries": 0,
        },
    }


def test_costs_are_summed_up_by_day(desk: Desk) -> None:
    used(desk, 1, NOW_MS - 1)
    used(desk, 2, NOW_MS)
    used(desk, 3, NOW_MS, "m2")
    used(desk, 4, NOW_MS, "gone")
    told = desk.ask("usage.cost", {"days": 2})
    cost = (500 * 2 + 100 * 10 + 500 * 1) / 1_000_000
    first = {
        "input": 500,
        "output": 100,
        "cacheRead": 500,
        "cacheWrite": 0,
        "totalTokens": 1100,
        "totalCost": pytest.approx(cost),
        "missingCostEntries": 0,
    }
    second = {
        "input": 1500,
        "output": 300,
        "cacheRead": 1500,
        "cacheWrite": 0,
        "totalTokens": 3300,
        "totalCost": pytest.approx(cost),
        "missingCostEntries": 1,
    }
    assert told == {
        "updatedAt": NOW_MS,
        "days": 2,
        "daily": [
            {"date": "2026-01-30", **first},
            {"date": "2026-01-31", **second},
        ],
        "totals": {
            "input": 2000,
            "output": 400,
            "cacheRead": 2000,
            "cacheWrite": 0,
            "totalTokens": 4400,
            "totalCost": pytest.approx(2 * cost),
            "missingCostEntries": 1,
        },
    }


def test_days_begin_at_local_midnight(desk: Desk) -> None:
    used(desk, 1, NOW_MS - DAY_MS - 1)
    used(desk, 2, NOW_MS - DAY_MS)
    used(desk, 3, NOW_MS)

    def dates(days: int) -> list[str]:
        told = desk.ask("usage.cost", {"days": days})
        return [one["date"] for one in told["daily"]]

    assert dates(1) == ["2026-01-31"]
    assert dates(2) == ["2026-01-30", "2026-01-31"]
    assert dates(3) == ["2026-01-29", "2026-01-30", "2026-01-31"]


@pytest.mark.parametrize(
    ("days", "understood"),
    [
        (7, 7),
        (7.9, 7),
        ("7", 7),
        (" 14 ", 14),
        (0, 1),
        (-5, 1),
        ("1e400", 3650),
        (10**30, 3650),
        ("many", 30),
        ("nan", 30),
        ("", 30),
        (None, 30),
        (True, 30),
        ([], 30),
    ],
)
def test_days_are_read_as_far_as_they_make_sense(
    desk: Desk, days: Any, understood: int
) -> None:
    told = desk.ask("usage.cost", {"days": days, "unknown": 1})
    assert told["days"] == understood


def test_costs_are_remembered_for_half_a_minute(desk: Desk) -> None:
    first = desk.ask("usage.cost")
    used(desk, 1, NOW_MS)
    desk.clock.advance(29)
    assert desk.ask("usage.cost") == first
    assert desk.ask("usage.cost", {"days": 1})["daily"]
    desk.clock.advance(1)
    assert desk.ask("usage.cost")["daily"]


def test_memory_of_costs_is_bounded(desk: Desk) -> None:
    for days in range(1, MAX_KEPT + 2):
        desk.ask("usage.cost", {"days": days})
    used(desk, 1, NOW_MS)
    assert desk.ask("usage.cost", {"days": MAX_KEPT + 1})["daily"] == []
    assert desk.ask("usage.cost", {"days": 1})["daily"]


@pytest.mark.parametrize("method", ["usage.status", "usage.cost"])
def test_usage_needs_its_scope(desk: Desk, method: str) -> None:
    assert desk.refusal(method, {}, caller_of("pairing")) == (
        "INVALID_REQUEST",
        "missing scope: operator.read",
    )
