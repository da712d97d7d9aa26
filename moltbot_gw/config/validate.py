"""From a JSON tree to the frozen model, with everything that is wrong at once.

msgspec stops at the first error and its messages may quote values, so the tree is
walked beside the types of the model: containers here, each single value by
``msgspec.convert`` in strict mode, whose message is put in our words.

Rules beyond types stand where their facts are: in ``__post_init__`` of a section (it
raises `BadField`), or in ``rules`` when they compare several sections.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from .issues import BadField, Fault, Place, printable
from .kinds import bare, fields_of, is_section, is_strict, members
from .model import Config
from .secret import Secret, Unread, decode_hook

_NOTHING: Any = object()
"""In the place of a value that is wrong or counts as not set."""

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}


def validate(tree: Any) -> tuple[Config | None, list[Fault]]:
    """Return the configuration that *tree* spells, or None and what is wrong with it.

    Null is never a value.  A blank secret counts as not set.
    """
    reader = _Reader()
    config = reader.read(Config, tree, ())
    return (None if reader.faults else config), reader.faults


class _Reader:
    """One walk; every method returns `_NOTHING` after it has added a fault."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def read(self, kind: Any, value: Any, place: Place) -> Any:
        choices = members(kind)
        types = [bare(choice) for choice in choices]
        if Unread in types:
            return Unread()
        if isinstance(value, float) and not math.isfinite(value):
            return self._fault(place, "expected a finite number")
        if Any in types:
            return value
        if Secret in types and isinstance(value, str) and not value.strip():
            return _NOTHING
        for candidate in types:
            if isinstance(value, dict) and is_section(candidate):
                return self._section(candidate, value, place)
            if isinstance(value, dict) and get_origin(candidate) is dict:
                return self._map(get_args(candidate)[1], value, place)
            if isinstance(value, list) and get_origin(candidate) is tuple:
                return self._items(get_args(candidate)[0], value, place)
        return self._single(choices, value, place)

    def _section(self, kind: Any, value: dict[str, Any], place: Place) -> Any:
        before = len(self.faults)
        fields = fields_of(kind)
        if is_strict(kind):
            self._refuse_unknown(value, list(fields), place)
        known = {}
        for name, field in fields.items():
            if name in value:
                result = self.read(field.type, value[name], (*place, name))
                if result is not _NOTHING:
                    known[field.name] = result
            elif field.required:
                self._fault(place, f'missing key "{name}"')
        if len(self.faults) > before:
            return _NOTHING
        try:
            return kind(**known)
        except BadField as exc:
            return self._fault((*place, *exc.place), exc.message)

    def _refuse_unknown(
        self, value: dict[str, Any], allowed: list[str], place: Place
    ) -> None:
        for key in value:
            if key not in allowed:
                near = difflib.get_close_matches(key[:100], allowed, n=1)
                hint = f'; did you mean "{near[0]}"?' if near else ""
                self._fault((*place, key), f'unknown key "{printable(key)}"{hint}')

    def _map(self, kind: Any, value: dict[str, Any], place: Place) -> Any:
        pairs = ((k, self.read(kind, v, (*place, k))) for k, v in value.items())
        return {key: item for key, item in pairs if item is not _NOTHING}

    def _items(self, kind: Any, value: list[Any], place: Place) -> Any:
        return tuple(self.read(kind, v, (*place, i)) for i, v in enumerate(value))

    def _single(self, choices: list[Any], value: Any, place: Place) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON has one kind of number: 1e3 is a whole one
        try:
            return msgspec.convert(value, Union[tuple(choices)], dec_hook=decode_hook)
        except msgspec.ValidationError as exc:
            problem = str(exc)
        return self._fault(place, _describe(problem, choices))

    def _fault(self, place: Place, message: str) -> Any:
        self.faults.append(Fault(place, message))
        return _NOTHING


def _describe(problem: str, choices: list[Any]) -> str:
    """Put a message of msgspec in our words, without the value that it may quote."""
    literals = [m for m in map(bare, choices) if get_origin(m) is Literal]
    if literals:
        names = [f'"{name}"' for m in literals for name in get_args(m)]
        others = [_WORDS[m.__name__] for m in map(bare, choices) if m not in literals]
        return f"expected one of {', '.join(names + others)}"
    if not problem.startswith("Expected "):
        return "the number is too large"
    words = re.sub("`(.+?)`", lambda match: _in_words(match[1]), problem)
    return words[0].lower() + words[1:]


def _in_words(names: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in names.split(" | "))
