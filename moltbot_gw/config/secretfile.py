"""Secrets in files of their own: what the configuration names, what systemd hands over.

Source of the second: systemd.exec(5), ``LoadCredential`` and ``CREDENTIALS_DIRECTORY``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from .issues import ConfigError, Issue
from .secret import Secret

MAX_SECRET_BYTES = 16 * 1024
MAX_CREDENTIALS = 256
GATEWAY_TOKEN, GATEWAY_PASSWORD = "gateway-token", "gateway-password"
"""Names of credentials that are the gateway's own secret."""

_FOLDER = "CREDENTIALS_DIRECTORY"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BadSecretFile(Exception):
    """A file cannot be used as a secret; the text says which, why, and the fix."""


def read_secret(path: Path, environ: Mapping[str, str]) -> Secret:
    """Return the secret in the file *path*, without the newline at its end.

    Others than its owner must not be able to read it, unless it is one of systemd's
    own credentials, whose folder is private.  Raises `BadSecretFile`.
    """
    if not path.is_absolute():
        raise BadSecretFile(f"{path}: give the whole path")
    folder = environ.get(_FOLDER)
    text = _read(path, private=not folder or Path(folder) not in path.parents)
    if not text.strip():
        raise BadSecretFile(f"{path} is empty")
    return Secret(text)


def read_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the credentials whose names are those of variables, and the gateway's own.

    Others (certificates, ...) are not looked at.  Raises `ConfigError`.
    """
    folder = environ.get(_FOLDER)
    if not folder:
        return {}
    place = Path(folder)
    try:
        names = sorted(os.listdir(place))
        chosen = [name for name in names if _is_ours(name)][:MAX_CREDENTIALS]
        return {name: _read(place / name, private=False) for name in chosen}
    except OSError as error:
        issue = Issue("", f"{_FOLDER} cannot be read: {error.strerror}")
    except BadSecretFile as error:
        issue = Issue("", f"{_FOLDER}: {error}")
    raise ConfigError(place, (issue,))


def credential_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files of ``read_credentials``, and their folder before them."""
    folder = environ.get(_FOLDER)
    if not folder:
        return ()
    place = Path(folder)
    try:
        names = sorted(filter(_is_ours, os.listdir(place)))[:MAX_CREDENTIALS]
    except OSError:
        names = []
    return (place, *(place / name for name in names))


def _is_ours(name: str) -> bool:
    own = name in (GATEWAY_TOKEN, GATEWAY_PASSWORD)
    return own or _VARIABLE.fullmatch(name) is not None


def _read(path: Path, *, private: bool) -> str:
    try:
        # A named pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise BadSecretFile(f"{path} is not a file")
            if private and found.st_mode & 0o077:
                raise BadSecretFile(
                    f"{path} is open to others than its owner: chmod 600 closes it"
                )
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise BadSecretFile(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise BadSecretFile("impossible file name") from None
    if len(data) > MAX_SECRET_BYTES:
        raise BadSecretFile(f"{path} is larger than {MAX_SECRET_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSecretFile(f"{path} is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
