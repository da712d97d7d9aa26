"""Paths as the command line spells them: ``agents.list[0].id``, ``providers.x\\.y``.

Dots separate, brackets hold one name that is taken as it is, a backslash makes the next
character an ordinary one.  Empty names are dropped.
"""

from __future__ import annotations

import re
from typing import Any

from .issues import printable

KeyPath = tuple[str, ...]

MISSING: Any = object()
"""What `get_at` returns where nothing is."""

_INDEX = re.compile(r"[0-9]+", re.ASCII)


class KeyPathError(ValueError):
    """A path that cannot be read, or that leads through what has no names."""


def parse_key_path(text: str) -> KeyPath:
    """Return the names in *text*, at least one; raises `KeyPathError`."""
    names: list[str] = []
    name = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\" and position < len(text):
            name += text[position]
            position += 1
        elif character == ".":
            names, name = [*names, name], ""
        elif character == "[":
            end = text.find("]", position)
            if end < 0:
                raise KeyPathError(f'Invalid path (missing "]"): {printable(text)}')
            names, name = [*names, name, text[position:end].strip()], ""
            position = end + 1
        else:
            name += character
    found = tuple(part.strip() for part in (*names, name) if part.strip())
    if not found:
        raise KeyPathError("Path is empty.")
    return found


def get_at(tree: Any, path: KeyPath) -> Any:
    """Return the value at *path* of *tree*, `MISSING` if there is none."""
    for name in path:
        if isinstance(tree, dict) and name in tree:
            tree = tree[name]
        elif isinstance(tree, list) and _has_index(tree, name):
            tree = tree[int(name)]
        else:
            return MISSING
    return tree


def set_at(tree: Any, path: KeyPath, value: Any) -> Any:
    """Return *tree* with *value* at *path*; what is missing on the way is made.

    A name of digits makes a list where nothing is; an index may be one past the end.
    Raises `KeyPathError`.
    """
    if not path:
        return value
    name, *rest = path
    if tree is None or tree is MISSING:
        tree = [] if _INDEX.fullmatch(name) else {}
    if isinstance(tree, dict):
        return {**tree, name: set_at(tree.get(name), tuple(rest), value)}
    if not isinstance(tree, list):
        raise KeyPathError(f'Cannot traverse into "{printable(name)}" (not an object)')
    index = _index(name)
    if index > len(tree):
        raise KeyPathError(f'Index "{printable(name)}" is past the end of the list')
    inner = set_at(tree[index] if index < len(tree) else None, tuple(rest), value)
    return [*tree[:index], inner, *tree[index + 1 :]]


def unset_at(tree: Any, path: KeyPath) -> Any:
    """Return *tree* without the key or item at *path*, `MISSING` if it has none."""
    name, *rest = path
    if get_at(tree, (name,)) is MISSING:
        return MISSING
    step: Any = int(name) if isinstance(tree, list) else name
    inner = unset_at(tree[step], tuple(rest)) if rest else None
    if inner is MISSING:
        return MISSING
    if isinstance(tree, list):
        kept = [inner] if rest else []
        return [*tree[:step], *kept, *tree[step + 1 :]]
    others = {key: value for key, value in tree.items() if key != name}
    return {**tree, name: inner} if rest else others


def _index(name: str) -> int:
    if not _INDEX.fullmatch(name) or len(name) > 9:
        message = f'Expected numeric index for array segment "{printable(name)}"'
        raise KeyPathError(message)
    return int(name)


def _has_index(items: list[Any], name: str) -> bool:
    return bool(_INDEX.fullmatch(name)) and len(name) <= 9 and int(name) < len(items)
