"""The methods of the WebSocket, read from the modules that make them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import attrs
import msgspec

import moltbot_gw.ws.methods as room
from moltbot_gw.ws.methods import unserved

_RIGHTS = {"node": "role ``node``"}


@attrs.frozen(kw_only=True)
class MethodEntry:
    """One method: its right, the names of its parameters, what it does."""

    name: str
    right: str
    params: tuple[str, ...]
    text: str
    advertised: bool

    @property
    def needs(self) -> str:
        """What a caller needs, as reStructuredText."""
        return _RIGHTS.get(self.right, f"``operator.{self.right}``")


def served_methods() -> list[MethodEntry]:
    """Return the methods that do something, by their names."""
    names = [info.name for info in iter_modules(room.__path__)]
    modules = [import_module(f"{room.__name__}.{name}") for name in names]
    trees = {module: ast.parse(inspect.getsource(module)) for module in modules}
    served = [module for module in modules if not module.__name__.endswith(".unserved")]
    found = [entry for module in served for entry in _methods_of(module, trees)]
    return sorted(found, key=lambda entry: entry.name)


def unserved_names() -> list[str]:
    """Return the names that are answered with the least that clients need."""
    names = [entry.name for entry in served_methods()]
    made = unserved.methods(
        # Nothing is called, so nothing is needed.
        hub=None,  # type: ignore[arg-type]
        unix_time=lambda: 0.0,
        state=Path(),
        workspace=Path(),
    )
    return sorted(method.name for method in made if method.name not in names)


def _methods_of(
    module: ModuleType, trees: dict[ModuleType, ast.Module]
) -> Iterator[MethodEntry]:
    # A handler is in its own module or in one that this one imports.
    names = _imported_by(trees[module])
    places = [trees[module], *(t for m, t in trees.items() if m.__name__ in names)]
    for call in ast.walk(trees[module]):
        if not isinstance(call, ast.Call) or _name_of(call.func) != "Method":
            continue
        name, right, params, handle = call.args
        if not isinstance(name, ast.Constant) or not isinstance(right, ast.Constant):
            continue
        more = {keyword.arg: keyword.value for keyword in call.keywords}
        advertised = more.get("advertised")
        kind = getattr(module, _name_of(params))
        yield MethodEntry(
            name=str(name.value),
            right=str(right.value),
            params=_params_of(kind),
            text=_docstring(places, _name_of(handle)),
            advertised=not (
                isinstance(advertised, ast.Constant) and advertised.value is False
            ),
        )


def _imported_by(tree: ast.Module) -> set[str]:
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {node.module for node in nodes if node.module is not None}


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _params_of(kind: Any) -> tuple[str, ...]:
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


def _docstring(places: list[ast.Module], name: str) -> str:
    """Return the first line of the docstring of the coroutine *name*."""
    for tree in places:
        for node in ast.walk(tree):
            if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
                text = ast.get_docstring(node) or ""
                return text.split("\n\n")[0].replace("\n", " ")
    return ""
