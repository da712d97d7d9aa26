"""Put the secrets back where a client sends the marker that stood for them.

A marker stands for what the file has at the same place.  Items of a list are the same
when they have the same ``id``; without ids when they stand at the same index of a list
that is as long as before, or that has the same item there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .issues import Issue, Place, dotted
from .layout import Layout
from .redaction import (
    REDACTED,
    apply_edits,
    leaves,
    redact_comment,
)
from .refusal import EditRefused

_NOTHING: Any = object()


def find_origins(sent: Any, old: Any) -> dict[Place, Place]:
    """Return the place in *old* that each marker in *sent* stands for.

    Raises `EditRefused` for a marker in a longer string or in a key, and for one that
    stands for nothing.
    """
    return dict(_origins(sent, old, (), ()))


def restore_tree(sent: Any, old: Any, origins: dict[Place, Place]) -> Any:
    """Return *sent* with the values of *old* in the place of its markers."""
    return _restored(sent, old, origins, ())


def restore_text(
    text: str,
    layout: Layout,
    old_text: str,
    old_layout: Layout,
    origins: dict[Place, Place],
    known: tuple[str, ...],
) -> str:
    """Return *text* with what *old_text* spells in the place of markers.

    A comment that is equal to one of *old_text* with its secrets (*known* and those
    that look like one) hidden becomes that comment again.
    """
    spelled = dict(leaves(old_layout.root))
    edits = list(_comments(text, layout, old_text, old_layout, known))
    for place, span in leaves(layout.root):
        if place in origins:
            origin = spelled[origins[place]]
            edits.append((span.start, span.end, old_text[origin.start : origin.end]))
    return apply_edits(text, edits)


def dump(tree: Any) -> str:
    """Return *tree* as JSON with two spaces of indent and a newline at its end."""
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _comments(
    text: str,
    layout: Layout,
    old_text: str,
    old_layout: Layout,
    known: tuple[str, ...],
) -> Iterator[tuple[int, int, str]]:
    hidden: dict[str, list[str]] = {}
    for start, end in reversed(old_layout.comments):
        comment = old_text[start:end]
        hidden.setdefault(redact_comment(comment, known), []).append(comment)
    for start, end in layout.comments:
        if REDACTED in text[start:end] and hidden.get(text[start:end]):
            yield start, end, hidden[text[start:end]].pop()


def _origins(
    sent: Any, old: Any, place: Place, origin: Place
) -> Iterator[tuple[Place, Place]]:
    if isinstance(sent, dict):
        known = old if isinstance(old, dict) else {}
        for key, value in sent.items():
            if REDACTED in key:
                raise _refusal(place, "the marker of a hidden value is no key")
            inner = known.get(key, _NOTHING)
            yield from _origins(value, inner, (*place, key), (*origin, key))
    elif isinstance(sent, list):
        others = _same_items(sent, old if isinstance(old, list) else [])
        for index, (value, other) in enumerate(zip(sent, others, strict=True)):
            inner = _NOTHING if other is None else old[other]
            step: Place = (*origin, -1 if other is None else other)
            yield from _origins(value, inner, (*place, index), step)
    elif isinstance(sent, str) and REDACTED in sent:
        if sent != REDACTED:
            raise _refusal(place, "a hidden value can only be kept as a whole")
        if old is _NOTHING or old is None or isinstance(old, (dict, list)):
            raise _refusal(place, "a hidden value that the file has not; write it out")
        yield place, origin


def _same_items(sent: list[Any], old: list[Any]) -> Iterator[int | None]:
    """Yield where each item of *sent* stands in *old*, None if that is unsure."""
    names = [_id_of(item) for item in old]
    repeated = Counter(names)
    indexes = {name: index for index, name in enumerate(names) if repeated[name] == 1}
    for index, item in enumerate(sent):
        name = _id_of(item)
        if name is not None:
            yield indexes.get(name)
        elif index >= len(old) or names[index] is not None:
            yield None
        elif len(sent) == len(old) or _hidden_equal(item, old[index]):
            yield index
        else:
            yield None


def _id_of(item: Any) -> str | None:
    name = item.get("id") if isinstance(item, dict) else None
    return name if isinstance(name, str) and name != REDACTED else None


def _hidden_equal(sent: Any, old: Any) -> bool:
    """Say whether *sent* is *old* with any of its values hidden."""
    if isinstance(sent, str) and sent == REDACTED:
        return not isinstance(old, (dict, list))
    if isinstance(sent, dict) and isinstance(old, dict):
        return sent.keys() == old.keys() and all(
            _hidden_equal(value, old[key]) for key, value in sent.items()
        )
    if isinstance(sent, list) and isinstance(old, list):
        return len(sent) == len(old) and all(map(_hidden_equal, sent, old))
    return bool(sent == old)


def _restored(sent: Any, old: Any, origins: dict[Place, Place], place: Place) -> Any:
    if isinstance(sent, dict):
        return {k: _restored(v, old, origins, (*place, k)) for k, v in sent.items()}
    if isinstance(sent, list):
        return [_restored(v, old, origins, (*place, i)) for i, v in enumerate(sent)]
    if place not in origins:
        return sent
    for step in origins[place]:
        old = old[step]
    return old


def _refusal(place: Place, message: str) -> EditRefused:
    path = dotted(place)
    return EditRefused(f"{path or '<root>'}: {message}", (Issue(path, message),))
