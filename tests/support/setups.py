"""Agents as a configuration makes them, with the usual parts where a test has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.context import Compactor
from moltbot_gw.agents.cooldowns import CooldownPolicy
from moltbot_gw.agents.failover import Failover
from moltbot_gw.agents.prompts import Prompts
from moltbot_gw.agents.providerhealth import ProviderHealth
from moltbot_gw.agents.roster import Roster
from moltbot_gw.agents.setup import AgentSetup
from moltbot_gw.agents.toolpolicy import ToolPolicies
from moltbot_gw.agents.window import CompactionSettings
from moltbot_gw.agents.workspace import leave_workspace
from moltbot_gw.config import Config
from moltbot_gw.interfaces import IModelProvider, ISessionStore


def agent_setup(
    roster: Roster,
    providers: Mapping[str, IModelProvider],
    *,
    store: ISessionStore,
    clock: IReactorTime,
    unix_time: Callable[[], float],
    config: Config | None = None,
    compaction: CompactionSettings | None = None,
    **fields: Any,
) -> AgentSetup:
    """Return a setup; *fields* replace what is usual of the rest."""
    health = ProviderHealth(
        providers=list(providers),
        policy=CooldownPolicy(),
        clock=clock,
        unix_time=unix_time,
    )
    usual: dict[str, Any] = {
        "fresh_after_ms": lambda key: 0,
        "max_run_bytes": 1_000_000,
        "prepare_workspace": leave_workspace,
        "prompts": Prompts(
            roster.agents.values(),
            run_in_thread=lambda work: succeed(work()),
            clock=clock,
        ),
        "failover": Failover(health),
        "compactor": Compactor(
            store=store,
            clock=clock,
            unix_time=unix_time,
            settings=compaction or CompactionSettings(),
        ),
        "policies": ToolPolicies(config or Config()),
    }
    return AgentSetup(roster=roster, providers=providers, **(usual | fields))
