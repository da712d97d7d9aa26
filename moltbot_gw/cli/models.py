"""``moltbot models``: which models there are, and which one is used."""

from __future__ import annotations

from typing import Any

import click

from moltbot_gw.cli.calling import ask, talk
from moltbot_gw.cli.lazy import pass_on
from moltbot_gw.cli.modelstatus import provider_pages, status_lines
from moltbot_gw.cli.output import columns, counted, thousands, write, write_json
from moltbot_gw.cli.reach import Reach, find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings
from moltbot_gw.client import RequestFailed

_WIDTHS = (42, 12, 8)
_ECHO = "echo/echo"


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@click.option("--plain", is_flag=True, help="Write the names only.")
@click.pass_context
def models(ctx: click.Context, /, as_json: bool, plain: bool) -> None:
    """Show the default model (the same as ``models status``), or list all."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(models_status, as_json=as_json, plain=plain)
    else:
        pass_on(ctx, as_json=as_json, plain=plain)


@models.command("list")
@click.option("--provider", help="Only those of one provider.")
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON.")
@click.option("--plain", is_flag=True, help="Write the names only.")
@click.option("--all", "everything", is_flag=True, hidden=True)
@reach_options()
@pass_surroundings
def models_list(
    surroundings: Surroundings,
    /,
    provider: str | None,
    as_json: bool,
    plain: bool,
    everything: bool,
    **given: Any,
) -> None:
    """List the models that the gateway knows."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    listed, default = talk(reach, lambda reactor: _gather(reactor, reach))
    rows = [_row(model, default) for model in listed]
    if provider is not None:
        rows = [row for row in rows if row["key"].startswith(f"{provider}/")]
    if as_json:
        write_json({"count": len(rows), "models": rows})
    elif plain:
        for row in rows:
            write(row["key"])
    else:
        write(_table(rows))


@models.command("status")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@click.option("--plain", is_flag=True, help="Write the default model's name only.")
@reach_options()
@pass_surroundings
def models_status(
    surroundings: Surroundings, /, as_json: bool, plain: bool, **given: Any
) -> None:
    """Show the default model, and how the providers are doing."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    (listed, default), status = talk(reach, lambda reactor: _look(reactor, reach))
    counts: dict[str, int] = {}
    for model in listed:
        counts[model["provider"]] = counts.get(model["provider"], 0) + 1
    allowed = [_key(model) for model in listed]
    missing = default not in (None, _ECHO, *allowed)
    pages = provider_pages(counts, status)
    page = {
        "configPath": str(reach.config_path),
        "defaultModel": default,
        "resolvedDefault": default,
        "missing": missing,
        "allowed": allowed,
        "providers": pages,
    }
    if as_json:
        write_json(page)
    elif plain:
        write(default or "")
    else:
        note = " (not among the models below)" if missing else ""
        write(f"Default: {default or 'none'}{note}")
        if status is not None and pages:
            write()
            for line in status_lines(pages, status["ts"]):
                write(line)
        else:
            for name, count in counts.items():
                write(f"Provider {name}: {counted(count, 'model')}")


async def _look(
    reactor: Any, reach: Reach
) -> tuple[tuple[list[dict[str, Any]], str | None], dict[str, Any] | None]:
    gathered = await _gather(reactor, reach)
    status: dict[str, Any] | None = None
    try:
        status = await ask(reactor, reach, "models.status")
    except RequestFailed as error:
        # The method is ours; the original has not got it.
        if not error.message.startswith("unknown method"):
            raise
    return gathered, status


async def _gather(
    reactor: Any, reach: Reach
) -> tuple[list[dict[str, Any]], str | None]:
    listed = (await ask(reactor, reach, "models.list"))["models"]
    # ``status`` leaves out whose model it is, and two providers may have the same.
    answer = await ask(reactor, reach, "sessions.list", {"limit": 1})
    defaults = answer.get("defaults") or {}
    parts = (defaults.get("modelProvider"), defaults.get("model"))
    return listed, "/".join(part for part in parts if part) or None


def _key(model: dict[str, Any]) -> str:
    return f"{model['provider']}/{model['id']}"


def _row(model: dict[str, Any], default: str | None) -> dict[str, Any]:
    key = _key(model)
    return {
        "key": key,
        "name": model.get("name") or model["id"],
        "input": "+".join(model.get("input") or ["text"]),
        "contextWindow": model.get("contextWindow"),
        "local": False,
        "available": True,
        "tags": ["default"] if key == default else [],
        "missing": False,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No models found."
    cells = [["Model", "Input", "Ctx", "Tags"]]
    cells += [
        [
            row["key"],
            row["input"],
            thousands(row["contextWindow"]) if row["contextWindow"] else "-",
            " ".join(row["tags"]),
        ]
        for row in rows
    ]
    return columns(cells, _WIDTHS)
