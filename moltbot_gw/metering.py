"""How much each named key has used: requests and tokens a minute, runs at once.

Requests and tokens lie in buckets that hold a minute's worth and fill evenly.  What a
run costs is known only when it has ended, so a run starts while any token is left, and
its cost may put the bucket into debt, which has to fill up again before the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from twisted.internet.interfaces import IReactorTime

from moltbot_gw.errors import GatewayError
from moltbot_gw.principals import Limits, Principal

WINDOW = 60.0
BUSY_RETRY_AFTER = 5
"""Seconds that a key with too many runs is asked to wait: about one short answer."""

Headers = tuple[tuple[str, str], ...]


class RateLimited(GatewayError):
    """A named key has used up what it may; *headers* say what is left of what."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        *,
        retry_after: int,
        headers: Headers = (),
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.headers = headers


class Bucket:
    """*capacity* a minute: so much at once when it is full, and it fills evenly."""

    def __init__(self, clock: IReactorTime, capacity: int) -> None:
        self._clock = clock
        self.capacity = capacity
        self._level = float(capacity)
        self._at = clock.seconds()

    @property
    def level(self) -> float:
        """How much is left now; below zero is debt."""
        now = self._clock.seconds()
        grown = (now - self._at) * self.capacity / WINDOW
        self._level = min(self._level + max(grown, 0.0), float(self.capacity))
        self._at = now
        return self._level

    def take(self, amount: float) -> None:
        """Take *amount* out, whether it is there or not."""
        self._level = self.level - amount

    def wait_for(self, amount: float) -> float:
        """Return how many seconds it takes until *amount* is there."""
        return max(amount - self.level, 0.0) * WINDOW / self.capacity

    def headers(self, kind: str) -> Headers:
        """Return what OpenAI's API says of a limit on *kind*."""
        return (
            (f"x-ratelimit-limit-{kind}", str(self.capacity)),
            (f"x-ratelimit-remaining-{kind}", str(max(math.floor(self.level), 0))),
            (f"x-ratelimit-reset-{kind}", spell_wait(self.wait_for(self.capacity))),
        )


class _Meter:
    """What one key has used."""

    def __init__(self, clock: IReactorTime, limits: Limits) -> None:
        self._clock = clock
        self.running = 0
        self.adopt(limits)

    def adopt(self, limits: Limits) -> None:
        """Go by *limits* from now on; the minute begins anew, runs still count."""
        self.limits = limits
        requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
        self.requests = None if requests is None else Bucket(self._clock, requests)
        self.tokens = None if tokens is None else Bucket(self._clock, tokens)

    def headers(self) -> Headers:
        requests = () if self.requests is None else self.requests.headers("requests")
        tokens = () if self.tokens is None else self.tokens.headers("tokens")
        return (*requests, *tokens)

    def check_tokens(self) -> None:
        if self.tokens is not None and self.tokens.level < 1:
            limit = self.tokens.capacity
            message = f"This key may use {limit} tokens a minute"
            raise self._limited(message, self.tokens.wait_for(1))

    def take_request(self) -> None:
        if self.requests is None:
            return
        if self.requests.level < 1:
            limit = self.requests.capacity
            message = f"This key may make {limit} requests a minute"
            raise self._limited(message, self.requests.wait_for(1))
        self.requests.take(1)

    def _limited(self, message: str, seconds: float) -> RateLimited:
        wait = max(math.ceil(seconds), 1)
        return RateLimited(
            f"{message}; wait {wait} seconds.",
            retry_after=wait,
            headers=self.headers(),
        )


class RunMeter:
    """What one run uses; *end* is called once."""

    def __init__(self, meter: _Meter | None = None, *, counts: bool = True) -> None:
        self._meter = meter
        self._counts = counts

    def end(self, tokens: int) -> None:
        """The run is over and has used *tokens*."""
        if self._meter is None:
            return
        if self._counts:
            self._meter.running -= 1
        if self._meter.tokens is not None:
            self._meter.tokens.take(tokens)


class Meters:
    """One meter for each key that has limits and was used; the owner has none.

    *limits_of* tells the limits that count now; they may change at any time, and what
    was used up before is forgotten then.
    """

    def __init__(
        self, clock: IReactorTime, limits_of: Callable[[Principal], Limits]
    ) -> None:
        self._clock = clock
        self._limits_of = limits_of
        self._meters: dict[str, _Meter] = {}

    def take(self, principal: Principal) -> Headers:
        """Count a request of *principal*; return the headers that tell what is left.

        Raises ``RateLimited``, and counts nothing then.
        """
        meter = self._find(principal)
        if meter is None:
            return ()
        meter.check_tokens()
        meter.take_request()
        return meter.headers()

    def begin(self, principal: Principal, *, nested: bool = False) -> RunMeter:
        """Count a run of *principal*; raise ``RateLimited`` if it is one too many.

        A *nested* run is always let in, because another run waits for it.
        """
        meter = self._find(principal)
        if meter is None:
            return RunMeter()
        most = meter.limits.max_concurrent_runs
        if not nested and most is not None and meter.running >= most:
            raise RateLimited(
                f"This key may have {most} runs at the same time.",
                retry_after=BUSY_RETRY_AFTER,
                headers=meter.headers(),
            )
        meter.running += not nested
        return RunMeter(meter, counts=not nested)

    def forget(self, names: Collection[str]) -> None:
        """Forget the keys *names*; their runs go on and count nowhere."""
        for name in names:
            self._meters.pop(name, None)

    def _find(self, principal: Principal) -> _Meter | None:
        if principal.is_owner:
            return None
        limits = self._limits_of(principal)
        meter = self._meters.get(principal.name)
        if meter is None:
            if limits == Limits():
                return None
            meter = self._meters[principal.name] = _Meter(self._clock, limits)
        elif meter.limits != limits:
            meter.adopt(limits)
        return meter


def spell_wait(seconds: float) -> str:
    """Return *seconds* as OpenAI's API spells times: ``20ms``, ``1.5s``, ``6m0s``."""
    millis = math.ceil(seconds * 1000)
    if millis < 1000:
        return f"{millis}ms" if millis else "0s"
    minutes, millis = divmod(millis, 60_000)
    rest = f"{millis / 1000:g}s"
    return f"{minutes}m{rest}" if minutes else rest
