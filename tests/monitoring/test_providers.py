from __future__ import annotations

from moltbot_gw.errors import ProviderOverloaded, ProviderUnauthorized
from tests.monitoring.support import Watched

ANSWERS, ERRORS = "moltbot_provider_answers_total", "moltbot_provider_errors_total"
COOLDOWN = "moltbot_provider_cooldown_seconds"


def test_every_configured_provider_is_told_of(watched: Watched) -> None:
    figures = watched.figures()
    for provider in ("script", "echo"):
        assert figures.value(COOLDOWN, provider=provider) == 0
        assert figures.value(ANSWERS, provider=provider) == 0
    assert figures.samples(ERRORS) == {}


def test_errors_are_counted_by_class_and_a_cooldown_runs_out(watched: Watched) -> None:
    health = watched.provider_health
    health.succeeded("script", health.begin())
    for error in (
        ProviderOverloaded("later", retry_after=90),
        ProviderUnauthorized(""),
    ):
        health.failed("script", "script/model", health.begin(), error)
    figures = watched.figures()
    assert figures.value(ANSWERS, provider="script") == 1
    classes = figures.samples(ERRORS)
    assert sorted(dict(labels)["class"] for labels in classes) == sorted(
        {error.reason for error in (ProviderOverloaded(""), ProviderUnauthorized(""))}
    )
    before = figures.value(COOLDOWN, provider="script")
    assert before >= 90
    watched.clock.advance(30)
    assert watched.figures().value(COOLDOWN, provider="script") == before - 30
    watched.clock.advance(before)
    assert watched.figures().value(COOLDOWN, provider="script") == 0
