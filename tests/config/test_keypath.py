from __future__ import annotations

from typing import Any

import pytest

from moltbot_gw.config.keypath import (
    MISSING,
    KeyPathError,
    get_at,
    parse_key_path,
    set_at,
    unset_at,
)

TREE = {"a": {"b": [10, {"c": 1}]}, "x.y": 2}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ("a",)),
        ("agents.list[0].id", ("agents", "list", "0", "id")),
        ("models.providers.x\\.y", ("models", "providers", "x.y")),
        ('a["b"]', ("a", '"b"')),
        ("a[b.c]", ("a", "b.c")),
        ("a..b.", ("a", "b")),
        ("a[ 1 ]", ("a", "1")),
        ("a\\", ("a\\",)),
    ],
)
def test_path_is_cut_into_names(text: str, names: tuple[str, ...]) -> None:
    assert parse_key_path(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Path is empty."),
        (" . ", "Path is empty."),
        ("a[0", 'Invalid path (missing "]"): a[0'),
    ],
)
def test_path_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(KeyPathError) as caught:
        parse_key_path(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b[0]", 10),
        ("a.b.1.c", 1),
        ("x\\.y", 2),
        ("a.b[2]", MISSING),
        ("a.b.x", MISSING),
        ("a.b[99999999999]", MISSING),
        ("a.b[0].c", MISSING),
        ("q", MISSING),
    ],
)
def test_value_is_found_or_missing(path: str, value: Any) -> None:
    assert get_at(TREE, parse_key_path(path)) is value


@pytest.mark.parametrize(
    ("path", "tree"),
    [
        ("q", {**TREE, "q": 5}),
        ("q.r[0].s", {**TREE, "q": {"r": [{"s": 5}]}}),
        ("a.b[0]", {**TREE, "a": {"b": [5, {"c": 1}]}}),
        ("a.b[2]", {**TREE, "a": {"b": [10, {"c": 1}, 5]}}),
        ("a.b[1].d", {**TREE, "a": {"b": [10, {"c": 1, "d": 5}]}}),
        ("a.7", {**TREE, "a": {**TREE["a"], "7": 5}}),  # type: ignore[dict-item]
    ],
)
def test_value_is_set_and_the_old_tree_stays(path: str, tree: Any) -> None:
    before = repr(TREE)
    assert set_at(TREE, parse_key_path(path), 5) == tree
    assert repr(TREE) == before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a.b.x", 'Expected numeric index for array segment "x"'),
        ("a.b[9999999999]", 'Expected numeric index for array segment "9999999999"'),
        ("x\\.y.z", 'Cannot traverse into "z" (not an object)'),
        ("a.b[3]", 'Index "3" is past the end of the list'),
    ],
)
def test_way_through_other_values_is_refused(path: str, message: str) -> None:
    with pytest.raises(KeyPathError) as caught:
        set_at(TREE, parse_key_path(path), 5)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("path", "tree"),
    [
        ("x\\.y", {"a": TREE["a"]}),
        ("a.b[0]", {**TREE, "a": {"b": [{"c": 1}]}}),
        ("a.b[1].c", {**TREE, "a": {"b": [10, {}]}}),
        ("a.b", {**TREE, "a": {}}),
        ("a.b.5", MISSING),
        ("a.q.r", MISSING),
        ("a.b[1].q", MISSING),
    ],
)
def test_value_is_removed_or_missing(path: str, tree: Any) -> None:
    assert unset_at(TREE, parse_key_path(path)) == tree
