"""What the tests of this folder share: write a file, load it, look at the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config import ConfigError, LoadedConfig, load_config


def write(folder: Path, content: Any, name: str = "moltbot.json") -> Path:
    """Write *content* (JSON5 text, bytes, or a tree) and return the file's path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        path.write_text(text, encoding="utf-8")
    return path


def load(
    folder: Path, content: Any, environ: Mapping[str, str] | None = None
) -> LoadedConfig:
    """Load *content* as the configuration of a home directory in *folder*."""
    return load_config(environ or {}, folder, path=write(folder, content))


def fail(
    folder: Path, content: Any, environ: Mapping[str, str] | None = None
) -> ConfigError:
    """Return the error that loading *content* ends in."""
    with pytest.raises(ConfigError) as caught:
        load(folder, content, environ)
    return caught.value


def messages(folder: Path, content: Any) -> dict[str, str]:
    """Return the message of each issue of *content* by its path."""
    return {issue.path: issue.message for issue in fail(folder, content).issues}


def message(folder: Path, content: Any) -> tuple[str, str]:
    """Return path and message of the only issue of *content*."""
    [item] = messages(folder, content).items()
    return item


def at(path: str, value: Any) -> dict[str, Any]:
    """Return a tree with *value* at the dotted *path*."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value  # type: ignore[no-any-return]
