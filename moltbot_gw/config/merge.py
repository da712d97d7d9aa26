"""Changes of JSON trees: merge patch, strict equality, and a rewrite of the text.

Source of the merge: RFC 7396 (before: RFC 7386).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .layout import Layout, Span
from .redaction import apply_edits

_COMMA = re.compile(r"(?:[\s\ufeff]+|//[^\n\r\u2028\u2029]*|/\*[\s\S]*?\*/)*,")
_BLANK_REST = re.compile(r"[ \t]*(?:\r\n|\n|\Z)")

Edit = tuple[int, int, str]


def merge_patch(target: Any, patch: Any) -> Any:
    """Return *target* with *patch*: objects merge, null deletes, the rest replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def same(one: Any, other: Any) -> bool:
    """Say whether two JSON values are equal; true is not 1, keys have no order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def rewrite(text: str, layout: Layout, old: Any, new: Any) -> str:
    """Return *text*, which spells *old*, changed as little as it takes to spell *new*.

    What is not touched keeps its comments and its spelling.  The caller parses the
    outcome and compares it with *new*: this is a best effort.
    """
    return apply_edits(text, list(_changes(text, layout.root, old, new)))


def _changes(text: str, span: Span, old: Any, new: Any) -> Iterator[Edit]:
    if same(old, new):
        return
    if isinstance(old, dict) and isinstance(new, dict) and span.members is not None:
        yield from _object_changes(text, span, old, new)
    elif isinstance(old, list) and isinstance(new, list) and span.items is not None:
        yield from _list_changes(text, span, old, new)
    else:
        yield _whole(text, span, new)


def _object_changes(
    text: str, span: Span, old: dict[str, Any], new: dict[str, Any]
) -> Iterator[Edit]:
    assert span.members is not None, "an object has members"
    gone = [key for key in old if key not in new]
    added = [key for key in new if key not in old]
    if (gone and added) or (old and len(gone) == len(old)):
        yield _whole(text, span, new)
        return
    for key in old.keys() & new.keys():
        yield from _changes(text, span.members[key][1], old[key], new[key])
    if gone:
        yield from _removals(text, span.members, gone)
    if added:
        pairs = [f"{_dump(key)}: {{}}" for key in added]
        values = [new[key] for key in added]
        starts = [(start, value.end) for start, value in span.members.values()]
        yield _insertion(text, span, starts, pairs, values)


def _list_changes(
    text: str, span: Span, old: list[Any], new: list[Any]
) -> Iterator[Edit]:
    assert span.items is not None, "a list has items"
    if len(old) == len(new):
        for item, before, after in zip(span.items, old, new, strict=True):
            yield from _changes(text, item, before, after)
    elif len(new) > len(old) and same(old, new[: len(old)]):
        added = new[len(old) :]
        starts = [(item.start, item.end) for item in span.items]
        yield _insertion(text, span, starts, ["{}"] * len(added), added)
    else:
        yield _whole(text, span, new)


def _removals(
    text: str, members: dict[str, tuple[int, Span]], gone: list[str]
) -> Iterator[Edit]:
    kept = [span.end for key, (_, span) in members.items() if key not in gone]
    for key in gone:
        start, value = members[key]
        comma = _COMMA.match(text, value.end)
        end = comma.end() if comma else value.end
        yield _without(text, start, end)
    *_, last = members
    comma = _COMMA.match(text, kept[-1])
    if last in gone and comma and not _COMMA.match(text, members[last][1].end):
        yield comma.end() - 1, _skip_blanks(text, comma.end()), ""


def _without(text: str, start: int, end: int) -> Edit:
    """Return the removal of ``text[start:end]``, with its lines if nothing else is."""
    line = text.rfind("\n", 0, start) + 1
    rest = _BLANK_REST.match(text, end)
    if rest and not text[line:start].strip():
        return line, rest.end(), ""
    return start, _skip_blanks(text, end) if text[end - 1] == "," else end, ""


def _skip_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t"):
        position += 1
    return position


def _insertion(
    text: str,
    span: Span,
    found: list[tuple[int, int]],
    forms: list[str],
    values: list[Any],
) -> Edit:
    """Return the insertion of *values*, each as its form says, behind those *found*."""
    if not found:
        inner = _indent(text, span.start) + "  "
        body = _separated(forms, values, f"\n{inner}", inner)
        return span.start + 1, span.start + 1, f"\n{inner}{body}\n{inner[:-2]}"
    first, last = found[0][0], found[-1][1]
    line = text.rfind("\n", 0, first) + 1
    alone = line > span.start and not text[line:first].strip()
    inner = text[line:first] if alone else _indent(text, span.start)
    between = f"\n{inner}" if alone else " "
    body = _separated(forms, values, between, inner)
    return last, last, f",{between}{body}"


def _separated(forms: list[str], values: list[Any], between: str, inner: str) -> str:
    parts = [
        form.removesuffix("{}") + _dump(value, inner)
        for form, value in zip(forms, values, strict=True)
    ]
    return f",{between}".join(parts)


def _whole(text: str, span: Span, new: Any) -> Edit:
    return span.start, span.end, _dump(new, _indent(text, span.start))


def _indent(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip())]


def _dump(value: Any, indent: str = "") -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", f"\n{indent}")
