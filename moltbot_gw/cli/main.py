"""The root of the ``moltbot`` command."""

from __future__ import annotations

import click

from moltbot_gw import __version__
from moltbot_gw.cli.lazy import RootGroup

_HERE = "moltbot_gw.cli"
_COMMANDS = {
    "agent": (
        f"{_HERE}.agent:agent",
        "Send a message to an agent and show its answer.",
    ),
    "agents": (f"{_HERE}.agents:agents", "List the agents, show what they may."),
    "gateway": (f"{_HERE}.gateway:gateway", "Run the gateway, or ask it things."),
    "sessions": (f"{_HERE}.sessions:sessions", "List, show and remove conversations."),
    "models": (f"{_HERE}.models:models", "List the models, show the default one."),
    "config": (f"{_HERE}.config:config", "Read and change the configuration file."),
    "status": (f"{_HERE}.status:status", "Show how the gateway is doing."),
    "health": (f"{_HERE}.health:health", "Ask the running gateway for its health."),
    "keys": (f"{_HERE}.keys:keys", "Give others keys of their own, take them back."),
    "logs": (f"{_HERE}.logs:logs", "Show the gateway's log, and follow it."),
    "devices": (f"{_HERE}.devices:devices", "Let devices in, or send them away."),
    "system": (f"{_HERE}.system:system", "Presence, heartbeat and system events."),
    "doctor": (f"{_HERE}.doctor:doctor", "Look for what is wrong, and say the fix."),
    "completion": (
        f"{_HERE}.completion:completion",
        "Print the shell's completion script.",
    ),
}


@click.group(
    cls=RootGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--profile", metavar="NAME", help="Use ~/.clawdbot-NAME for everything.")
@click.option("--dev", is_flag=True, help="Use the state and the port of the dev mode.")
@click.option("--no-color", is_flag=True, help="Write without colours.")
@click.version_option(
    __version__, "-V", "-v", "--version", prog_name="moltbot", message="%(version)s"
)
@click.pass_context
def root(ctx: click.Context, /, profile: str | None, dev: bool, no_color: bool) -> None:
    """AI agents behind one port: talk to them, look after the gateway."""
    from moltbot_gw.cli.surroundings import find_surroundings

    ctx.obj = find_surroundings(profile=profile, dev=dev)
    if no_color:
        ctx.color = False


def main() -> None:
    """Be the console script."""
    root.main()
