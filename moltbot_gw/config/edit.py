"""From the file as it is and an edit of it to the text to write; nothing is written.

An edit over the network says which content it starts from and may not touch what
``guard`` protects; an edit on the host is checked for validity only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .guard import check_meaning, check_spelling
from .issues import ConfigError, Place
from .layout import TooDeep, find_layout, joined
from .merge import merge_patch, rewrite, same
from .reading import Reader, Reading
from .refusal import EditRefused
from .restore import dump, find_origins, restore_text, restore_tree
from .source import MAX_FILE_BYTES

Mode = Literal["set", "patch", "apply"]

HASH_REQUIRED = "config base hash required; re-run config.get and retry"
HASH_CHANGED = "config changed since last load; re-run config.get and retry"
INVALID = "invalid config"
INVALID_BEFORE = "invalid config; fix before patching"
UNREADABLE_BEFORE = "invalid config; fix the file on the host"
NOT_AN_OBJECT = "config.patch raw must be an object"


@dataclass(frozen=True)
class Plan:
    """A text to write and what it means."""

    text: str = field(repr=False)
    reading: Reading


def plan_edit(
    reader: Reader, old: Reading, raw: str, mode: Mode, base_hash: str | None
) -> Plan:
    """Return the outcome of ``config.set``, ``.patch`` or ``.apply`` on *old*.

    *raw* is JSON5: the whole configuration, or for a patch what is merged into the
    tree that the file spells (RFC 7396).  Raises `EditRefused`.
    """
    _check_hash(old, base_hash)
    if old.tree is None:
        raise EditRefused(UNREADABLE_BEFORE, old.issues)
    sent = _parsed(raw, reader)
    if mode == "patch":
        if not isinstance(sent, dict):
            raise EditRefused(NOT_AN_OBJECT)
        if not old.valid:
            raise EditRefused(INVALID_BEFORE, old.issues)
    origins = find_origins(sent, old.written)
    tree = restore_tree(sent, old.written, origins)
    if mode == "patch":
        tree = merge_patch(old.written, tree)
    check_spelling(old.written, tree, sent)
    if mode == "patch":
        plan = _rewritten(reader, old, tree)
    else:
        text = _restored(old, raw.removeprefix("\ufeff"), sent, tree, origins)
        plan = _checked(text, reader.read(text))
    check_meaning(old, plan.reading, sent)
    return plan


def plan_change(reader: Reader, old: Reading, tree: Any) -> Plan:
    """Return the valid *old* changed to spell *tree*, for edits on the host.

    Comments and spelling of what does not change stay.  Markers of hidden values in
    *tree* mean the values that *old* has there.  Raises `EditRefused`.
    """
    try:
        tree = joined(tree)
    except TooDeep as exc:
        raise EditRefused(str(exc)) from None
    origins = find_origins(tree, old.written)
    return _rewritten(reader, old, restore_tree(tree, old.written, origins))


def _check_hash(old: Reading, base_hash: str | None) -> None:
    if not old.exists:
        return
    if not base_hash:
        raise EditRefused(HASH_REQUIRED)
    if base_hash.strip().lower() != old.hash:
        raise EditRefused(HASH_CHANGED)


def _parsed(raw: str, reader: Reader) -> Any:
    if len(raw) > MAX_FILE_BYTES:
        raise EditRefused(f"config is larger than {MAX_FILE_BYTES} bytes")
    try:
        return reader.parse(raw.removeprefix("\ufeff"))
    except ConfigError as exc:
        [issue] = exc.issues
    where = "" if issue.line is None else f" (line {issue.line})"
    raise EditRefused(f"{issue.message}{where}", (issue,))


def _restored(
    old: Reading, text: str, sent: Any, tree: Any, origins: dict[Place, Place]
) -> str:
    """Return *text*, which spells *sent*, changed to spell *tree* without markers."""
    layout, old_layout = find_layout(text, sent), old.find_layout()
    if old.text is not None and layout is not None and old_layout is not None:
        return restore_text(text, layout, old.text, old_layout, origins, old.known)
    return dump(tree) if origins else text


def _rewritten(reader: Reader, old: Reading, tree: Any) -> Plan:
    """Return the text of *old* changed to spell *tree*, written anew if need be."""
    layout = old.find_layout()
    if old.text is not None and layout is not None:
        text = rewrite(old.text, layout, old.written, tree)
        reading = reader.read(text)
        if reading.written is not None and same(reading.written, tree):
            return _checked(text, reading)
    text = dump(tree)
    return _checked(text, reader.read(text))


def _checked(text: str, reading: Reading) -> Plan:
    if not reading.valid:
        raise EditRefused(INVALID, reading.issues)
    return Plan(text, reading)
