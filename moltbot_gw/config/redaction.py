"""Hide the secrets of a configuration from those who may read it over the network.

A secret is a value whose type in the model is `Secret`, one whose key looks like a
secret's where the model does not say, a URL with a password in it, and every other
string that contains one of these.  ``${VAR}`` names a secret and is none: it stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .issues import Place
from .keynames import holds_secrets, is_secret_name, is_secret_number_name
from .kinds import bare, fields_of, is_section, item_kind, members
from .layout import Layout, Span
from .model import Config
from .model_others import Env
from .secret import Secret
from .substitute import REFERENCE, references

REDACTED = "__MOLTBOT_REDACTED__"
"""Stands for a secret in what is shown, and means "as it is" in what comes back."""

_MIN_KNOWN = 8
_MAX_KNOWN = 256
_ONLY_REFERENCE = re.compile(r"(?:(?:Bearer|Basic|Token) +)?\$\{[A-Z_][A-Z0-9_]*\}")
_URL_SECRET = re.compile(
    r"://:*[^/?#@\s:][^/?#@\s]*@"
    r"|[?&#][\w.-]{0,40}?(?:token|key|secret|passw|pwd|sig|auth|code)[\w.-]{0,40}=[^&\s]",
    re.IGNORECASE,
)
_NAMED_IN_COMMENT = re.compile(
    r"""((?:token|passw(?:or)?d|secret|key|authorization|credentials?|cookie)s?
    ["']?\s*[:=]\s*)("[^"\n]*"|'[^'\n]*'|(?!\$\{)[^\s,}]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_LONG_IN_COMMENT = re.compile(r"[\w+/=-]{24,}")
_DIGIT = re.compile("[0-9]")
_LETTER = re.compile("[A-Za-z]")


def secret_places(tree: Any) -> frozenset[Place]:
    """Return where in *tree*, valid or not, a string or number is to be hidden."""
    return frozenset(_find(tree, (Config,), (), hot=False))


def known_secrets(
    tree: Any, places: frozenset[Place], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the secrets that are long enough to be looked for in other strings.

    Those of *tree* at *places*, and what *environ* has for the variables that *tree*
    refers to by a secret's name.
    """
    found = {text for place, text in strings(tree) if place in places}
    for _, text in strings(tree):
        found |= {environ.get(n, "") for n in references(text) if is_secret_name(n)}
    usable = {text for text in found if _is_known(text)}
    return tuple(sorted(usable, key=lambda text: (-len(text), text))[:_MAX_KNOWN])


def spread(
    tree: Any, places: frozenset[Place], known: tuple[str, ...]
) -> frozenset[Place]:
    """Return *places* and those of the other strings that contain a *known* secret."""
    return places | {
        place
        for place, text in strings(tree)
        if any(secret in text for secret in known)
    }


def redact_tree(tree: Any, places: frozenset[Place], place: Place = ()) -> Any:
    """Return *tree* with the marker at *places*."""
    if isinstance(tree, dict):
        return {k: redact_tree(v, places, (*place, k)) for k, v in tree.items()}
    if isinstance(tree, list):
        return [redact_tree(v, places, (*place, i)) for i, v in enumerate(tree)]
    return REDACTED if place in places else tree


def redact_text(
    text: str, layout: Layout, places: frozenset[Place], known: tuple[str, ...]
) -> str:
    """Return *text* with the marker at *places* and in what comments give away."""
    edits = [
        (span.start, span.end, json.dumps(REDACTED))
        for place, span in leaves(layout.root)
        if place in places
    ]
    for start, end in layout.comments:
        edits.append((start, end, redact_comment(text[start:end], known)))
    return apply_edits(text, edits)


def redact_comment(text: str, known: tuple[str, ...]) -> str:
    """Return the comment *text* without what looks like a secret in it."""
    for secret in known:
        text = text.replace(secret, REDACTED)
    text = _NAMED_IN_COMMENT.sub(rf"\1{REDACTED}", text)
    return _LONG_IN_COMMENT.sub(_without_random, text)


def _without_random(match: re.Match[str]) -> str:
    looks_random = _DIGIT.search(match[0]) and _LETTER.search(match[0])
    return REDACTED if looks_random else match[0]


def apply_edits(text: str, edits: list[tuple[int, int, str]]) -> str:
    """Return *text* with each ``text[start:end]`` replaced; they do not overlap."""
    pieces, last = [], 0
    for start, end, replacement in sorted(edits):
        pieces += [text[last:start], replacement]
        last = end
    return "".join([*pieces, text[last:]])


def strings(tree: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yield every string value of *tree* with its place."""
    if isinstance(tree, str):
        yield place, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from strings(value, (*place, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from strings(value, (*place, index))


def leaves(span: Span, place: Place = ()) -> Iterator[tuple[Place, Span]]:
    """Yield the span of every value that is no object and no list, with its place."""
    if span.members is not None:
        for key, (_, value) in span.members.items():
            yield from leaves(value, (*place, key))
    elif span.items is not None:
        for index, item in enumerate(span.items):
            yield from leaves(item, (*place, index))
    else:
        yield place, span


def _find(
    value: Any, kinds: tuple[Any, ...], place: Place, *, hot: bool
) -> Iterator[Place]:
    """Yield the secret places in *value*, of one of the types *kinds* (none: open)."""
    types = [bare(member) for kind in kinds for member in members(kind)]
    hot = hot or Secret in types
    if isinstance(value, dict):
        for key, item in value.items():
            inner, inner_hot = _inside(types, key)
            yield from _find(item, inner, (*place, key), hot=hot or inner_hot)
    elif isinstance(value, list):
        inner = tuple(k for t in types if (k := item_kind(t)) is not None)
        for index, item in enumerate(value):
            yield from _find(item, inner, (*place, index), hot=hot)
    elif _is_secret(value, place, hot=hot):
        yield place


def _inside(types: list[Any], key: str) -> tuple[tuple[Any, ...], bool]:
    """Return the types of what is under *key*, and whether all of it is secret."""
    for kind in types:
        if is_section(kind) and key in fields_of(kind):
            return (fields_of(kind)[key].type,), False
        if item_kind(kind) is not None:
            return (item_kind(kind),), False
    if Env in types:
        return (), True
    return (), is_secret_name(key) or holds_secrets(key)


def _is_secret(value: Any, place: Place, *, hot: bool) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, (int, float)):
        return hot and is_secret_number_name(_last_key(place))
    if not isinstance(value, str) or not value.strip():
        return False
    if _URL_SECRET.search(REFERENCE.sub("", value)):
        return True
    return hot and not _ONLY_REFERENCE.fullmatch(value)


def _last_key(place: Place) -> str:
    return next((name for name in reversed(place) if isinstance(name, str)), "")


def _is_known(text: str) -> bool:
    return len(text) >= _MIN_KNOWN and not _ONLY_REFERENCE.fullmatch(text)
