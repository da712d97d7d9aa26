"""``moltbot gateway install`` and ``uninstall``: the gateway as a service.

Only files are written and removed; the commands that make an init system take note are
printed, because they are the operator's to run.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from moltbot_gw.cli.output import Failure, warn, write, write_json
from moltbot_gw.cli.plans import PRIVATE, File, Plan, Wanted, make_plan
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings
from moltbot_gw.cli.units import MARK

F = TypeVar("F", bound=Callable[..., Any])


def _where_options(command: F) -> F:
    options = (
        click.option("--system", "kind", flag_value="system", help="systemd, for all."),
        click.option("--user", "kind", flag_value="user", help="systemd, for you."),
        click.option("--openrc", "kind", flag_value="openrc", help="OpenRC."),
        click.option("--launchd", "kind", flag_value="launchd", help="macOS, for you."),
        click.option("--force", is_flag=True, help="Replace what is not ours, too."),
        click.option("--json", "as_json", is_flag=True, help="Write it as JSON."),
        click.option(
            "--root",
            type=click.Path(path_type=Path),
            default=Path("/"),
            help="Write below this folder (for packages and images).",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_where_options
@click.option("--socket", is_flag=True, help="With a socket unit: restart unnoticed.")
@click.option("--print", "shows", is_flag=True, help="Print the files, write none.")
@click.option("--config", help="Configuration file instead of the usual one.")
@click.option("--port", help="Port to listen on.")
@click.option("--bind", help="loopback, lan, tailnet, auto or custom.")
@click.option("--token", help="Keep this token in a file of its own.")
@click.option("--runtime", hidden=True)
@pass_surroundings
def install(
    surroundings: Surroundings,
    /,
    kind: str | None,
    force: bool,
    as_json: bool,
    root: Path,
    socket: bool,
    shows: bool,
    token: str | None,
    runtime: str | None,
    **given: Any,
) -> None:
    """Write the files of a service; the default is --user, or --system for root."""
    wanted = Wanted(
        kind=kind or _usual_kind(), socket=socket, has_token=token is not None, **given
    )
    plan = make_plan(surroundings, wanted)
    if shows:
        write("\n".join(_shown(plan)).rstrip("\n"))
        return
    files = [
        attrs.evolve(one, path=_below(root, one.path))
        for one in (*plan.files, *_secret_files(plan, root, token))
    ]
    outdated = [one for one in files if not one.is_there()]
    for one in outdated:
        if one.path.exists() and not force:
            raise Failure(
                f"Gateway install failed: {one.path} is there already and differs;"
                " look at it (--print shows ours), then use --force"
            )
    for one in outdated:
        one.write()
    result = "installed" if outdated else "already-installed"
    lines = [f"Wrote {one.path}" for one in outdated] or ["All is there already."]
    _report("install", result, plan, lines, plan.next_steps, as_json)


@click.command()
@_where_options
@pass_surroundings
def uninstall(
    surroundings: Surroundings,
    /,
    kind: str | None,
    force: bool,
    as_json: bool,
    root: Path,
) -> None:
    """Remove the files of a service; state and secrets stay."""
    kind = kind or _usual_kind()
    has_socket = kind in ("system", "user")
    plan = make_plan(surroundings, Wanted(kind=kind, leaving=True, socket=has_socket))
    found = [path for one in plan.files if (path := _below(root, one.path)).exists()]
    for path in found:
        if force:
            continue
        if MARK.removeprefix("# ") not in path.read_text("utf-8", "replace")[:400]:
            raise Failure(f"Gateway uninstall failed: {path} is not ours (see --force)")
        if any(path.parent.glob(f"*.wants/{path.name}")):
            raise Failure(
                f"Gateway uninstall failed: it is enabled; first run\n  {plan.disable}"
            )
    for path in found:
        path.unlink()
    result = "uninstalled" if found else "not-loaded"
    lines = [f"Removed {path}" for path in found] or ["Nothing is installed."]
    _report("uninstall", result, plan, lines, plan.after if found else (), as_json)


def _usual_kind() -> str:
    if sys.platform == "darwin":
        return "launchd"
    return "system" if os.geteuid() == 0 else "user"


def _shown(plan: Plan) -> list[str]:
    """Return the texts of the files, with their names where there are several."""
    if len(plan.files) == 1:
        return [plan.files[0].text]
    return [line for one in plan.files for line in (f"# {one.path}", one.text)]


def _secret_files(plan: Plan, root: Path, token: str | None) -> list[File]:
    """Return the file of the token: the one that is given, or a random one."""
    path = plan.token_file
    if path is None or (token is None and _below(root, path).exists()):
        return []
    text = token if token is not None else secrets.token_urlsafe(32)
    return [File(path=path, text=f"{text}\n", mode=PRIVATE)]


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _report(
    action: str,
    result: str,
    plan: Plan,
    lines: list[str],
    steps: tuple[str, ...],
    as_json: bool,
) -> None:
    for warning in plan.warnings:
        warn(f"Warning: {warning}")
    if as_json:
        page: dict[str, Any] = {
            "ok": True,
            "action": action,
            "result": result,
            "message": "; ".join(lines),
            "hints": list(steps),
            "warnings": list(plan.warnings),
            "service": {
                "label": plan.label,
                "loaded": False,
                "loadedText": "loaded",
                "notLoadedText": "not managed by this command",
            },
        }
        write_json(page)
        return
    for line in lines:
        write(line)
    if steps:
        write("Next:")
    for step in steps:
        write(f"  {step}")
