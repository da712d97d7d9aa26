"""What ``moltbot doctor`` looks at on this machine's disk and in its configuration."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import attrs

from moltbot_gw.auth import find_weakness
from moltbot_gw.cli.reach import Reach, identity_path
from moltbot_gw.cli.surroundings import Surroundings
from moltbot_gw.client.target import parse_address
from moltbot_gw.config import ConfigError, LoadedConfig, Secret

_PRIVATE_FOLDERS = ("identity", "devices", "credentials", "gateway", "gateway/tls")
_MAX_FILES = 1000


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at; *wrong* ones have a *fix*."""

    check: str
    level: Literal["ok", "note", "wrong"]
    message: str
    fix: str | None = None


def check_config(
    surroundings: Surroundings,
) -> tuple[LoadedConfig | None, list[Finding]]:
    """Return the configuration, if it can be used, and what is to be said of it."""
    try:
        loaded = surroundings.load()
    except ConfigError as error:
        fix = f"correct {error.path} (moltbot config validate)"
        return None, [
            Finding(check="config", level="wrong", message=str(issue), fix=fix)
            for issue in error.issues
        ]
    where = str(loaded.path) if loaded.exists else f"no file at {loaded.path}; defaults"
    findings = [Finding(check="config", level="ok", message=where)]
    findings += [
        Finding(check="config", level="note", message=line) for line in loaded.notices
    ]
    return loaded, findings


def check_state(
    surroundings: Surroundings, loaded: LoadedConfig | None
) -> list[Finding]:
    """Look at the state folder: is it there, writable, and its owner's alone."""
    folder = surroundings.state
    if not folder.exists():
        message = f"{folder} does not exist; the gateway makes it when it starts"
        note = Finding(check="state", level="note", message=message)
        return [note, *_check_modes(_private_paths(surroundings, loaded))]
    found = [
        *_check_modes(_private_paths(surroundings, loaded)),
        *_check_writable(folder),
    ]
    ok = Finding(check="state", level="ok", message=f"{folder} is private and writable")
    return found or [ok]


def _check_modes(private: Iterable[tuple[Path, int]]) -> Iterator[Finding]:
    for path, wanted in private:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            yield Finding(
                check="permissions",
                level="wrong",
                message=f"{path} has mode {mode:04o}: others can get at it",
                fix=f"chmod {wanted:o} {path}",
            )


def _private_paths(
    surroundings: Surroundings, loaded: LoadedConfig | None
) -> Iterator[tuple[Path, int]]:
    """Return what must be its owner's alone, and the mode for it."""
    folder = surroundings.state
    if loaded is not None and loaded.exists:
        yield loaded.path, 0o600
    # The device is the machine's, whatever state folder is used.
    identity = identity_path(surroundings.home)
    if identity.parent != folder / "identity":
        yield identity.parent, 0o700
        yield identity, 0o600
    left = _MAX_FILES
    for place in (folder, *(folder / name for name in _PRIVATE_FOLDERS)):
        if not place.is_dir():
            continue
        yield place, 0o700
        for path in sorted(place.iterdir())[:left]:
            left -= 1
            if path.is_file() and path != (loaded.path if loaded else None):
                yield path, 0o600


def _check_writable(folder: Path) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        yield Finding(
            check="state",
            level="wrong",
            message=f"{folder} cannot be written: {error.strerror}",
            fix=f"make {folder} writable for user {os.getuid()}, or free some space",
        )


def check_secret(reach: Reach) -> list[Finding]:
    """Look at the secret that this machine would present."""
    known = {"token": reach.target.token, "password": reach.target.password}
    given = {name: secret for name, secret in known.items() if secret is not None}
    if not given:
        return [
            Finding(
                check="secret",
                level="wrong",
                message="no token and no password is configured",
                fix="moltbot config set gateway.auth.token "
                "\"$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')\"",
            )
        ]
    return [_judge(name, secret) for name, secret in given.items()]


def _judge(name: str, secret: Secret) -> Finding:
    weakness = find_weakness(secret.reveal())
    if weakness is None:
        return Finding(check="secret", level="ok", message=f"the {name} is configured")
    return Finding(
        check="secret",
        level="wrong",
        message=f"the {name} {weakness}",
        fix=f"choose a longer random {name} (32 characters or more)",
    )


def check_transport(reach: Reach) -> list[Finding]:
    """Warn of a secret that would travel in the clear."""
    address = parse_address(reach.target.url)
    local = address.socket is not None or address.host in (
        "127.0.0.1",
        "::1",
        "localhost",
    )
    if local or address.secure:
        return []
    return [
        Finding(
            check="transport",
            level="note",
            message=f"{reach.url} is not encrypted: the network sees every word",
            fix="set gateway.tls.enabled, or reach it through a tunnel",
        )
    ]
