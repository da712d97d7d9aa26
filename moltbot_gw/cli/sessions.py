"""``moltbot sessions``: list, show, export, reset and delete conversations."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from moltbot_gw.cli.calling import ask, call, talk
from moltbot_gw.cli.lazy import pass_on
from moltbot_gw.cli.output import (
    Failure,
    age_of,
    columns,
    counted,
    shorten,
    thousands,
    write,
    write_json,
)
from moltbot_gw.cli.reach import Reach, find_reach, flags_of, reach_options
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings
from moltbot_gw.cli.transcript import transcript_text
from moltbot_gw.client import RequestFailed

_WIDTHS = (6, 26, 9, 14, 20)
_COPIED = (
    "key",
    "kind",
    "updatedAt",
    "ageMs",
    "sessionId",
    "systemSent",
    "abortedLastRun",
    "thinkingLevel",
    "verboseLevel",
    "reasoningLevel",
    "elevatedLevel",
    "responseUsage",
    "groupActivation",
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "model",
    "contextTokens",
)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON.")
@click.option("--active", help="Only those of the last so many minutes.")
@click.pass_context
def sessions(ctx: click.Context, /, as_json: bool, active: str | None) -> None:
    """List the conversations (the same as ``sessions list``), or look into one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_sessions, as_json=as_json, active=active)
    else:
        pass_on(ctx, as_json=as_json, active=active)


@sessions.command("list")
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON.")
@click.option("--verbose", is_flag=True, hidden=True)
@click.option("--active", help="Only those of the last so many minutes.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many.")
@click.option("--agent", "agent_id", help="Only those of one agent.")
@click.option("--search", help="Only those with this text in key or label.")
@reach_options()
@pass_surroundings
def list_sessions(
    surroundings: Surroundings,
    /,
    as_json: bool,
    verbose: bool,
    active: str | None,
    limit: int | None,
    agent_id: str | None,
    search: str | None,
    **given: Any,
) -> None:
    """List the conversations, the newest first."""
    minutes = parse_minutes(active)
    params = {
        "activeMinutes": minutes,
        "limit": limit,
        "agentId": agent_id,
        "search": search,
        "includeGlobal": True,
        "includeUnknown": True,
    }
    reach = find_reach(surroundings, flags_of(given), strict=True)
    answer = call(
        reach, "sessions.list", {k: v for k, v in params.items() if v is not None}
    )
    page = {
        "path": answer.get("path"),
        "count": answer.get("count", len(answer["sessions"])),
        "activeMinutes": minutes,
        "sessions": [_row(row, answer) for row in answer["sessions"]],
    }
    if as_json:
        write_json(page)
    else:
        write(_table(page))


def parse_minutes(text: str | None) -> int | None:
    """Return the minutes of ``--active``; end the command if they are none."""
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise Failure("--active must be a positive integer (minutes)")
    return int(text)


def _row(row: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    updated, defaults = row.get("updatedAt"), answer.get("defaults") or {}
    full = {
        **row,
        "ageMs": None if updated is None else max(answer["ts"] - updated, 0),
        "model": row.get("model") or defaults.get("model"),
        "contextTokens": row.get("contextTokens") or defaults.get("contextTokens"),
    }
    kept = ("updatedAt", "ageMs", "model", "contextTokens")
    return {
        name: full[name]
        for name in _COPIED
        if name in kept or full.get(name) is not None
    }


def _table(page: dict[str, Any]) -> str:
    lines = [f"Session store: {page['path']}", f"Sessions listed: {page['count']}"]
    if page["activeMinutes"] is not None:
        lines.append(f"Filtered to last {counted(page['activeMinutes'], 'minute')}")
    if not page["sessions"]:
        return "\n".join([*lines, "No sessions found."])
    rows = [["Kind", "Key", "Age", "Model", "Tokens (ctx %)", "Flags"]]
    rows += [_cells(row) for row in page["sessions"]]
    return "\n".join([*lines, columns(rows, _WIDTHS)])


def _cells(row: dict[str, Any]) -> list[str]:
    passed = row["ageMs"]
    return [
        str(row.get("kind", "")),
        shorten(row["key"], _WIDTHS[1]),
        "unknown" if passed is None else age_of(passed),
        row["model"] or "-",
        _tokens(row.get("totalTokens"), row["contextTokens"]),
        " ".join(_flags(row)),
    ]


def _tokens(total: int | None, context: int | None) -> str:
    if not total:
        return "-"
    if not context:
        return thousands(total)
    share = min(round(100 * total / context), 999)
    return f"{thousands(total)}/{thousands(context)} ({share}%)"


def _flags(row: dict[str, Any]) -> list[str]:
    named = (("think", "thinkingLevel"), ("verbose", "verboseLevel"))
    flags = [f"{short}:{row[name]}" for short, name in named if row.get(name)]
    flags += ["system"] if row.get("systemSent") else []
    flags += ["aborted"] if row.get("abortedLastRun") else []
    return flags + ([f"id:{row['sessionId']}"] if row.get("sessionId") else [])


@sessions.command()
@click.argument("key")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=200,
    show_default=True,
    help="Only the last so many messages.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@reach_options()
@pass_surroundings
def show(
    surroundings: Surroundings, /, key: str, limit: int, as_json: bool, **given: Any
) -> None:
    """Show the conversation KEY for reading."""
    history = _history(surroundings, key, limit, given)
    if as_json:
        write_json(history)
    else:
        write(transcript_text(history["messages"]))


@sessions.command()
@click.argument("key")
@reach_options()
@pass_surroundings
def export(surroundings: Surroundings, /, key: str, **given: Any) -> None:
    """Write the conversation KEY as JSON Lines, one message each."""
    history = _history(surroundings, key, 1000, given)
    for message in history["messages"]:
        click.echo(json.dumps(message, ensure_ascii=False))


def _history(
    surroundings: Surroundings, key: str, limit: int, given: dict[str, Any]
) -> dict[str, Any]:
    reach = find_reach(surroundings, flags_of(given), strict=True)
    params = {"sessionKey": key, "limit": limit}
    history: dict[str, Any] = call(reach, "chat.history", params)
    if not history.get("sessionId") and not history["messages"]:
        raise Failure(f"No such session: {key}")
    return history


@sessions.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@reach_options()
@pass_surroundings
def reset(surroundings: Surroundings, /, key: str, as_json: bool, **given: Any) -> None:
    """Let the conversation KEY begin afresh; its old words are kept."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    answer = talk(reach, lambda reactor: _reset(reactor, reach, key))
    if as_json:
        write_json(answer)
    else:
        write(f"Reset {answer['key']}")


async def _reset(reactor: Any, reach: Reach, key: str) -> Any:
    """Reset a session that there is; by itself the gateway would make one."""
    try:
        await ask(reactor, reach, "sessions.resolve", {"key": key})
    except RequestFailed as error:
        if not error.message.startswith("No session found"):
            raise
        raise Failure(f"No such session: {key}") from None
    return await ask(reactor, reach, "sessions.reset", {"key": key})


@sessions.command()
@click.argument("key")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
@reach_options(20_000)
@pass_surroundings
def delete(
    surroundings: Surroundings, /, key: str, yes: bool, as_json: bool, **given: Any
) -> None:
    """Delete the conversation KEY and what was said in it."""
    reach = find_reach(surroundings, flags_of(given), strict=True)
    if not yes and not sys.stdin.isatty():
        raise Failure("Nobody can be asked whether it is meant: say so with --yes")
    if not yes:
        click.confirm(f"Delete {key} and its transcript?", abort=True, err=True)
    answer = call(reach, "sessions.delete", {"key": key, "deleteTranscript": True})
    if as_json:
        write_json(answer)
    elif answer.get("deleted"):
        write(f"Deleted {answer['key']}")
    else:
        raise Failure(f"No such session: {key}")
