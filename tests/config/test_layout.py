from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.config.layout import find_layout, joined
from moltbot_gw.config.redaction import leaves

TEXTS = st.text("ab\"'\\/*{}[]:,\n\u2028 é😀\u0000", max_size=8)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(tree=TREES, indent=st.sampled_from([None, 2]), plain=st.booleans())
@settings(deadline=None)
def test_every_value_is_found_where_it_stands(
    tree: Any, indent: int | None, plain: bool
) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=plain)
    layout = find_layout(text, tree)
    assert layout is not None
    for place, span in leaves(layout.root):
        value = tree
        for step in place:
            value = value[step]
        if not isinstance(value, (dict, list)):
            assert json.loads(text[span.start : span.end]) == value


def test_json5_spellings_are_found() -> None:
    text = "/*a*/ {a: 'it\\'s', \"b\\x41\": [+0x1F, .5,], // end\n c\\u0064: 'x\\\ny',}"
    tree = {"a": "it's", "bA": [31, 0.5], "cd": "xy"}
    layout = find_layout(text, tree)
    assert layout is not None
    spelled = [text[span.start : span.end] for _, span in leaves(layout.root)]
    assert spelled == ["'it\\'s'", "+0x1F", ".5", "'x\\\ny'"]
    assert [text[a:b] for a, b in layout.comments] == ["/*a*/", "// end"]


def test_surrogate_pairs_are_one_character() -> None:
    assert joined({"\ud83d\ude00": ["\ud83d\ude00", 1]}) == {"😀": ["😀", 1]}
    assert find_layout('{"\\ud83d\\ude00": 1}', {"😀": 1}) is not None
    assert joined("\ud83d") == "\ud83d"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("{a: 1}", {"b": 1}),
        ("{a: 1}", {"a": "1"}),
        ("{a: 1}", [1]),
        ("[1, 2]", [1]),
        ("['x']", ["y"]),
        ("'x'", 1),
        ("{a: 1} 2", {"a": 1}),
        ("{a 1}", {"a": 1}),
        ("{[: 1}", {"a": 1}),
        ("{a: 1", {"a": 1}),
        ("{a: 1, /*", {"a": 1}),
        ("}", {}),
        ("", {}),
        ("[" * 100_000, []),
    ],
)
def test_what_does_not_fit_has_no_layout(text: str, tree: Any) -> None:
    assert find_layout(text, tree) is None
