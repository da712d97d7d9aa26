from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.config.layout import find_layout
from moltbot_gw.config.merge import merge_patch, rewrite, same
from moltbot_gw.config.source import parse_text

KEYS = st.sampled_from(["a", "b", "c", "d e"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("x,}", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


def spell(old: Any, new: Any, text: str) -> str:
    layout = find_layout(text, old)
    assert layout is not None
    return rewrite(text, layout, old, new)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        (["a"], {"a": "b"}, {"a": "b"}),
        ({"e": 1}, {"a": {"bb": {"ccc": None}}}, {"e": 1, "a": {"bb": {}}}),
        ({"a": 1}, None, None),
    ],
)
def test_patch_merges_as_the_rfc_says(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


def test_true_is_not_one() -> None:
    assert not same({"a": [True]}, {"a": [1]})
    assert not same({"a": 1}, {"b": 1})
    assert not same([1], [1, 2])
    assert same({"a": 1, "b": [1.0]}, {"b": [1], "a": 1})


@given(old=VALUES, new=VALUES, indent=st.sampled_from([None, 1, 2]))
@settings(deadline=None, max_examples=300)
def test_rewritten_text_spells_the_other_tree(
    old: Any, new: Any, indent: int | None
) -> None:
    text = json.dumps(old, indent=indent)
    assert same(json.loads(spell(old, new, text)), new)


@given(old=st.dictionaries(KEYS, VALUES), new=st.dictionaries(KEYS, VALUES))
@settings(deadline=None)
def test_rewritten_json5_spells_the_other_tree(old: Any, new: Any) -> None:
    lines = "".join(f"  '{k}': {json.dumps(v)}, // {k}\n" for k, v in old.items())
    changed = spell(old, new, f"{{ // first\n{lines}}}\n")
    assert same(parse_text(changed, Path("x")), new)


TEXT = """\
{
  // about a
  a: 1, // one
  b: {c: 2, d: 3},
  e: [
    4, // four
    5
  ]
}
"""
OLD = {"a": 1, "b": {"c": 2, "d": 3}, "e": [4, 5]}


@pytest.mark.parametrize(
    ("new", "before", "after"),
    [
        ({**OLD, "a": 7}, "a: 1,", "a: 7,"),
        ({**OLD, "b": {"c": 2}}, "{c: 2, d: 3}", "{c: 2}"),
        ({**OLD, "b": {"d": 3}}, "{c: 2, d: 3}", "{d: 3}"),
        ({**OLD, "b": {"c": 2, "d": 3, "x": {}}}, "d: 3}", 'd: 3, "x": {}}'),
        ({**OLD, "e": [4, 6]}, "    5", "    6"),
        ({**OLD, "e": [4, 5, "s"]}, "    5\n", '    5,\n    "s"\n'),
        ({**OLD, "f": {"g": 1}}, "  ]\n}", '  ],\n  "f": {\n    "g": 1\n  }\n}'),
        ({"a": 1, "e": [4, 5]}, "  b: {c: 2, d: 3},\n", ""),
        ({**OLD, "b": {}}, "{c: 2, d: 3}", "{}"),
    ],
)
def test_the_rest_of_the_text_stays(new: Any, before: str, after: str) -> None:
    assert spell(OLD, new, TEXT) == TEXT.replace(before, after)


def test_removal_of_the_last_key_takes_the_comma_before() -> None:
    new = {key: OLD[key] for key in "ab"}
    assert spell(OLD, new, TEXT).endswith("  b: {c: 2, d: 3}\n}\n")


def test_first_key_goes_into_an_empty_object() -> None:
    assert spell({}, {"a": 1}, "{\n  // none\n}") == '{\n  "a": 1\n\n  // none\n}'
