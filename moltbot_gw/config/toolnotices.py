"""What is odd about lists of tools, though a gateway can start with it.

No message quotes an entry: after ``${VAR}`` any text may be a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from .issues import Fault, Place
from .toolnames import GROUPS, TOOLS, NameList, normal_tool_name
from .tree import find_value

_LISTS = ("allow", "alsoAllow", "deny")
_KNOWN = (*TOOLS, *GROUPS)
_EMPTY_GROUPS = frozenset(name for name, members in GROUPS.items() if not members)
_NARROWER: tuple[Place, ...] = ((), ("subagents", "tools"), ("sandbox", "tools"))


def find_odd_lists(tree: Any) -> Iterator[Fault]:
    """Yield a note for each entry of the valid *tree* that means no tool.

    And one for each ``allow`` that counts for nothing because all of its entries are
    such ones.
    """
    for place, lists in _scopes(tree):
        for key in _LISTS:
            entries = lists.get(key) or ()
            for index, entry in enumerate(entries):
                yield from _odd_entry((*place, key, index), entry)
            if key == "allow" and entries and not NameList(entries).names_a_tool:
                message = "names no tool that is known; it is ignored, only deny counts"
                yield Fault((*place, key), message)


def _odd_entry(place: Place, entry: str) -> Iterator[Fault]:
    name = normal_tool_name(entry)
    if NameList((entry,)).names_a_tool or name in _EMPTY_GROUPS:
        return
    near = difflib.get_close_matches(name[:100], _KNOWN, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    yield Fault(place, f"names no tool, group or wildcard that is known{hint}")


def _scopes(tree: Any) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield all that may have lists of tools."""
    agents = find_value(tree, ("agents", "list")) or ()
    tools: list[tuple[Place, Any]] = [(("tools",), find_value(tree, ("tools",)))]
    for index, agent in enumerate(agents):
        tools.append((("agents", "list", index, "tools"), agent.get("tools")))
    for place, scope in tools:
        for below in _NARROWER:
            yield (*place, *below), find_value(scope, below) or {}
        for key, policy in (find_value(scope, ("byProvider",)) or {}).items():
            yield (*place, "byProvider", key), policy
