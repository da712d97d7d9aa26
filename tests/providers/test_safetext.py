from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.providers.safetext import MAX_CHARS, safe_text

SECRET = "very/secret+value"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("The model is busy.", "The model is busy."),
        ("\n\nfirst\nsecond", "first"),
        ("a\tb\x00c  d\x1b[31m", "a b c d [31m"),
        ("a\u2028b", "a"),
        (f"key {SECRET} is bad: {SECRET}", "key *** is bad: ***"),
        ("Incorrect API key: sk-abcdefghijklmnop1234.", "Incorrect API key: ***."),
        ("sk-proj-****************abcd", "***"),
        ("AIzaSyA1234567890abcdef", "***"),
        ("gsk_abcdefghijklmnop", "***"),
        ("Authorization: Bearer abc.def.ghi!", "Authorization: ***"),
        ("no sk-short here", "no sk-short here"),
        ("cannot open /home/u/.config/x.json now", "cannot open [path] now"),
        ("error:/home/u/app.py", "error:[path]"),
        ("in file:///home/u/app.py:3", "in [path]:3"),
        ("see ~/models/llama.gguf", "see [path]"),
        (r"see C:\Users\eve\x.txt", "see [path]"),
        ('File "/usr/lib/x.py", line 3', 'File "[path]", line 3'),
        (
            "see https://example.com/docs/errors for more",
            "see https://example.com/docs/errors for more",
        ),
        ("POST /chat failed", "POST /chat failed"),
        ("and/or", "and/or"),
    ],
)
def test_message_is_made_fit_for_a_stranger(text: str, shown: str) -> None:
    assert safe_text(text, [SECRET, ""]) == shown


def test_long_message_is_cut() -> None:
    assert safe_text("é" * 1000, []) == "é" * MAX_CHARS


def test_secret_is_gone_even_where_the_message_is_cut() -> None:
    text = "x " * (MAX_CHARS // 2 - 3) + SECRET
    assert SECRET[:4] not in safe_text(text, [SECRET])


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text(max_size=10), st.text(max_size=10))
def test_any_message_gives_one_short_printable_line(
    text: str, before: str, after: str
) -> None:
    shown = safe_text(before + SECRET + after + text, [SECRET])
    assert shown == "" or shown.isprintable()
    assert len(shown) <= MAX_CHARS
    assert SECRET not in shown
