"""The model as a JSON Schema, and hints for a form that is made from it.

Everything stands in its place, nothing is referred to: forms in browsers follow no
``$ref``.  Source: JSON Schema draft-07.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from .kinds import bare, fields_of, is_section, is_strict, item_kind, members
from .model import Config
from .model_others import Env
from .secret import Secret, Unread

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
_LIMITS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@cache
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file; callers do not alter it."""
    root = {"$schema": "http://json-schema.org/draft-07/schema#"}
    return {**root, "title": "MoltbotConfig", **_section(Config)}


@cache
def ui_hints() -> dict[str, dict[str, Any]]:
    """Return label, help and sensitivity of each key; callers do not alter it.

    A path is dotted, ``*`` for any key of a map, ``[]`` behind the name of a list.
    """
    return dict(_hints(Config, ""))


def _schema(kind: Any) -> dict[str, Any]:
    """Return the schema of a field's type."""
    choices = [_single(member) for member in members(kind)]
    enums = [value for choice in choices for value in choice.get("enum", ())]
    others = [choice for choice in choices if "enum" not in choice]
    if enums:
        others.append({"type": "string", "enum": enums})
    schema = others[0] if len(others) == 1 else {"anyOf": others}
    text = _help(kind)
    return {**schema, "description": text} if text else schema


def _single(kind: Any) -> dict[str, Any]:
    """Return the schema of one alternative of a type."""
    inner = bare(kind)
    if inner in (Any, Unread):
        return {}
    if inner is Secret:
        return {"type": "string", "writeOnly": True}
    if get_origin(inner) is Literal:
        return {"type": "string", "enum": list(get_args(inner))}
    if is_section(inner):
        return _section(inner)
    if get_origin(inner) is dict:
        return {"type": "object", "additionalProperties": _schema(item_kind(inner))}
    if get_origin(inner) is tuple:
        return {"type": "array", "items": _schema(item_kind(inner))}
    return {"type": _TYPES[inner], **_limits(kind)}


def _section(kind: Any) -> dict[str, Any]:
    fields = fields_of(kind)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _field(field) for name, field in fields.items()},
    }
    required = [name for name, field in fields.items() if field.required]
    if required:
        schema["required"] = required
    if kind is Env:
        schema["additionalProperties"] = _single(Secret)
    elif is_strict(kind):
        schema["additionalProperties"] = False
    return {**schema, "description": inspect.cleandoc(kind.__doc__)}


def _field(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    schema = _schema(field.type)
    default = field.default
    if isinstance(default, (bool, int, float, str)):
        return {**schema, "default": default}
    return schema


def _limits(kind: Any) -> dict[str, Any]:
    return {
        name: getattr(meta, limit)
        for meta in _metas(kind)
        for limit, name in _LIMITS.items()
        if getattr(meta, limit) is not None
    }


def _help(kind: Any) -> str | None:
    return next((meta.description for meta in _metas(kind) if meta.description), None)


def _metas(kind: Any) -> list[msgspec.Meta]:
    if get_origin(kind) is not Annotated:
        return []
    return [meta for meta in get_args(kind)[1:] if isinstance(meta, msgspec.Meta)]


def _hints(kind: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the hints of everything inside the type *kind*, which stands at *path*."""
    for member in members(kind):
        inner = bare(member)
        if is_section(inner):
            for name, field in fields_of(inner).items():
                below = f"{path}.{name}" if path else name
                yield below, _hint(name, field.type)
                yield from _hints(field.type, below)
        elif item_kind(inner) is not None:
            step = ".*" if get_origin(inner) is dict else "[]"
            if Secret in map(bare, members(item_kind(inner))):
                yield f"{path}{step}", {"sensitive": True}
            yield from _hints(item_kind(inner), f"{path}{step}")


def _hint(name: str, kind: Any) -> dict[str, Any]:
    words = _CAPITAL.sub(" ", name)
    hint: dict[str, Any] = {"label": words[0].upper() + words[1:].lower()}
    if text := _help(kind):
        hint["help"] = text
    if Secret in map(bare, members(kind)):
        hint["sensitive"] = True
    return hint
