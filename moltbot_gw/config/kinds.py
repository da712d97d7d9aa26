"""The types of the model, taken apart for walks that go beside a JSON tree."""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec


def members(kind: Any) -> list[Any]:
    """Return the alternatives of *kind* without None, constraints kept."""
    inner = bare(kind)
    if get_origin(inner) not in (Union, UnionType):
        return [kind]
    return [m for a in get_args(inner) if a is not NoneType for m in members(a)]


def bare(kind: Any) -> Any:
    """Return *kind* without its constraints and description."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def is_section(kind: Any) -> bool:
    """Say whether *kind* is a struct of the model."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def is_strict(kind: Any) -> bool:
    """Say whether the section *kind* refuses keys that it does not know."""
    return bool(kind.__struct_config__.forbid_unknown_fields)


@cache
def fields_of(kind: Any) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the fields of the section *kind* by their names in the file."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def item_kind(kind: Any) -> Any:
    """Return the type of the values in the map or list *kind*, else None."""
    origin = get_origin(kind)
    if origin is dict:
        return get_args(kind)[1]
    return get_args(kind)[0] if origin is tuple else None
