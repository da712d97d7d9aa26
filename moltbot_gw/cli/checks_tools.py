"""What ``doctor`` says of agents that may run commands."""

from __future__ import annotations

from pathlib import Path

from moltbot_gw.agents.roster import build_roster
from moltbot_gw.agents.toolpolicy import ToolPolicies
from moltbot_gw.cli.checks import Finding
from moltbot_gw.config import Config

_EXEC = ("exec",)


def check_tools(config: Config, home: Path) -> list[Finding]:
    """Note each agent that may run any command on the gateway's machine."""
    if config.gateway.mode == "remote":
        return []
    policies = ToolPolicies(config)
    found = []
    for agent in build_roster(config, home).agents.values():
        model = agent.model
        [verdict] = policies.verdicts(agent.id, model.provider, model.model, _EXEC)
        setting = _full_security(config, agent.id)
        if verdict.allowed and setting is not None:
            message = (
                f"agent {agent.id} may run any command on this machine:"
                f" exec is in {verdict.stage}, and {setting} is full"
            )
            fix = f'set {setting} to "allowlist", unless it is meant so'
            found.append(Finding(check="tools", level="note", message=message, fix=fix))
    return found


def _full_security(config: Config, agent_id: str) -> str | None:
    """Return the setting by which an agent's commands need nobody's approval."""
    entry = next((one for one in config.agents.list if one.id == agent_id), None)
    own = entry.tools.exec if entry is not None and entry.tools is not None else None
    general = config.tools.exec if config.tools is not None else None
    if own is not None and own.security is not None:
        path = f"agents.list[{agent_id}].tools.exec.security"
        return path if own.security == "full" else None
    if general is not None and general.security == "full":
        return "tools.exec.security"
    return None
