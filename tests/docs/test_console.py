"""How the examples are read."""

from __future__ import annotations

import pytest

from tests.docs.blocks import find_blocks
from tests.docs.console import commands_in, matches


def test_commands_have_their_output_and_go_on_behind_a_backslash() -> None:
    first, second = commands_in("$ one \\\n    more\nsaid\n# two\n")
    assert (first.words, first.output, first.root) == (
        "one \\\n    more",
        "said\n",
        False,
    )
    assert (second.words, second.output, second.root) == ("two", "", True)


@pytest.mark.parametrize(
    ("wanted", "got", "same"),
    [
        ("", "", True),
        ("", "unforeseen", False),
        ("...", "", True),
        ("hello\n", "hello\n", True),
        ("a...c", "a\nb\nc\n", True),
        ("a...c", "a b", False),
        ("a", "ab", False),
        ("(a)", "a", False),
    ],
)
def test_three_dots_stand_for_anything(wanted: str, got: str, same: bool) -> None:
    assert matches(wanted, got) == same


def test_blocks_have_their_mark_and_no_options() -> None:
    source = (
        "Text:\n\n.. example: not run, for a good reason\n.. code-block:: sh\n"
        "   :caption: x\n\n   one\n\n     two\n\nText.\n"
    )
    (block,) = find_blocks("page.rst", source)
    assert (block.language, block.text) == ("sh", "one\n\n  two\n")
    assert (block.place, block.is_run) == ("page.rst:4", False)
