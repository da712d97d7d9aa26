"""Small walks over JSON trees that are not yet validated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .issues import Place


def find_value(tree: Any, place: Place) -> Any:
    """Return the value at *place*, which has keys only; None if it is not there."""
    for name in place:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(name)
    return tree


def has_place(tree: Any, place: Place) -> bool:
    """Say whether the key that *place* ends with is there, whatever its value."""
    parent = find_value(tree, place[:-1])
    return isinstance(parent, dict) and place[-1] in parent


def map_strings(
    value: Any, change: Callable[[str, Place], str], place: Place = ()
) -> Any:
    """Return *value* with ``change(text, place)`` for each string; keys stay."""
    if isinstance(value, str):
        return change(value, place)
    if isinstance(value, list):
        return [map_strings(v, change, (*place, i)) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return {k: map_strings(v, change, (*place, k)) for k, v in value.items()}
    return value
