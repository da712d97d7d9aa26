"""How the providers are doing, and which of them are left alone for a while.

A success ends a cooldown.  Nothing survives a restart: the first request finds out
again.

Many runs may fail over one outage.  Only the first of those that began before it counts
as a step of the backoff, or ten runs at once would make an hour of one hiccup; for the
same reason an answer that was under way before an outage does not end it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.cooldowns import COOLING, CooldownPolicy
from moltbot_gw.errors import FailureReason, ProviderFailed


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """A provider is left alone for *seconds* more, because of *reason*."""

    seconds: float
    reason: FailureReason


class LastFailure(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong last; *message* is fit for a stranger, *at_ms* in Unix ms."""

    at_ms: int
    model: str
    reason: FailureReason
    message: str


class ProviderState(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider has done since the start; times in Unix ms."""

    provider: str
    successes: int
    failures: Mapping[FailureReason, int]
    last_success_ms: int | None
    last_failure: LastFailure | None
    cooldown_until_ms: int | None
    cooldown_reason: FailureReason | None


@attrs.define(kw_only=True)
class _Record:
    """What is kept of one provider; *steps* and *billing_steps* count for backoff.

    *until* and *failed_at* are times of the clock, *outage* the number of the attempt
    that was the latest to begin when a failure was last counted.
    """

    successes: int = 0
    failures: dict[FailureReason, int] = attrs.Factory(dict)
    last_success_ms: int | None = None
    last_failure: LastFailure | None = None
    steps: int = 0
    billing_steps: int = 0
    failed_at: float = 0.0
    until: float = 0.0
    reason: FailureReason = "other"
    outage: int = 0


@attrs.define
class _Attempts:
    count: int = 0


class ProviderHealth:
    """The state of each provider; there are no others than *providers*, in lower case.

    The key of a record is a provider because each has one API key here.  Of those that
    are *kept* from the health *before* a reload, all that is known stays known.
    """

    def __init__(
        self,
        *,
        providers: Iterable[str],
        policy: CooldownPolicy,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        before: ProviderHealth | None = None,
        kept: Collection[str] = (),
    ) -> None:
        self._records = {name: _Record() for name in providers}
        self._policy = policy
        self._clock = clock
        self._unix_time = unix_time
        self._attempts = _Attempts()
        if before is not None:
            # Shared, not copied: runs under way still report to the one before.
            self._attempts = before._attempts
            self._records |= {name: before._records[name] for name in kept}

    def begin(self) -> int:
        """Return the number of an attempt that begins now."""
        self._attempts.count += 1
        return self._attempts.count

    def succeeded(self, provider: str, attempt: int) -> None:
        """The *attempt* at *provider* brought a whole answer."""
        record = self._records[provider]
        record.successes += 1
        record.last_success_ms = self._now_ms()
        if attempt > record.outage:
            record.steps = record.billing_steps = 0
            record.until = 0.0

    def failed(
        self, provider: str, model: str, attempt: int, error: ProviderFailed
    ) -> None:
        """The *attempt* at *model* of *provider* ended with *error*."""
        record, reason = self._records[provider], error.reason
        record.failures[reason] = record.failures.get(reason, 0) + 1
        record.last_failure = LastFailure(
            at_ms=self._now_ms(), model=model, reason=reason, message=error.message
        )
        if reason not in COOLING:
            return
        now = self._clock.seconds()
        rest = float(error.retry_after or 0)
        if attempt > record.outage:
            rest = max(rest, self._step(provider, record, reason, now))
            record.outage = self._attempts.count
        record.failed_at = now
        if now + rest > record.until:
            record.until, record.reason = now + rest, reason

    def resting(self, provider: str) -> Rest | None:
        """Return how long *provider* is to be left alone; None if it is not."""
        record = self._records[provider]
        left = record.until - self._clock.seconds()
        return Rest(seconds=left, reason=record.reason) if left > 0 else None

    def states(self) -> list[ProviderState]:
        """Return how all providers are doing, by name."""
        return [self._state(name) for name in sorted(self._records)]

    def _step(
        self, provider: str, record: _Record, reason: FailureReason, now: float
    ) -> float:
        """Count a failure; return how long the provider rests for it."""
        if now - record.failed_at > self._policy.window:
            record.steps = record.billing_steps = 0
        billing = reason == "billing"
        if billing:
            record.billing_steps += 1
        else:
            record.steps += 1
        failures = record.billing_steps if billing else record.steps
        return self._policy.seconds(provider, billing=billing, failures=failures)

    def _state(self, name: str) -> ProviderState:
        record, rest = self._records[name], self.resting(name)
        return ProviderState(
            provider=name,
            successes=record.successes,
            failures=dict(record.failures),
            last_success_ms=record.last_success_ms,
            last_failure=record.last_failure,
            cooldown_until_ms=None
            if rest is None
            else self._now_ms() + int(rest.seconds * 1000),
            cooldown_reason=None if rest is None else rest.reason,
        )

    def _now_ms(self) -> int:
        return int(self._unix_time() * 1000)
