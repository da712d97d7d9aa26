"""Paths as words: what a model may write, and how it is shown back."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from moltbot_gw.config import expand_home
from moltbot_gw.tooling import ToolFailed

Parts = tuple[str, ...]
"""The components of a path, from ``/`` where it is an absolute one."""

MAX_PATH_BYTES = 4096
MAX_SHOWN_CHARS = 200

_URL = re.compile(r"[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


def checked_path(path: str, home: Path) -> str:
    """Return *path* with a leading ``~/`` expanded; raise ``ToolFailed``.

    Other characters mean themselves: nothing is decoded, unescaped or normalised.
    """
    if not path.strip():
        raise ToolFailed("path: it is empty; name a file.")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in path):
        raise ToolFailed(f"path: {shown(path)} has control characters.")
    if _URL.match(path):
        raise ToolFailed(f"path: {shown(path)} is a URL; write a path without scheme.")
    path = expand_home(path, home)
    if len(path.encode("utf-8")) > MAX_PATH_BYTES:
        raise ToolFailed(f"path: {shown(path)} is too long.")
    return path


def parts_of(path: str) -> Parts:
    """Return the components of *path*, ``..`` among them."""
    return tuple(part for part in path.split("/") if part not in ("", "."))


def is_folder_path(path: str) -> bool:
    """Say whether *path* can only be a folder's."""
    return path.rpartition("/")[2] in ("", ".", "..")


def is_inside(path: str, folders: Iterable[str]) -> bool:
    """Say by the words whether absolute *path* lies in one of *folders*."""
    return any(
        path != folder and os.path.commonpath([path, folder]) == folder
        for folder in folders
    )


def shown(path: str) -> str:
    """Return *path* in quotation marks, on one line and not too long."""
    text = "".join(char if char.isprintable() else "\ufffd" for char in path)
    tail = "..." if len(text) > MAX_SHOWN_CHARS else ""
    return f'"{text[:MAX_SHOWN_CHARS]}{tail}"'
