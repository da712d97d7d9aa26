"""``moltbot status``: everything about the gateway on one page."""

from __future__ import annotations

import platform
from typing import Any

import click

from moltbot_gw.cli.calling import Probe, explain, in_reactor, probe
from moltbot_gw.cli.output import Failure, age_of, columns, write, write_json
from moltbot_gw.cli.reach import Reach, find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings

_METHODS = ("status", "health", "system-presence")


@click.command()
@reach_options()
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@click.option("--deep", is_flag=True, help="Show the health of each part too.")
@click.option("--all", "everything", is_flag=True, help="The same as --deep.")
@click.option("--usage", is_flag=True, help="Show what the last 30 days cost.")
@click.option("--verbose", "--debug", is_flag=True, hidden=True)
@pass_surroundings
def status(
    surroundings: Surroundings,
    /,
    as_json: bool,
    deep: bool,
    everything: bool,
    usage: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Show how the gateway is doing; status 1 if it cannot be reached."""
    surroundings.warn_if_invalid()
    reach = find_reach(surroundings, flags_of(given), strict=False)
    methods = (*_METHODS, "usage.cost") if usage else _METHODS
    found = in_reactor(lambda reactor: probe(reactor, reach, *methods))
    summary = summarise(found, reach)
    if deep or everything:
        summary["health"] = found.answers.get("health")
    if usage:
        summary["usage"] = found.answers.get("usage.cost")
    if as_json:
        write_json(summary)
    else:
        write(status_text(found, reach, summary))
    if found.error is not None:
        raise Failure(explain(found.error, reach))


def summarise(found: Probe, reach: Reach) -> dict[str, Any]:
    """Return the page as JSON has it."""
    summary: dict[str, Any] = dict(found.answers.get("status") or {})
    summary["os"] = {
        "platform": platform.system().lower(),
        "release": platform.release(),
        "arch": platform.machine(),
    }
    summary["gateway"] = {
        "mode": "local" if reach.bind else "remote",
        "url": reach.url,
        "urlSource": reach.source,
        "misconfigured": False,
        "reachable": found.reached,
        "connectLatencyMs": found.latency_ms,
        "self": find_self(found.answers.get("system-presence")),
        "error": None if found.error is None else str(found.error),
    }
    summary["agents"] = (found.answers.get("health") or {}).get("agents", [])
    return summary


def find_self(presence: Any) -> Any:
    """Return the gateway's own entry of the presence list."""
    entries = presence if isinstance(presence, list) else []
    return next((one for one in entries if one.get("reason") == "self"), None)


def status_text(found: Probe, reach: Reach, summary: dict[str, Any]) -> str:
    """Return the page for people."""
    state = f"reachable {found.latency_ms}ms" if found.reached else "unreachable"
    rows = [["Gateway", f"{reach.url} ({reach.source}) · {state}"]]
    sessions = summary.get("sessions")
    if sessions:
        model = (sessions.get("defaults") or {}).get("model") or "none"
        names = [agent["agentId"] for agent in summary["agents"]]
        beats = (summary.get("heartbeat") or {}).get("agents") or []
        every = [f"{b['every']} ({b['agentId']})" for b in beats if b.get("enabled")]
        rows += [
            ["Agents", ", ".join(names) or "none"],
            ["Model", model],
            ["Heartbeat", ", ".join(every) or "disabled"],
            ["Events", f"{len(summary.get('queuedSystemEvents') or [])} queued"],
            ["Sessions", f"{sessions.get('count', 0)} kept"],
        ]
    if summary.get("usage"):
        rows.append(["Usage", usage_line(summary["usage"])])
    lines = ["Moltbot status", "", columns(rows, (10,))]
    recent = (sessions or {}).get("recent") or []
    if recent:
        lines += ["", "Recent sessions"]
        lines += [f"- {row['key']} ({_age(row)})" for row in recent]
    return "\n".join(lines)


def usage_line(usage: dict[str, Any]) -> str:
    """Return the totals of ``usage.cost`` in words."""
    totals = usage.get("totals") or {}
    cost, tokens = totals.get("totalCost") or 0, totals.get("totalTokens") or 0
    return f"${cost:.2f} · {tokens:,} tokens"


def _age(row: dict[str, Any]) -> str:
    return "unknown" if row.get("age") is None else age_of(row["age"])
