"""Where in a JSON5 text each value stands, so that single values can be replaced.

The scan takes what the parser of ``source`` has accepted and is not a parser itself:
`find_layout` compares its outcome with the parsed tree and gives None when they
differ, and the caller then writes the whole tree anew.  It needs linear time.

Source: the JSON5 specification 1.0.0, sections 2 to 7.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .include import MAX_NESTING
from .source import join_surrogates

_TOKEN = re.compile(
    r"""(?P<gap>[\s\ufeff]+)
    | (?P<comment>//[^\n\r\u2028\u2029]*|/\*[\s\S]*?\*/)
    | (?P<string>"[^"\\]*(?:\\[\s\S][^"\\]*)*"|'[^'\\]*(?:\\[\s\S][^'\\]*)*')
    | (?P<mark>[\[\]{}:,])
    | (?P<word>[^\s\[\]{}:,"'/]+)
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|[\n\r\u2028\u2029])|([\s\S]))"
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}


@dataclass(frozen=True)
class Span:
    """One value: ``text[start:end]``.

    *members* is of an object (each with the start of its key), *items* of a list,
    *string* of a string; the other two are None.
    """

    start: int
    end: int
    members: dict[str, tuple[int, Span]] | None = None
    items: list[Span] | None = None
    string: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Layout:
    """The spans of a text; *comments* are start and end of each, in order."""

    root: Span
    comments: tuple[tuple[int, int], ...]


def find_layout(text: str, tree: Any) -> Layout | None:
    """Return where the parts of *tree* stand in *text*, None if that is not certain."""
    try:
        scan = _Scan(text)
        root = scan.value()
    except (ValueError, RecursionError):
        return None
    if scan.kind or not _agrees(root, tree):
        return None
    return Layout(root, tuple(scan.comments))


class TooDeep(ValueError):
    """Objects and lists within each other, more than the loader takes."""


def joined(tree: Any, depth: int = 0) -> Any:
    """Return *tree* with its escaped surrogate pairs, in keys too, as characters.

    Raises `TooDeep`: walks after this one need not count.
    """
    if depth > MAX_NESTING:
        raise TooDeep("nested too deeply")
    if isinstance(tree, str):
        return _joined(tree)
    if isinstance(tree, list):
        return [joined(item, depth + 1) for item in tree]
    if isinstance(tree, dict):
        return {_joined(key): joined(value, depth + 1) for key, value in tree.items()}
    return tree


class _Scan:
    """One pass; *kind*, *start*, *end* are of the token that comes next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.comments: list[tuple[int, int]] = []
        self.start = self.end = 0
        self.kind = ""
        self._step()

    def value(self) -> Span:
        start, end, kind = self.start, self.end, self.kind
        if kind == "string":
            self._step()
            return Span(start, end, string=_decode(self._text[start + 1 : end - 1]))
        if kind == "word":
            self._step()
            return Span(start, end)
        if kind == "{":
            members: dict[str, tuple[int, Span]] = {}
            end = self._each("}", lambda: self._member(members))
            return Span(start, end, members=members)
        if kind == "[":
            items: list[Span] = []
            end = self._each("]", lambda: items.append(self.value()))
            return Span(start, end, items=items)
        raise ValueError("expected a value")

    def _member(self, members: dict[str, tuple[int, Span]]) -> None:
        start, end, kind = self.start, self.end, self.kind
        if kind not in ("string", "word"):
            raise ValueError("expected a key")
        inner = self._text[start + 1 : end - 1] if kind == "string" else None
        key = _decode(self._text[start:end] if inner is None else inner)
        self._step()
        self._take(":")
        members[key] = (start, self.value())

    def _each(self, closing: str, read: Callable[[], None]) -> int:
        self._step()
        while self.kind != closing:
            read()
            if self.kind != closing:
                self._take(",")
        return self._take(closing)

    def _take(self, mark: str) -> int:
        if self.kind != mark:
            raise ValueError(f"expected {mark}")
        end = self.end
        self._step()
        return end

    def _step(self) -> None:
        while self.end < len(self._text):
            match = _TOKEN.match(self._text, self.end)
            if match is None:
                raise ValueError("no token")
            self.start, self.end = match.span()
            kind = match.lastgroup or ""
            if kind == "comment":
                self.comments.append(match.span())
            elif kind != "gap":
                self.kind = match[0] if kind == "mark" else kind
                return
        self.kind = ""


def _agrees(span: Span, tree: Any) -> bool:
    if isinstance(tree, dict):
        found = span.members
        return (
            found is not None
            and found.keys() == tree.keys()
            and all(_agrees(found[key][1], value) for key, value in tree.items())
        )
    if isinstance(tree, list):
        return (
            span.items is not None
            and len(span.items) == len(tree)
            and all(map(_agrees, span.items, tree))
        )
    if isinstance(tree, str):
        return span.string == tree
    return span.string is None and span.members is None and span.items is None


def _decode(body: str) -> str:
    return _joined(_ESCAPE.sub(_unescape, body))


def _unescape(match: re.Match[str]) -> str:
    if code := match[1] or match[2]:
        return chr(int(code, 16))
    return "" if match[3] else _SHORT.get(match[4], match[4])


def _joined(text: str) -> str:
    result = join_surrogates(text)
    return text if result is None else result
