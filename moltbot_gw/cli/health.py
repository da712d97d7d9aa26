"""``moltbot health``."""

from __future__ import annotations

import time
from typing import Any

import click

from moltbot_gw.cli.calling import call
from moltbot_gw.cli.output import age, write, write_json
from moltbot_gw.cli.reach import find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings


@click.command()
@reach_options()
@click.option("--json", "as_json", is_flag=True, help="Write the summary as JSON.")
@click.option("--verbose", "--debug", is_flag=True, help="Let the gateway look afresh.")
@pass_surroundings
def health(
    surroundings: Surroundings, /, as_json: bool, verbose: bool, **given: Any
) -> None:
    """Ask the running gateway for its health; status 1 if it cannot be reached."""
    surroundings.warn_if_invalid()
    reach = find_reach(surroundings, flags_of(given), strict=False)
    summary = call(reach, "health", {"probe": True} if verbose else {})
    if as_json:
        write_json(summary)
    else:
        write(health_text(summary, time.time() * 1000))


def health_text(summary: Any, now_ms: float) -> str:
    """Return the summary for people."""
    agents = summary.get("agents") or []
    named = [
        f"{agent['agentId']}{' (default)' if agent.get('isDefault') else ''}"
        for agent in agents
    ]
    lines = [f"Agents: {', '.join(named) or 'none'}"]
    beats = [
        f"{agent['heartbeat']['every']} ({agent['agentId']})"
        for agent in agents
        if agent.get("heartbeat", {}).get("enabled")
    ]
    lines.append(f"Heartbeat interval: {', '.join(beats) or 'disabled'}")
    sessions = summary.get("sessions") or {}
    name = summary.get("defaultAgentId", "main")
    path, count = sessions.get("path", "-"), sessions.get("count", 0)
    entries = f"{count} {'entry' if count == 1 else 'entries'}"
    lines.append(f"Session store ({name}): {path} ({entries})")
    for entry in sessions.get("recent") or []:
        lines.append(f"- {entry['key']} ({age(entry.get('updatedAt'), now_ms)})")
    return "\n".join(lines)
