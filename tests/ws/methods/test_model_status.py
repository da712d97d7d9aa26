"""What ``models.status`` tells of the providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.errors import ProviderFailed
from tests.ws.methods.support import NOW_MS, TREE, Desk, caller_of

READER = caller_of("read")


def rows_of(desk: Desk) -> dict[str, Any]:
    """Return the providers of ``models.status`` by their name."""
    told = desk.ask("models.status", {}, READER)
    assert told["ts"] == int(desk.now() * 1000)
    names = [row["provider"] for row in told["providers"]]
    assert names == sorted(names)
    return dict(zip(names, told["providers"], strict=True))


def fail(desk: Desk, provider: str, error: ProviderFailed) -> None:
    health = desk.provider_health
    health.failed(provider, f"{provider}/m1", health.begin(), error)


def test_providers_before_anything_was_asked(desk: Desk) -> None:
    assert rows_of(desk) == {
        "local": {
            "provider": "local",
            "served": True,
            "hasKey": True,
            "used": [
                {"model": "local/m1", "primaryOf": ["ops", "main"], "fallbackOf": []}
            ],
            "successes": 0,
            "failures": {},
        },
        "openai": {
            "provider": "openai",
            "served": False,
            "hasKey": False,
            "used": [],
            "successes": 0,
            "failures": {},
        },
    }


def test_a_provider_that_failed(desk: Desk) -> None:
    health = desk.provider_health
    health.succeeded("local", health.begin())
    desk.clock.advance(10)
    fail(desk, "local", ProviderFailed("No.", reason="format"))
    fail(desk, "local", ProviderFailed("Later.", reason="rate_limit", retry_after=90))
    row = rows_of(desk)["local"]
    assert (row["successes"], row["lastSuccessAt"]) == (1, NOW_MS)
    assert row["failures"] == {"format": 1, "rate_limit": 1}
    assert row["lastFailure"] == {
        "at": NOW_MS + 10_000,
        "model": "local/m1",
        "reason": "rate_limit",
        "message": "Later.",
    }
    assert row["cooldownUntil"] == NOW_MS + 100_000
    assert row["cooldownReason"] == "rate_limit"
    desk.clock.advance(90)
    assert "cooldownUntil" not in rows_of(desk)["local"]


def test_the_built_in_provider_shows_once_it_was_used(desk: Desk) -> None:
    desk.provider_health.succeeded("echo", desk.provider_health.begin())
    row = rows_of(desk)["echo"]
    assert (row["served"], row["successes"], row["used"]) == (True, 1, [])


def test_models_that_agents_use(tmp_path: Path) -> None:
    agents = {
        "list": [
            {"id": "main"},
            {"id": "ops", "model": {"primary": "gone/x", "fallbacks": ["local/m2"]}},
            {"id": "own", "model": "local/m2"},
        ],
        "defaults": {
            "model": {"primary": "local/m1", "fallbacks": ["local/m2", "far/hidden"]},
            "models": {"local/m2": {}},
        },
    }
    rows = rows_of(Desk(tmp_path, {**TREE, "agents": agents}))
    assert set(rows) == {"local", "openai", "gone"}
    assert rows["local"]["used"] == [
        {"model": "local/m1", "primaryOf": ["main"], "fallbackOf": []},
        {"model": "local/m2", "primaryOf": ["own"], "fallbackOf": ["main", "ops"]},
    ]
    assert rows["gone"]["used"][0]["primaryOf"] == ["ops"]
    assert (rows["gone"]["served"], rows["gone"]["hasKey"]) == (False, False)


@pytest.mark.parametrize("params", [{"x": 1}, []])
def test_it_takes_no_parameters(desk: Desk, params: Any) -> None:
    code, message = desk.refusal("models.status", params, READER)
    assert code == "INVALID_REQUEST"
    assert "models.status" in message
