"""``moltbot gateway``: run it, or ask it things."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from moltbot_gw.cli.calling import call
from moltbot_gw.cli.daemon import daemon_words
from moltbot_gw.cli.gateway_status import probe_gateways, status
from moltbot_gw.cli.health import health_text
from moltbot_gw.cli.install import install, uninstall
from moltbot_gw.cli.lazy import pass_on
from moltbot_gw.cli.output import Failure, counted, write, write_json
from moltbot_gw.cli.reach import find_reach, flags_of, reach_options
from moltbot_gw.cli.status import usage_line
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings

F = TypeVar("F", bound=Callable[..., Any])


def run_options(command: F) -> F:
    """Give a command the options of the daemon."""
    options = (
        click.option("--config", help="Configuration file instead of the usual one."),
        click.option("--port", help="Port to listen on."),
        click.option("--bind", help="loopback, lan, tailnet, auto or custom."),
        click.option("--auth", help="What secret is asked for: token or password."),
        click.option("--token", help="Token (rather set CLAWDBOT_GATEWAY_TOKEN)."),
        click.option("--password", help="Password."),
        click.option(
            "--endpoint",
            "endpoints",
            multiple=True,
            help="Twisted endpoint; repeatable.",
        ),
        click.option("--dev", is_flag=True, help="Try it out: echo agent, own state."),
        click.option("--allow-unconfigured", is_flag=True, hidden=True),
        click.option("--verbose", is_flag=True, hidden=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@run_options
@click.pass_context
def gateway(ctx: click.Context, /, **given: Any) -> None:
    """Run the gateway in the foreground, or ask it things."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(run, **given)
    else:
        pass_on(ctx, **given)


@gateway.command()
@run_options
@pass_surroundings
def run(surroundings: Surroundings, /, **given: Any) -> None:
    """Run the gateway in the foreground until a signal stops it.

    The process becomes ``twistd -n moltbot-gateway``, whose exit status counts.
    """
    words = daemon_words(surroundings, given)
    sys.stdout.flush()
    os.execve(words[0], words, dict(surroundings.environ))  # noqa: S606


gateway.add_command(status)
gateway.add_command(probe_gateways)
gateway.add_command(install)
gateway.add_command(uninstall)


@gateway.command("call")
@click.argument("method")
@click.option("--params", default="{}", show_default=True, help="Parameters, as JSON.")
@click.option("--expect-final", is_flag=True, help="Wait for the last answer.")
@click.option("--json", "as_json", is_flag=True, help="Write nothing but the answer.")
@reach_options()
@pass_surroundings
def call_method(
    surroundings: Surroundings,
    /,
    method: str,
    params: str,
    expect_final: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Call METHOD of the running gateway and write its answer as JSON."""
    try:
        parsed = json.loads(params)
    except (ValueError, RecursionError) as error:
        raise Failure(f"Gateway call failed: --params is not JSON: {error}") from None
    surroundings.warn_if_invalid()
    reach = find_reach(surroundings, flags_of(given), strict=False)
    answer = call(
        reach,
        method,
        parsed,
        expect_final=expect_final,
        raw=True,
        failing="Gateway call failed: ",
    )
    if not as_json:
        write(f"Gateway call: {method}")
    write_json(answer)


@gateway.command("health")
@click.option("--json", "as_json", is_flag=True, help="Write the summary as JSON.")
@reach_options()
@pass_surroundings
def gateway_health(surroundings: Surroundings, /, as_json: bool, **given: Any) -> None:
    """Ask for the health of the running gateway."""
    surroundings.warn_if_invalid()
    reach = find_reach(surroundings, flags_of(given), strict=False)
    started = time.monotonic()
    summary = call(reach, "health", failing="Gateway health failed: ")
    if as_json:
        write_json(summary)
        return
    took_ms = summary.get("durationMs", round((time.monotonic() - started) * 1000))
    write("Gateway Health")
    write(f"OK ({took_ms}ms)")
    write(health_text(summary, time.time() * 1000))


@gateway.command("usage-cost")
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="How far back.",
)
@click.option("--json", "as_json", is_flag=True, help="Write everything as JSON.")
@reach_options()
@pass_surroundings
def usage_cost(
    surroundings: Surroundings, /, days: int, as_json: bool, **given: Any
) -> None:
    """Show what the runs of the last days cost."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    usage = call(reach, "usage.cost", {"days": days}, failing="Usage cost failed: ")
    if as_json:
        write_json(usage)
        return
    write(f"Usage cost ({counted(days, 'day')})")
    write(f"Total: {usage_line(usage)}")
    missing = (usage.get("totals") or {}).get("missingCostEntries")
    if missing:
        write(f"Missing entries: {missing}")
    if usage.get("daily"):
        latest = usage["daily"][-1]
        write(f"Latest day: {latest['date']} · {usage_line({'totals': latest})}")
