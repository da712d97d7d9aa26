"""``models.status``: how the models' providers are doing.  This method is ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moltbot_gw.agents.providerhealth import (
    LastFailure,
    ProviderState,
)
from moltbot_gw.agents.roster import Roster
from moltbot_gw.agents.service import AgentService
from moltbot_gw.errors import FailureReason
from moltbot_gw.ws.calls import Call, Method, NoParams, Result


class UsedModel(Result, frozen=True, kw_only=True):
    """A model that agents use, ``provider/model``, and the ids of those agents."""

    model: str
    primary_of: list[str]
    fallback_of: list[str]


class FailureRow(Result, frozen=True, kw_only=True):
    """What went wrong last, *at* Unix ms."""

    at: int
    model: str
    reason: str
    message: str


class ProviderRow(Result, frozen=True, kw_only=True):
    """A provider; *served* is false for one that only the agents name.

    *successes* and *failures* (by their reason) count the calls of models since the
    start, *used* is what agents are configured to use of it; times are in Unix ms.
    """

    provider: str
    served: bool
    has_key: bool
    used: list[UsedModel]
    successes: int
    failures: Mapping[FailureReason, int]
    last_success_at: int | None = None
    last_failure: FailureRow | None = None
    cooldown_until: int | None = None
    cooldown_reason: str | None = None


class StatusResult(Result, frozen=True, kw_only=True):
    """The answer of ``models.status``, made at *ts* (Unix ms)."""

    ts: int
    providers: list[ProviderRow]


_Used = dict[str, list[UsedModel]]


class ModelStatus:
    """The handler."""

    def __init__(
        self,
        *,
        agents: AgentService,
        unix_time: Callable[[], float],
    ) -> None:
        self._agents = agents
        self._unix_time = unix_time

    async def status(self, call: Call, params: NoParams) -> StatusResult:
        """Show how the providers of models are doing."""
        setup = self._agents.setup
        keys = setup.with_keys
        used = _used_models(setup.roster)
        rows = {
            state.provider: _row(state.provider, state, used, keys)
            for state in setup.failover.health.states()
            # The built-in provider is of interest to those who use it.
            if state.provider in keys
            or state.provider in used
            or state.successes
            or state.failures
        }
        for name in {*keys, *used} - set(rows):
            rows[name] = _row(name, None, used, keys)
        return StatusResult(
            ts=int(self._unix_time() * 1000),
            providers=[rows[name] for name in sorted(rows)],
        )


def methods(
    *,
    agents: AgentService,
    unix_time: Callable[[], float],
) -> list[Method]:
    """Return the method of this module; see ``ModelStatus``."""
    does = ModelStatus(agents=agents, unix_time=unix_time)
    return [Method("models.status", "read", NoParams, does.status)]


def _row(
    name: str, state: ProviderState | None, used: _Used, keys: Mapping[str, bool]
) -> ProviderRow:
    return ProviderRow(
        provider=name,
        served=state is not None,
        has_key=keys.get(name, False),
        used=used.get(name, []),
        successes=state.successes if state else 0,
        failures=state.failures if state else {},
        last_success_at=state.last_success_ms if state else None,
        last_failure=_failure(state.last_failure) if state else None,
        cooldown_until=state.cooldown_until_ms if state else None,
        cooldown_reason=state.cooldown_reason if state else None,
    )


def _failure(failure: LastFailure | None) -> FailureRow | None:
    if failure is None:
        return None
    return FailureRow(
        at=failure.at_ms,
        model=failure.model,
        reason=failure.reason,
        message=failure.message,
    )


def _used_models(roster: Roster) -> _Used:
    """Return the models that agents are configured with, by provider."""
    used: dict[str, dict[str, UsedModel]] = {}

    def row(provider: str, model: str) -> UsedModel:
        empty = UsedModel(model=model, primary_of=[], fallback_of=[])
        return used.setdefault(provider, {}).setdefault(model, empty)

    for agent in roster.agents.values():
        row(agent.model.provider, str(agent.model)).primary_of.append(agent.id)
        for ref in agent.fallbacks:
            if roster.catalog.allows_fallback(ref) and ref != agent.model:
                row(ref.provider, str(ref)).fallback_of.append(agent.id)
    return {name: list(rows.values()) for name, rows in used.items()}
