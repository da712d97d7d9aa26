from __future__ import annotations

from pathlib import Path

import pytest

from moltbot_gw.config.substitute import substitute

from .support import fail

ENVIRON = {"A": "1", "B_2": "two", "REF": "${A}", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "1"),
        ("x${A}y${B_2}z", "x1ytwoz"),
        ("$${A}", "${A}"),
        ("$${A}${A}", "${A}1"),
        ("${REF}", "${A}"),
        ("$A ${a} ${} ${A", "$A ${a} ${} ${A"),
        ("${1A} ${A-B}", "${1A} ${A-B}"),
        ("$${UNSET}", "${UNSET}"),
    ],
)
def test_references_in_a_string(text: str, result: str) -> None:
    assert substitute(text, ENVIRON) == (result, [])


def test_keys_and_other_types_are_left_alone() -> None:
    tree = {"${A}": [1, None, True, {"x": "${A}"}]}
    assert substitute(tree, ENVIRON)[0] == {"${A}": [1, None, True, {"x": "1"}]}


def test_every_missing_variable_is_told_with_its_place(tmp_path: Path) -> None:
    tree = {"channels": {"list": ["${NO}"]}, "env": {"X": "${EMPTY}"}}
    error = fail(tmp_path, tree, ENVIRON)
    assert [(issue.path, issue.message) for issue in error.issues] == [
        ("channels.list.0", 'missing env var "NO" referenced at channels.list[0]'),
        ("env.X", 'missing env var "EMPTY" referenced at env.X'),
    ]


def test_missing_variable_in_a_lone_string_is_at_the_root() -> None:
    _, [fault] = substitute("${NO}", {})
    assert fault.message == 'missing env var "NO" referenced at <root>'
