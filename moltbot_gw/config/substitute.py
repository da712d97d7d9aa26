"""``${VAR}`` in the string values of a tree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .issues import Fault, Place, bracketed
from .tree import map_strings

REFERENCE = re.compile(r"(\$?)\$\{([A-Z_][A-Z0-9_]*)\}", re.ASCII)


def substitute(tree: Any, environ: Mapping[str, str]) -> tuple[Any, list[Fault]]:
    """Return *tree* with every ``${VAR}`` replaced, and a fault per missing variable.

    ``$${VAR}`` gives the text ``${VAR}``; lower case names and ``$VAR`` are left alone.
    A variable that is set but empty counts as missing.  What a variable holds is not
    searched again.
    """
    faults: list[Fault] = []

    def replace(text: str, place: Place) -> str:
        def value(match: re.Match[str]) -> str:
            escape, name = match.groups()
            if escape:
                return match[0][1:]
            if not environ.get(name):
                where = bracketed(place) or "<root>"
                message = f'missing env var "{name}" referenced at {where}'
                faults.append(Fault(place, message))
            return environ.get(name, "")

        return REFERENCE.sub(value, text)

    return map_strings(tree, replace), faults


def references(text: str) -> set[str]:
    """Return the names of the variables that *text* refers to."""
    return {name for escape, name in REFERENCE.findall(text) if not escape}
