"""The variables that a configuration may refer to.

They come from the process, systemd's credentials, ``.env`` and the ``env`` block.

Nothing here changes ``os.environ``; each function returns a new mapping.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from .secretfile import read_credentials
from .source import find_text

ENV_FILE = ".env"
"""In the state directory."""

ENV_SETTINGS = ("vars", "shellEnv")
"""Keys of the ``env`` block that are not themselves variables."""


def load_environ(environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """Return *environ* with what credentials and ``<state>/.env`` add to it.

    They never override, but a credential counts where a variable is blank.
    The working directory's ``.env`` is not read: a daemon's working directory is
    nobody's configuration.  Values are taken as written, without ``${}`` inside.
    Raises `ConfigError` when a file is there but cannot be read.
    """
    credentials = read_credentials(environ)
    given = {k: v for k, v in environ.items() if v.strip() or k not in credentials}
    text = find_text(state / ENV_FILE)
    found = dotenv_values(stream=io.StringIO(text or ""), interpolate=False)
    kept = {k: v for k, v in found.items() if v is not None}
    return {**kept, **credentials, **given}


def add_env_block(environ: Mapping[str, str], tree: Any) -> dict[str, str]:
    """Return *environ* with the ``env`` block of *tree*, which is not yet validated.

    A variable counts as missing when it is unset or blank; blank values are no values.
    A variable directly under ``env`` beats the one of the same name in ``env.vars``.
    """
    result = dict(environ)
    for name, value in _block_variables(tree).items():
        if (
            isinstance(value, str)
            and value.strip()
            and not result.get(name, "").strip()
        ):
            result[name] = value
    return result


def _block_variables(tree: Any) -> dict[str, Any]:
    block = tree.get("env") if isinstance(tree, dict) else None
    if not isinstance(block, dict):
        return {}
    inner = block.get("vars")
    direct = {k: v for k, v in block.items() if k not in ENV_SETTINGS}
    return {**(inner if isinstance(inner, dict) else {}), **direct}
