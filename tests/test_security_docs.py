"""Each promise of docs/security.rst names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "security.rst").read_text()

# A test's name is long: its file stands on one line of the table, it on the next.
_NAMED = re.compile(r"``(tests/\S+\.py)::``\n[^\n]*?``(test_\w+)``")
NAMED = _NAMED.findall(DOCUMENT)


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in tree.body if isinstance(node, kinds)}


def test_every_row_names_one() -> None:
    assert len(NAMED) == len(re.findall(r"``tests/\S+::``", DOCUMENT))
    assert len(NAMED) > 60
