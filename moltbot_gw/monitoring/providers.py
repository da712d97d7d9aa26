"""Figures on the providers: what went wrong there, and who is left alone for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Metric

from moltbot_gw.agents.providerhealth import ProviderHealth
from moltbot_gw.monitoring.families import counters, gauges
from moltbot_gw.tallies import Counts


class ProviderFigures:
    """Reads what *health* remembers of all configured providers.

    It is asked for each time: a new configuration brings another.
    """

    def __init__(self, health: Callable[[], ProviderHealth]) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Return how it is now."""
        answers, errors = Counts("provider"), Counts("provider", "class")
        cooldowns = {}
        health = self._health()
        for state in health.states():
            name = state.provider
            answers.add(name, amount=state.successes)
            for reason, count in state.failures.items():
                errors.add(name, reason, amount=count)
            rest = health.resting(name)
            cooldowns[name] = 0.0 if rest is None else rest.seconds
        yield counters("provider_answers", "Model calls that went well.", answers)
        yield counters("provider_errors", "Model calls that failed.", errors)
        yield gauges(
            "provider_cooldown_seconds",
            "For how long a provider is left alone; 0 if it is not.",
            "provider",
            cooldowns,
        )
