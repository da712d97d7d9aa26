"""The JSON tree of what a configuration comes to, with every default filled in."""

from __future__ import annotations

from typing import Any

import msgspec

from .load import CheckedDocument
from .model import Config
from .secret import Secret, Unread


def effective_tree(checked: CheckedDocument) -> Any:
    """Return the tree of *checked* and its defaults, all secrets in clear.

    Keys without a value are left out.  Parts that are not served are as in the file.
    """
    return _filled(checked.tree, msgspec.to_builtins(checked.config, enc_hook=_plain))


def assumed_tree(tree: Any) -> Any:
    """Return *tree*, which may be invalid, over the defaults of everything."""
    return _over(_filled({}, msgspec.to_builtins(Config(), enc_hook=_plain)), tree)


def _over(under: Any, over: Any) -> Any:
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    both = {key: _over(under[key], over[key]) for key in under.keys() & over.keys()}
    return {**under, **over, **both}


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    assert isinstance(value, Unread), "the model has two types of its own"
    return None


def _filled(tree: Any, model: Any) -> Any:
    """Return *model*, with what only *tree* has where the model kept nothing."""
    if model is None:
        return tree
    if isinstance(model, dict):
        known = tree if isinstance(tree, dict) else {}
        filled = {key: _filled(known.get(key), value) for key, value in model.items()}
        others = {key: value for key, value in known.items() if key not in filled}
        return {k: v for k, v in {**filled, **others}.items() if v is not None}
    if not isinstance(model, (list, tuple)):
        return model
    items = tree if isinstance(tree, list) and len(tree) == len(model) else model
    return [_filled(*pair) for pair in zip(items, model, strict=True)]
