"""Where the state directory and the configuration file are.

Pure functions of the environment, the home directory and what exists on disk.  Both
are decided before any file is read: ``<state>/.env`` cannot move them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from .issues import Place

_STATE_VARIABLES = ("MOLTBOT_STATE_DIR", "CLAWDBOT_STATE_DIR")
_CONFIG_VARIABLES = ("MOLTBOT_CONFIG_PATH", "CLAWDBOT_CONFIG_PATH")
_STATE_NAMES = (".moltbot", ".clawdbot")
_CONFIG_NAMES = ("moltbot.json", "clawdbot.json")

_PATH_KEY = re.compile(r"(?:dir|path|paths|file|root|workspace|^store)$", re.IGNORECASE)
_PATH_LISTS: tuple[Place, ...] = (("paths",), ("pathPrepend",), ("roots",))


def state_dir(environ: Mapping[str, str], home: Path) -> Path:
    """Return the directory of everything that the gateway keeps.

    On a machine that has neither, this is ``~/.clawdbot``, the original's default.
    """
    for path in _from_variables(environ, home, _STATE_VARIABLES):
        return path
    new, old = (home / name for name in _STATE_NAMES)
    return new if os.path.exists(new) and not os.path.exists(old) else old


def config_path(environ: Mapping[str, str], home: Path) -> Path:
    """Return the configuration file to read; it may not exist.

    The first existing candidate wins, else ``moltbot.json`` in the state directory.
    """
    for path in _from_variables(environ, home, _CONFIG_VARIABLES):
        return path
    folders = _from_variables(environ, home, _STATE_VARIABLES)
    folders += [home / name for name in _STATE_NAMES]
    for folder in folders:
        for name in _CONFIG_NAMES:
            if os.path.exists(folder / name):
                return folder / name
    return state_dir(environ, home) / _CONFIG_NAMES[0]


def expand_home(text: str, home: Path) -> str:
    """Return *text* with a leading ``~`` or ``~/`` replaced by *home*."""
    if text == "~" or text.startswith("~/"):
        return f"{home}{text[1:]}"
    return text


def is_path_value(place: Place) -> bool:
    """Say by its key whether the string at *place* is a path of this machine."""
    if place and isinstance(place[-1], str):
        return _PATH_KEY.search(place[-1]) is not None
    return place[-2:-1] in _PATH_LISTS


def _from_variables(
    environ: Mapping[str, str], home: Path, names: tuple[str, ...]
) -> list[Path]:
    texts = (environ.get(name, "").strip() for name in names)
    return [Path(expand_home(text, home)).absolute() for text in texts if text]
