"""The keys of the configuration as a reference manual, from the classes that read it.

Nothing is written down twice: names, types, bounds, defaults and descriptions are those
of ``moltbot_gw.config``; what has no effect is what the gateway itself says has none.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
import msgspec

from moltbot_gw.config import Config, Secret, Unread
from moltbot_gw.config.kinds import bare, fields_of, is_section, item_kind, members
from moltbot_gw.config.notices import find_unserved

_OURS = "ours: "
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", Any: "any"}
Steps = tuple[str, ...]
_OF_THE_COMMAND: Steps = ("gateway", "remote")
"""The gateway ignores this section; the ``moltbot`` command reads it."""


@attrs.frozen(kw_only=True)
class Key:
    """One key: *steps* lead to it, ``[]`` for an item of a list, ``*`` for any name.

    *section* is the docstring of the object that it holds, if it holds nothing else.
    *default* is as it would be written in the file, None if there is none.
    """

    steps: Steps
    kind: str
    text: str
    ours: bool
    required: bool
    default: str | None
    section: str | None
    served: bool

    @property
    def path(self) -> str:
        """The key as the manual and ``moltbot config`` spell it: ``a.b[].c``."""
        return ".".join(self.steps).replace(".[]", "[]")


def all_keys() -> list[Key]:
    """Return every key that a configuration may have, in the order of the classes."""
    return list(_keys_in(Config, ()))


def _keys_in(kind: Any, steps: Steps) -> Iterator[Key]:
    for member in members(kind):
        inner = bare(member)
        if is_section(inner):
            # What has keys of its own comes last, so that each key stands below the
            # object that it belongs to.
            fields = sorted(
                fields_of(inner).items(), key=lambda f: _has_keys(f[1].type)
            )
            for name, field in fields:
                yield _key((*steps, name), field)
                yield from _keys_in(field.type, (*steps, name))
        elif get_origin(inner) in (dict, tuple):
            step = "*" if get_origin(inner) is dict else "[]"
            yield from _keys_in(item_kind(inner), (*steps, step))


def _has_keys(kind: Any) -> bool:
    return next(_keys_in(kind, ()), None) is not None


def _key(steps: Steps, field: msgspec.structs.FieldInfo) -> Key:
    kinds = [bare(member) for member in members(field.type)]
    section = is_section(kinds[0]) and len(kinds) == 1
    text = _description(field.type)
    return Key(
        steps=steps,
        kind=kind_in_words(field.type),
        text=text.removeprefix(_OURS),
        ours=text.startswith(_OURS),
        required=field.required,
        default=_default(field),
        section=inspect.cleandoc(kinds[0].__doc__) if section else None,
        served=_is_served(steps) and kinds != [Unread],
    )


def kind_in_words(kind: Any) -> str:
    """Return what may be written for a field of this type."""
    words = [_one_kind(member) for member in members(kind)]
    return " or ".join(dict.fromkeys(words))


def _one_kind(member: Any) -> str:
    inner = bare(member)
    if inner is Secret:
        return "string (a secret)"
    if inner is Unread:
        return "any"
    if is_section(inner):
        return "object"
    if get_origin(inner) is Literal:
        return "one of " + ", ".join(f'"{value}"' for value in get_args(inner))
    if get_origin(inner) is dict:
        return f"map from names to {_plural(item_kind(inner))}"
    if get_origin(inner) is tuple:
        return f"list of {_plural(item_kind(inner))}"
    return _NAMES[inner] + _bounds(member)


def _plural(kind: Any) -> str:
    words = kind_in_words(kind)
    if words == "any":
        return "anything"
    return words if words.startswith("one of") else re.sub(r"^\w+", r"\g<0>s", words)


def _bounds(kind: Any) -> str:
    metas = [m for m in _metas(kind) if m.ge is not None or m.gt is not None]
    metas += [m for m in _metas(kind) if m.le is not None and m not in metas]
    low = next((f"{m.ge:g}" for m in metas if m.ge is not None), None)
    above = next((f"above {m.gt:g}" for m in metas if m.gt is not None), None)
    # The largest integers are a matter of JSON, and no advice to anybody.
    high = next((str(m.le) for m in metas if m.le is not None and m.le < 2**40), None)
    if above:
        return f", {above}" + (f", up to {high}" if high else "")
    if low is None:
        return ""
    return f", {low} to {high}" if high else f", {low} or more"


def _metas(kind: Any) -> list[msgspec.Meta]:
    if get_origin(kind) in (Union, UnionType):
        return [m for a in get_args(kind) if a is not NoneType for m in _metas(a)]
    if get_origin(kind) is not Annotated:
        return []
    inner, *more = get_args(kind)
    return [*(m for m in more if isinstance(m, msgspec.Meta)), *_metas(inner)]


def _description(kind: Any) -> str:
    return next((m.description for m in _metas(kind) if m.description), "")


def _default(field: msgspec.structs.FieldInfo) -> str | None:
    value = field.default
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT or value is None or is_section(type(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def _is_served(steps: Steps) -> bool:
    """Ask the loader whether it would say that a key here has no effect."""
    if steps[: len(_OF_THE_COMMAND)] == _OF_THE_COMMAND:
        return True
    tree: Any = None
    for step in reversed(steps):
        tree = [tree] if step == "[]" else {step: tree}
    real = tuple(0 if step == "[]" else step for step in steps)
    return not any(
        "is ignored" in fault.message and fault.place == real[: len(fault.place)]
        for fault in find_unserved(tree)
    )
