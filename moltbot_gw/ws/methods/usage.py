"""``usage.status`` and ``usage.cost``: what the runs have used.

Quotas of subscriptions are not looked up.  Costs are summed up from the stored runs of
all agents, by the prices of the configuration.

Source: upstream ``src/infra/session-cost-usage.ts``, ``src/infra/provider-usage.*.ts``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.costs import price_of, tokens_of
from moltbot_gw.agents.service import AgentService
from moltbot_gw.config import Cost
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.stored import UsageLine
from moltbot_gw.ws.calls import AnyParams, Call, Method
from moltbot_gw.ws.methods.loose import LooseParams, number_in

DEFAULT_DAYS = 30
MAX_DAYS = 3650
KEEP_SECONDS = 30.0
MAX_KEPT = 16


class CostParams(LooseParams, frozen=True, kw_only=True):
    """*days* is a number, or the text of one; anything else is the default."""

    days: Any = None


class Sums(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens and USD; *missing_cost_entries* counts runs of models without prices."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    total_tokens: int = 0
    total_cost: float = 0.0
    missing_cost_entries: int = 0

    def plus(self, other: Sums) -> Sums:
        """Return the sums of both."""
        return replace(
            self,
            **{
                name: getattr(self, name) + getattr(other, name)
                for name in Sums.__struct_fields__
            },
        )


class CostResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of ``usage.cost``; *daily* has only the days with runs."""

    updated_at: int
    days: int
    daily: list[dict[str, Any]]
    totals: Sums


class UsageMethods:
    """The handlers; an answer is kept for ``KEEP_SECONDS``."""

    def __init__(
        self,
        *,
        store: ISessionStore,
        agents: AgentService,
        clock: IReactorTime,
        unix_time: Callable[[], float],
    ) -> None:
        self._store = store
        self._agents = agents
        self._clock = clock
        self._unix_time = unix_time
        self._kept: dict[int, tuple[float, CostResult]] = {}

    async def status(self, call: Call, params: AnyParams) -> Any:
        """Show the limits of providers; none is known."""
        return {"updatedAt": int(self._unix_time() * 1000), "providers": []}

    async def cost(self, call: Call, params: CostParams) -> CostResult:
        """Sum up tokens and prices of the last days."""
        days = _days(params.days)
        kept = self._kept.get(days)
        if kept is not None and self._clock.seconds() - kept[0] < KEEP_SECONDS:
            return kept[1]
        result = await self._sum_up(days)
        self._kept.pop(days, None)
        self._kept[days] = self._clock.seconds(), result
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        return result

    async def _sum_up(self, days: int) -> CostResult:
        now = self._unix_time()
        lines = await self._store.usage(_first_ms(now, days))
        daily: dict[str, Sums] = {}
        for line in lines:
            daily[line.day] = daily.get(line.day, Sums()).plus(self._sums(line))
        return CostResult(
            updated_at=int(now * 1000),
            days=days,
            daily=[
                {"date": day, **msgspec.to_builtins(sums)}
                for day, sums in sorted(daily.items())
            ],
            totals=_total(daily.values()),
        )

    def _sums(self, line: UsageLine) -> Sums:
        known = self._agents.roster.catalog.details(ModelRef(line.provider, line.model))
        tokens = tokens_of(
            line.prompt_tokens,
            line.completion_tokens,
            line.cached_tokens,
            line.total_tokens,
        )
        return Sums(
            input=tokens.input,
            output=tokens.output,
            cache_read=tokens.cache_read,
            total_tokens=tokens.total,
            total_cost=price_of(tokens, known.cost if known else Cost()).total,
            missing_cost_entries=0 if known else line.runs,
        )


def methods(
    *,
    store: ISessionStore,
    agents: AgentService,
    clock: IReactorTime,
    unix_time: Callable[[], float],
) -> list[Method]:
    """Return the methods of this module; see ``UsageMethods``."""
    does = UsageMethods(store=store, agents=agents, clock=clock, unix_time=unix_time)
    return [
        Method("usage.status", "read", AnyParams, does.status),
        Method("usage.cost", "read", CostParams, does.cost),
    ]


def _days(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = float(value[:32])
        except ValueError:
            value = None
    number = number_in(value)
    if number is None or number != number:
        return DEFAULT_DAYS
    return int(max(1, min(number, MAX_DAYS)))


def _first_ms(now: float, days: int) -> int:
    """Return when the first of the last *days* began, by the machine's own clock."""
    today = datetime.fromtimestamp(now).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return int((today - timedelta(days=days - 1)).timestamp() * 1000)


def _total(sums: Iterable[Sums]) -> Sums:
    total = Sums()
    for one in sums:
        total = total.plus(one)
    return total
