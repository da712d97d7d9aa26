"""Which models are tried for a run, and in which order.

A model is given up for the next one only where that may help, and only while nobody has
seen a word of it: half an answer of one model does not go on with another's.  Nothing
is tried twice.

Of the providers that rest after a failure (``providerhealth``), at most one is asked,
as the last resort: the one whose time is over soonest.  Nobody is refused untried.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import ceil
from typing import TypeVar

import msgspec
from twisted.logger import Logger, LogLevel

from moltbot_gw.agents.catalog import Catalog, ModelRef
from moltbot_gw.agents.cooldowns import COOLING
from moltbot_gw.agents.providerhealth import ProviderHealth, Rest
from moltbot_gw.agents.roster import Agent
from moltbot_gw.errors import (
    AllModelsFailed,
    AllModelsLimited,
    AllModelsTimedOut,
    FailureReason,
    ProviderFailed,
)
from moltbot_gw.events import AttemptFailed
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.logs.words import Words

_log = Logger()
T = TypeVar("T")

MAX_CANDIDATES = 16
"""How many models are tried for one run, whatever the configuration lists."""

FAILOVER: frozenset[FailureReason] = COOLING | {"model_not_found", "format"}
"""What another model may do better."""

_BUSY: frozenset[FailureReason] = frozenset({"rate_limit", "overloaded"})
_WHOLE_PROVIDER: frozenset[FailureReason] = frozenset(
    {"auth", "billing", "unreachable"}
)
"""What each other model of the same provider would fail with, too."""


class Candidate(msgspec.Struct, frozen=True):
    """A model that may be tried, and who provides it."""

    model: ModelRef
    provider: IModelProvider


def find_candidates(
    chosen: ModelRef,
    agent: Agent,
    *,
    catalog: Catalog,
    providers: Mapping[str, IModelProvider],
    with_images: bool = False,
) -> tuple[Candidate, ...]:
    """Return what to try for a run of *agent* that is to use *chosen*, in order.

    *chosen*, the fallbacks, the agent's own model; each once, and none whose provider
    is not configured.  *with_images* leaves out models that do not take pictures.
    Empty if nothing is left; *chosen* itself is not held against the allowlist.
    """
    names = [chosen, *(ref for ref in agent.fallbacks if catalog.allows_fallback(ref))]
    if not agent.has_own_fallbacks:
        names.append(agent.model)
    usable = {
        str(ref): Candidate(ref, providers[ref.provider])
        for ref in names
        if ref.provider in providers and (ref.accepts_images or not with_images)
    }
    return tuple(usable.values())[:MAX_CANDIDATES]


class _Miss(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate that gave nothing, and why."""

    model: ModelRef
    reason: FailureReason
    message: str
    retry_after: int | None


class Failover:
    """Tries one model after the other, and remembers how that went."""

    def __init__(self, health: ProviderHealth) -> None:
        self.health = health

    async def call(
        self,
        candidates: Sequence[Candidate],
        attempt: Callable[[ModelRef, IModelProvider], Awaitable[T]],
        *,
        spoken: Callable[[], bool],
        run_id: str,
        told: Callable[[AttemptFailed], None] = lambda _: None,
    ) -> tuple[T, ModelRef]:
        """Return what the first *attempt* that succeeds brings, and its model.

        *candidates* must not be empty.  *spoken* says whether anything of the answer
        has been shown; *told* hears of each attempt that failed, before the next one.
        Only ``ProviderFailed`` is looked at, so that aborts and the run's own time-out
        end it at once.  Raises the error of the last attempt; ``AllModelsFailed`` when
        none is left of several.
        """
        waiting, left_out = self._in_order(candidates)
        misses: list[_Miss] = []
        while True:
            current = waiting.pop(0)
            model, number = current.model, self.health.begin()
            try:
                result = await attempt(model, current.provider)
            except ProviderFailed as error:
                self.health.failed(model.provider, str(model), number, error)
                helps = error.reason in FAILOVER and not spoken()
                if helps:
                    misses.append(_miss(model, error))
                    waiting = _without(waiting, model.provider, error.reason)
                following = waiting[0].model if helps and waiting else None
                _tell(told, run_id, model, error, following)
                if following is not None:
                    continue
                if helps and len(misses) + len(left_out) > 1:
                    raise _all_failed([*misses, *left_out]) from error
                raise
            else:
                self.health.succeeded(model.provider, number)
                return result, model

    def _in_order(
        self, candidates: Sequence[Candidate]
    ) -> tuple[list[Candidate], list[_Miss]]:
        """Return what to try, and what is left out because its provider rests."""
        free: list[Candidate] = []
        resting: list[tuple[Rest, Candidate]] = []
        for candidate in candidates:
            rest = self.health.resting(candidate.model.provider)
            if rest is None:
                free.append(candidate)
            else:
                resting.append((rest, candidate))
        resting.sort(key=lambda pair: pair[0].seconds)
        last_resort = [candidate for _, candidate in resting[:1]]
        return free + last_resort, [_left_out(*pair) for pair in resting[1:]]


def _without(
    waiting: list[Candidate], provider: str, reason: FailureReason
) -> list[Candidate]:
    """Return *waiting* as it is to be tried after *provider* has failed."""
    if reason in _WHOLE_PROVIDER:
        return [c for c in waiting if c.model.provider != provider]
    if reason in COOLING:
        return sorted(waiting, key=lambda c: c.model.provider == provider)
    return waiting


def _tell(
    told: Callable[[AttemptFailed], None],
    run_id: str,
    model: ModelRef,
    error: ProviderFailed,
    following: ModelRef | None,
) -> None:
    # The failure of a run as a whole is told where the run is.
    level = LogLevel.info if following is None else LogLevel.warn
    _log.emit(
        level,
        "run {run_id}: {model} failed ({reason}): {text} {then}",
        run_id=run_id,
        model=str(model),
        reason=error.reason,
        text=Words(error.message),
        then="No other is tried." if following is None else f"Trying {following}.",
    )
    told(
        AttemptFailed(
            model=str(model),
            reason=error.reason,
            message=error.message,
            retry_after=error.retry_after,
            next_model=None if following is None else str(following),
        )
    )


def _miss(model: ModelRef, error: ProviderFailed) -> _Miss:
    return _Miss(
        model=model,
        reason=error.reason,
        message=error.message,
        retry_after=error.retry_after,
    )


def _left_out(rest: Rest, candidate: Candidate) -> _Miss:
    seconds = ceil(rest.seconds)
    return _Miss(
        model=candidate.model,
        reason=rest.reason,
        message=f"not asked for {seconds} s more, as it failed before",
        retry_after=seconds,
    )


def _all_failed(misses: Sequence[_Miss]) -> AllModelsFailed:
    """Return one error for all *misses*: what they have in common, if anything."""
    parts = [f"{miss.model}: {miss.message} ({miss.reason})" for miss in misses]
    reasons = {miss.reason for miss in misses}
    kind: type[AllModelsFailed] = AllModelsFailed
    if reasons == {"rate_limit"}:
        kind = AllModelsLimited
    elif reasons == {"timeout"}:
        kind = AllModelsTimedOut
    waits = [m.retry_after for m in misses if m.retry_after and reasons <= _BUSY]
    return kind(
        f"All models failed ({len(misses)}): {' | '.join(parts)}",
        reason=reasons.pop() if len(reasons) == 1 else "other",
        retry_after=min(waits, default=None),
    )
