"""How long a provider that failed is left alone.

It is asked again after one minute, then five, then 25, then an hour; one whose account
is empty after five hours, doubled up to a day.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from moltbot_gw.config import Cooldowns
from moltbot_gw.errors import FailureReason

FIRST_SECONDS = 60.0
FACTOR = 5.0
MAX_SECONDS = 3600.0
_HOUR = 3600.0
_MAX_STEPS = 32
"""No backoff grows beyond this count of failures, nor does its arithmetic."""

COOLING: frozenset[FailureReason] = frozenset(
    {
        "rate_limit",
        "overloaded",
        "billing",
        "auth",
        "timeout",
        "unreachable",
        "server_error",
    }
)
"""What says something about the provider; the others are about a model or a request."""


class CooldownPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long a provider is left alone; all times in seconds.

    *window* is how long without a failure makes the next one count as the first.
    """

    billing: float = 5 * _HOUR
    billing_by_provider: Mapping[str, float] = {}
    billing_max: float = 24 * _HOUR
    window: float = 24 * _HOUR

    @classmethod
    def from_config(cls, config: Cooldowns) -> CooldownPolicy:
        """Return what ``auth.cooldowns`` says."""
        return cls(
            billing=config.billing_backoff_hours * _HOUR,
            billing_by_provider={
                name.lower(): hours * _HOUR
                for name, hours in config.billing_backoff_hours_by_provider.items()
            },
            billing_max=config.billing_max_hours * _HOUR,
            window=config.failure_window_hours * _HOUR,
        )

    def seconds(self, provider: str, *, billing: bool, failures: int) -> float:
        """Return how long *provider* rests after *failures* in a row, 1 or more."""
        steps = min(failures, _MAX_STEPS) - 1
        if not billing:
            return min(FIRST_SECONDS * FACTOR**steps, MAX_SECONDS)
        first = self.billing_by_provider.get(provider, self.billing)
        return min(first * 2.0**steps, self.billing_max)
