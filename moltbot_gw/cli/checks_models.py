"""What ``doctor`` and ``config validate`` find wrong with the models of agents."""

from __future__ import annotations

from pathlib import Path

import attrs

from moltbot_gw.agents.roster import build_roster
from moltbot_gw.cli.checks import Finding
from moltbot_gw.config import Config, ModelChoice, normalize_agent_id
from moltbot_gw.providers.factory import is_served

_ALWAYS = frozenset({"echo"})
_EXAMPLE = "PROVIDER/MODEL"


@attrs.frozen(kw_only=True)
class Orphan:
    """An agent whose *model* no provider serves; *path* is the key that chose it."""

    agent_id: str
    model: str
    path: str
    why: str
    fix: str


def find_orphans(config: Config, home: Path) -> list[Orphan]:
    """Return the agents that cannot run, in the order of the configuration."""
    if config.gateway.mode == "remote":
        return []
    roster = build_roster(config, home)
    providers = {name.lower(): one for name, one in config.models.providers.items()}
    served = _ALWAYS | {name for name, one in providers.items() if is_served(one)}
    usable = [one.ref for one in roster.catalog.models if one.ref.provider in served]
    example = str(usable[0]) if usable else _EXAMPLE
    paths = _paths(config)
    found = []
    for agent in roster.agents.values():
        provider = agent.model.provider
        if provider in served:
            continue
        path = paths[agent.id]
        why, fix = f"there is no models.providers.{provider}", "add it"
        if provider in providers:
            why = f"models.providers.{provider}.api is not served by this gateway"
            fix = "change it"
        found.append(
            Orphan(
                agent_id=agent.id,
                model=str(agent.model),
                path=path,
                why=why,
                fix=f"{fix}, or choose another: moltbot config set {path} {example}",
            )
        )
    return found


def check_models(config: Config, home: Path) -> list[Finding]:
    """Look whether each agent's model has a provider."""
    ok = Finding(
        check="models", level="ok", message="each agent's model has a provider"
    )
    return [
        Finding(check="models", level="wrong", message=describe(one), fix=one.fix)
        for one in find_orphans(config, home)
    ] or [ok]


def describe(orphan: Orphan) -> str:
    """Return what is wrong, in one line."""
    return (
        f"agent {orphan.agent_id} cannot run: its model is {orphan.model}, and"
        f" {orphan.why}"
    )


def _paths(config: Config) -> dict[str, str]:
    """Return where each listed agent's model was chosen, or would be."""
    default = "agents.defaults.model.primary"
    paths = {}
    for index, entry in enumerate(config.agents.list):
        model, path = entry.model, f"agents.list[{index}].model"
        if isinstance(model, ModelChoice):
            model, path = model.primary, f"{path}.primary"
        paths[normalize_agent_id(entry.id)] = path if model else default
    return paths or {"main": default}
