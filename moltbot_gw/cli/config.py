"""``moltbot config``: the configuration file of this machine."""

from __future__ import annotations

from typing import Any

import click

from moltbot_gw.cli.output import Failure, for_stdout, write, write_json
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings
from moltbot_gw.config import ConfigError
from moltbot_gw.config.file import ConfigFile, find_config_file
from moltbot_gw.config.issues import Issue
from moltbot_gw.config.keypath import (
    MISSING,
    KeyPath,
    KeyPathError,
    get_at,
    parse_key_path,
)
from moltbot_gw.config.refusal import EditRefused
from moltbot_gw.config.source import parse_text

_APPLIES = "A running gateway applies it by itself."


@click.group()
def config() -> None:
    """Read and change the configuration file."""


@config.command("path")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@pass_surroundings
def show_path(surroundings: Surroundings, /, as_json: bool) -> None:
    """Write where the configuration file is, or would be."""
    path = _file(surroundings).path
    if as_json:
        write_json({"path": str(path), "exists": path.exists()})
    else:
        write(str(path))


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Write the outcome as JSON.")
@pass_surroundings
def validate(surroundings: Surroundings, /, as_json: bool) -> None:
    """Check the configuration file; status 1 if something is wrong with it."""
    file = _file(surroundings)
    snapshot = file.snapshot()
    found = snapshot.to_wire()
    if snapshot.valid:
        found["warnings"] += _model_warnings(surroundings)
    if as_json:
        names = ("path", "exists", "valid", "issues", "warnings", "legacyIssues")
        write_json({name: found[name] for name in names})
    for warning in found["warnings"]:
        click.echo(for_stdout(f"Note: {warning['message']}"), err=True)
    if not found["valid"]:
        raise Failure(_invalid(file, snapshot.issues))
    if not as_json:
        missing = "" if found["exists"] else " (no file; everything is default)"
        write(f"Config valid: {file.path}{missing}")


def _model_warnings(surroundings: Surroundings) -> list[dict[str, str]]:
    """Return a warning for each agent that cannot run for want of a provider."""
    # The other commands of this group have no need of Twisted.
    from moltbot_gw.cli.checks_models import describe, find_orphans

    return [
        {"path": one.path, "message": f"{describe(one)} ({one.fix})"}
        for one in find_orphans(surroundings.load().config, surroundings.home)
    ]


@config.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Write strings as JSON, too.")
@click.option("--reveal", is_flag=True, help="Write secrets as they are.")
@pass_surroundings
def get(surroundings: Surroundings, /, path: str, as_json: bool, reveal: bool) -> None:
    """Write the value at PATH, defaults included (agents.list[0].id)."""
    names, file = _names(path), _file(surroundings)
    snapshot = file.snapshot()
    if not snapshot.valid:
        raise Failure(_invalid(file, snapshot.issues))
    value = get_at(file.effective() if reveal else snapshot.config, names)
    if value is MISSING:
        raise Failure(f"Config path not found: {path}")
    if isinstance(value, str) and not as_json:
        write(value)
    else:
        write_json(value)


@config.command("set")
@click.argument("path")
@click.argument("value")
@click.option("--json", "as_json", is_flag=True, help="Take nothing but JSON5.")
@pass_surroundings
def set_value(
    surroundings: Surroundings, /, path: str, value: str, as_json: bool
) -> None:
    """Set the value at PATH; VALUE is JSON5, or else a string."""
    names, file = _names(path), _file(surroundings)
    parsed = _parsed(value, file, as_json)
    try:
        file.set_value(names, parsed)
    except (EditRefused, KeyPathError) as error:
        raise _refused(file, error) from None
    write(f"Updated {path}. {_APPLIES}")


@config.command()
@click.argument("path")
@pass_surroundings
def unset(surroundings: Surroundings, /, path: str) -> None:
    """Remove the key or the list item at PATH from the file."""
    names, file = _names(path), _file(surroundings)
    try:
        outcome = file.unset_value(names)
    except (EditRefused, KeyPathError) as error:
        raise _refused(file, error) from None
    if outcome is None:
        raise Failure(f"Config path not found: {path}")
    write(f"Removed {path}. {_APPLIES}")


def _file(surroundings: Surroundings) -> ConfigFile:
    return find_config_file(surroundings.environ, surroundings.home)


def _names(path: str) -> KeyPath:
    try:
        return parse_key_path(path)
    except KeyPathError as error:
        raise Failure(f"Error: {error}") from None


def _parsed(text: str, file: ConfigFile, strictly: bool) -> Any:
    try:
        return parse_text(text, file.path)
    except ConfigError as error:
        if strictly:
            raise Failure(
                f"Error: VALUE is not JSON5: {error.issues[0].message}"
            ) from None
    return text


def _refused(file: ConfigFile, error: EditRefused | KeyPathError) -> Failure:
    """Return why nothing was written."""
    issues: tuple[Issue, ...] = getattr(error, "issues", ())
    if not issues:
        return Failure(f"Error: {error}")
    if not file.snapshot().valid:
        return Failure(_invalid(file, issues))
    first = issues[0]
    return Failure(
        f"Error: Config validation failed: {first.path or '<root>'}: {first.message}"
    )


def _invalid(file: ConfigFile, issues: tuple[Issue, ...]) -> str:
    lines = [f"Config invalid at {file.path}."]
    return "\n".join([*lines, *(f"- {issue}" for issue in issues)])
