"""``moltbot keys``: named keys, in the configuration of this machine's gateway."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import Any, get_args

import click

from moltbot_gw.cli.output import Failure, columns, warn, write, write_json
from moltbot_gw.cli.surroundings import Surroundings, pass_surroundings
from moltbot_gw.config import (
    MISSING,
    AuthKey,
    EditRefused,
    KeyScope,
    find_config_file,
    get_at,
    parse_duration,
    parse_instant,
)
from moltbot_gw.config.file import ConfigFile

_KEYS = ("gateway", "auth", "keys")
_DURATION = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:s|m|h|d)", re.IGNORECASE)
_WIDTHS = (20, 22, 20, 20)
_APPLY = (
    "A running gateway takes it in within seconds; with gateway.reload.mode off, at its"
    " next start."
)
_ONCE = "Keep it now: the gateway keeps a digest only, and nobody can show it again."


@click.group()
def keys() -> None:
    """Give others keys of their own, list them, take them back."""


@keys.command()
@click.argument("name")
@click.option("--agents", help="Ids of the agents it may use, by comma; * for any.")
@click.option(
    "--scopes", help=f"What it may do, by comma: {', '.join(get_args(KeyScope))}."
)
@click.option("--users", help="Users that a trusted proxy may name instead, by comma.")
@click.option("--expires", help="After so long (12h, 30d), or a time with its zone.")
@click.option("--rpm", type=click.IntRange(1), help="Requests a minute.")
@click.option("--tpm", type=click.IntRange(1), help="Tokens a minute.")
@click.option("--max-runs", type=click.IntRange(1), help="Runs at the same time.")
@click.option("--json", "as_json", is_flag=True, help="Write the outcome as JSON.")
@pass_surroundings
def create(
    surroundings: Surroundings,
    /,
    name: str,
    agents: str | None,
    scopes: str | None,
    users: str | None,
    expires: str | None,
    rpm: int | None,
    tpm: int | None,
    max_runs: int | None,
    as_json: bool,
) -> None:
    """Make a key called NAME and write its secret, this once."""
    from moltbot_gw.keyring import make_secret

    secret = make_secret()
    entry = {
        "name": name,
        "id": secret.id,
        "hash": secret.hash,
        "users": _listed(users),
        "scopes": _listed(scopes),
        "agents": _listed(agents),
        "expiresAt": None if expires is None else _expiry(expires),
        "requestsPerMinute": rpm,
        "tokensPerMinute": tpm,
        "maxConcurrentRuns": max_runs,
    }
    entry = {key: value for key, value in entry.items() if value is not None}
    file = find_config_file(surroundings.environ, surroundings.home)
    written = _written(file)
    _note_unknown_agents(surroundings, _listed(agents) or [])
    try:
        file.set_value((*_KEYS, str(len(written))), entry)
    except EditRefused as error:
        raise _refused(error) from None
    if as_json:
        write_json({"name": name, "id": secret.id, "secret": secret.text})
    else:
        write(secret.text)
    warn(f"{_ONCE}\n{_APPLY}")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON.")
@pass_surroundings
def list_keys(surroundings: Surroundings, /, as_json: bool) -> None:
    """List the keys, never their secrets."""
    rows = surroundings.load().config.gateway.auth.keys
    if as_json:
        write_json([_shown(key) for key in rows])
        return
    if not rows:
        write("No keys. Make one: moltbot keys create NAME")
        return
    cells = [["Name", "Scopes", "Agents", "Expires", "Limits"]]
    write(columns(cells + [_cells(key) for key in rows], _WIDTHS))


@keys.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Write the outcome as JSON.")
@pass_surroundings
def revoke(surroundings: Surroundings, /, name: str, as_json: bool) -> None:
    """Take the key NAME back; its WebSocket connections are closed."""
    file = find_config_file(surroundings.environ, surroundings.home)
    names = [entry.get("name") for entry in _written(file) if isinstance(entry, dict)]
    if name not in names:
        raise Failure(_not_found(surroundings, file, name))
    try:
        file.unset_value((*_KEYS, str(names.index(name))))
    except EditRefused as error:
        raise _refused(error) from None
    if as_json:
        write_json({"revoked": name})
    else:
        write(f"Revoked {name}.")
    warn(_APPLY)


def _written(file: ConfigFile) -> list[Any]:
    """Return the entries that the file itself has, without those that it includes."""
    found = get_at(file.written(), _KEYS)
    return found if found is not MISSING and isinstance(found, list) else []


def _not_found(surroundings: Surroundings, file: ConfigFile, name: str) -> str:
    known = [key.name for key in surroundings.load().config.gateway.auth.keys]
    if name in known:
        return f"The key {name} is in a file that {file.path} includes; remove it there"
    return f"There is no key {name} (moltbot keys list)"


def _listed(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [part.strip() for part in text.split(",") if part.strip()]


def _expiry(text: str) -> str:
    """Return when *text* is over, as the configuration writes it."""
    try:
        if _DURATION.fullmatch(text.strip()):
            moment = time.time() + parse_duration(text)
        else:
            moment = parse_instant(text)
        found = datetime.fromtimestamp(int(moment), timezone.utc)
    except (ValueError, OverflowError, OSError):
        message = "--expires: use a duration such as 30d, or 2027-01-31T00:00:00Z"
        raise Failure(message) from None
    if moment <= time.time():
        raise Failure("--expires: this time has passed")
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")


def _note_unknown_agents(surroundings: Surroundings, patterns: list[str]) -> None:
    known = {agent.id for agent in surroundings.load().config.agents.list} or {"main"}
    for pattern in patterns:
        if "*" not in pattern and pattern.lower() not in known:
            warn(f"Note: there is no agent {pattern} now")


def _shown(key: AuthKey) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": key.name,
        "id": key.id,
        "users": list(key.users) or None,
        "scopes": list(key.scopes),
        "agents": list(key.agents),
        "expiresAt": key.expires_at,
        "expired": _is_over(key) or None,
        "requestsPerMinute": key.requests_per_minute,
        "tokensPerMinute": key.tokens_per_minute,
        "maxConcurrentRuns": key.max_concurrent_runs,
    }
    return {name: value for name, value in found.items() if value is not None}


def _is_over(key: AuthKey) -> bool:
    return key.expires is not None and key.expires <= time.time()


def _cells(key: AuthKey) -> list[str]:
    limits = (
        (key.requests_per_minute, "requests/min"),
        (key.tokens_per_minute, "tokens/min"),
        (key.max_concurrent_runs, "runs"),
    )
    over = "expired " if _is_over(key) else ""
    return [
        key.name,
        ",".join(key.scopes),
        ",".join(key.agents),
        f"{over}{key.expires_at}" if key.expires_at else "never",
        ", ".join(f"{count} {what}" for count, what in limits if count) or "none",
    ]


def _refused(error: EditRefused) -> Failure:
    if not error.issues:
        return Failure(f"Error: {error}")
    first = error.issues[0]
    return Failure(f"Error: {first.path or '<root>'}: {first.message}")
