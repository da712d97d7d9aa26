"""``moltbot system``: events, heartbeat, presence."""

from __future__ import annotations

from typing import Any

import click

from moltbot_gw.cli.calling import call
from moltbot_gw.cli.output import write, write_json
from moltbot_gw.cli.reach import find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings


@click.group()
def system() -> None:
    """Presence, heartbeat and system events."""


@system.command()
@click.option("--text", required=True, help="What the agent is told.")
@click.option(
    "--mode",
    type=click.Choice(["now", "next-heartbeat"]),
    default="next-heartbeat",
    show_default=True,
    help="Wake the agent at once, or leave it for its next heartbeat.",
)
@reach_options()
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@pass_surroundings
def event(
    surroundings: Surroundings, /, text: str, mode: str, as_json: bool, **given: Any
) -> None:
    """Tell the main session something before its next turn."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    answer = call(reach, "wake", {"mode": mode, "text": text})
    if as_json:
        write_json(answer)
    else:
        write("ok")


@system.command()
@reach_options()
@click.option("--json", "as_json", is_flag=True, hidden=True)
@pass_surroundings
def presence(surroundings: Surroundings, /, as_json: bool, **given: Any) -> None:
    """Write who is here, as JSON."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    write_json(call(reach, "system-presence"))


@system.group()
def heartbeat() -> None:
    """The agents' heartbeats."""


@heartbeat.command()
@reach_options()
@click.option("--json", "as_json", is_flag=True, hidden=True)
@pass_surroundings
def last(surroundings: Surroundings, /, as_json: bool, **given: Any) -> None:
    """Write the last heartbeat, as JSON (null if there was none)."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    write_json(call(reach, "last-heartbeat"))


def _switch(name: str, enabled: bool) -> click.Command:
    @heartbeat.command(name, help=f"{name.capitalize()} the heartbeats.")
    @reach_options()
    @click.option("--json", "as_json", is_flag=True, hidden=True)
    @pass_surroundings
    def command(surroundings: Surroundings, /, as_json: bool, **given: Any) -> None:
        reach = find_reach(surroundings, flags_of(given), strict=True)
        write_json(call(reach, "set-heartbeats", {"enabled": enabled}))

    return command


enable = _switch("enable", True)
disable = _switch("disable", False)
