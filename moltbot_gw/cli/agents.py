"""``moltbot agents``."""

from __future__ import annotations

from typing import Any

import click

from moltbot_gw.cli.calling import call
from moltbot_gw.cli.lazy import pass_on
from moltbot_gw.cli.output import columns, write, write_json
from moltbot_gw.cli.reach import find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings

_WIDTHS = (16, 7, 42)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON.")
@click.pass_context
def agents(ctx: click.Context, /, as_json: bool) -> None:
    """List the agents (the same as ``agents list``), or show one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_agents, as_json=as_json)
    else:
        pass_on(ctx, as_json=as_json)


@agents.command("list")
@reach_options()
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON.")
@pass_surroundings
def list_agents(surroundings: Surroundings, /, as_json: bool, **given: Any) -> None:
    """List the agents that the gateway serves."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    answer = call(reach, "agents.list")
    rows = [_row(agent, answer["defaultId"]) for agent in answer["agents"]]
    if as_json:
        write_json(rows)
        return
    write("Agents:")
    for row in rows:
        write(f"- {row['id']}{' (default)' if row['isDefault'] else ''}")
        shown = " ".join(
            str(row[name]) for name in ("identityEmoji", "identityName") if name in row
        )
        if shown or row.get("name"):
            write(f"  {shown or row['name']}")


@agents.command("show")
@click.argument("agent_id", metavar="ID")
@click.option("--model", help="With this model instead of the agent's own.")
@click.option("--all", "everything", is_flag=True, help="Also tools not served here.")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@reach_options()
@pass_surroundings
def show_agent(
    surroundings: Surroundings,
    /,
    agent_id: str,
    model: str | None,
    everything: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Show which tools an agent may use, and which setting says so."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    params = {"agentId": agent_id} | ({} if model is None else {"model": model})
    answer = call(reach, "agents.show", params)
    if as_json:
        write_json(answer)
        return
    for name, key in (("Agent", "agentId"), ("Model", "model")):
        write(f"{name + ':':<11}{answer[key]}")
    write(f"Workspace: {answer['workspace']}")
    write()
    shown = [tool for tool in answer["tools"] if everything or tool.get("served", True)]
    cells = [["Tool", "Allowed", "Stage", "Why"]]
    cells += [
        [tool["name"], _word(tool), tool["stage"], tool.get("why", "")]
        for tool in shown
    ]
    write(columns(cells, _WIDTHS))


def _word(tool: dict[str, Any]) -> str:
    if not tool.get("served", True):
        return "absent"
    return "yes" if tool["allowed"] else "no"


def _row(agent: dict[str, Any], default: str) -> dict[str, Any]:
    identity = agent.get("identity") or {}
    row: dict[str, Any] = {
        "id": agent["id"],
        "name": agent.get("name"),
        "identityName": identity.get("name"),
        "identityEmoji": identity.get("emoji"),
    }
    row = {name: value for name, value in row.items() if value is not None}
    return {**row, "isDefault": agent["id"] == default}
