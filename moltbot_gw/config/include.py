"""``$include``: one configuration from several files.

An object ``{"$include": "a.json5"}`` is replaced by the content of that file, a list of
names by their merge from left to right; sibling keys are merged over the result.
Names are relative to the file that has them.  Merging goes down objects, joins lists,
and lets the later one win otherwise.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .issues import ConfigError, Issue, Place, dotted
from .source import find_text, join_surrogates, parse_text, read_text

INCLUDE = "$include"
MAX_INCLUDE_DEPTH = 10
MAX_INCLUDED_FILES = 256
MAX_NESTING = 64
"""Objects and lists within each other; the largest real files have about ten."""

_JSON_TYPES = {dict: "object", list: "list", str: "string", bool: "boolean"}


@dataclass(frozen=True)
class Document:
    """The whole tree, and the raw text of each file that it was made from."""

    tree: Any
    texts: dict[Path, str]

    def locate(self, key: str) -> tuple[Path | None, int | None]:
        """Return file and line where *key* stands, if it is a key in one place only.

        With several places in one file the line is None, in several files both are.
        """
        name = re.escape(key)
        pattern = re.compile(rf"""(?:(["']){name}\1|(?<![\w$"']){name})\s*:""")
        found = [
            (path, text.count("\n", 0, match.start()) + 1)
            for path, text in self.texts.items()
            for match in pattern.finditer(text)
        ]
        if len(found) == 1:
            return found[0]
        files = {path for path, _ in found}
        return (files.pop() if len(files) == 1 else None), None


def read_document(path: Path) -> Document | None:
    """Read *path* and everything that it includes, None if *path* does not exist.

    Raises `ConfigError` for what cannot be read, parsed or included.
    """
    text = find_text(path)
    if text is None:
        return None
    return resolve_document(parse_text(text, path), text, path)


def resolve_document(written: Any, text: str, path: Path) -> Document:
    """Return *written*, parsed from *text*, with its includes; raises as above."""
    resolver = _Resolver(path, text)
    return Document(resolver.resolve(written, (path,), ()), resolver.texts)


def json_type(value: object) -> str:
    """Return the name of a JSON value's type, for a message."""
    if value is None:
        return "null"
    return _JSON_TYPES.get(type(value), "number")


class _Resolver:
    """Replace every ``$include`` of one configuration.

    *chain* is the including files from the main one down; its length is the depth.
    """

    def __init__(self, main: Path, text: str) -> None:
        self._main = main
        self._included = 0
        self.texts = {main: text}

    def resolve(self, value: Any, chain: tuple[Path, ...], place: Place) -> Any:
        if len(place) > MAX_NESTING:
            raise self._fault(place[:1], chain, "nested too deeply")
        if isinstance(value, list):
            return [self.resolve(v, chain, (*place, i)) for i, v in enumerate(value)]
        if isinstance(value, str):
            return self._text(value, chain, place)
        if not isinstance(value, dict):
            return value
        resolved = {
            self._text(k, chain, place): self.resolve(v, chain, (*place, k))
            for k, v in value.items()
            if k != INCLUDE
        }
        if INCLUDE not in value:
            return resolved
        content = self._contents(value[INCLUDE], chain, place)
        if len(value) == 1:
            return content
        if not isinstance(content, dict):
            message = "keys beside $include need an included file that is an object"
            raise self._fault(place, chain, message)
        return _merge(content, resolved)

    def _text(self, text: str, chain: tuple[Path, ...], place: Place) -> str:
        joined = join_surrogates(text)
        if joined is None:
            raise self._fault(place, chain, "half of a surrogate pair is no character")
        return joined

    def _contents(self, names: Any, chain: tuple[Path, ...], place: Place) -> Any:
        if isinstance(names, str):
            return self._file(names, chain, place)
        if not isinstance(names, list):
            message = f"$include takes a file name or a list, not {json_type(names)}"
            raise self._fault(place, chain, message)
        merged: Any = {}
        for name in names:
            if not isinstance(name, str):
                message = f"a list in $include has file names, not {json_type(name)}"
                raise self._fault(place, chain, message)
            merged = _merge(merged, self._file(name, chain, place))
        return merged

    def _file(self, name: str, chain: tuple[Path, ...], place: Place) -> Any:
        path = Path(os.path.normpath(chain[-1].absolute().parent / name))
        self._included += 1
        if path in (file.absolute() for file in chain):
            loop = " -> ".join(str(file) for file in (*chain, path))
            raise self._fault(place, chain, f"$include goes in a circle: {loop}")
        if len(chain) > MAX_INCLUDE_DEPTH:
            message = f"more than {MAX_INCLUDE_DEPTH} levels of $include at {path}"
            raise self._fault(place, chain, message)
        if self._included > MAX_INCLUDED_FILES:
            message = f"more than {MAX_INCLUDED_FILES} files are included"
            raise self._fault(place, chain, message)
        return self.resolve(self._parsed(path, chain, place), (*chain, path), place)

    def _parsed(self, path: Path, chain: tuple[Path, ...], place: Place) -> Any:
        try:
            self.texts[path] = text = read_text(path)
            return parse_text(text, path)
        except ConfigError as exc:
            [issue] = exc.issues
        message = f"{issue.message} (included by {chain[-1]})"
        at = Issue(dotted(place), message, issue.file, issue.line)
        raise ConfigError(self._main, (at,))

    def _fault(self, place: Place, chain: tuple[Path, ...], text: str) -> ConfigError:
        return ConfigError(self._main, (Issue(dotted(place), text, chain[-1]),))


def _merge(under: Any, over: Any) -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        merged = dict(under)
        for key, value in over.items():
            merged[key] = _merge(under[key], value) if key in under else value
        return merged
    if isinstance(under, list) and isinstance(over, list):
        return [*under, *over]
    return over
