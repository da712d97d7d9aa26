from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.logs.scrub import MASK, MAX_SECRET_CHARS, Scrubber, escape

SECRET = 's3cret/with+odd "signs" \\ \n\u20ac'
PLAIN = "correct-horse-battery"


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        quote(SECRET, safe=""),
        repr(SECRET),
        escape(SECRET),
    ],
)
def test_a_known_secret_is_masked_however_it_is_spelled(spelled: str) -> None:
    said = Scrubber([SECRET]).mask(f"before {spelled} after")
    assert said.startswith("before ")
    assert said.endswith(" after")
    assert MASK in said
    assert "s3cret" not in said


def test_a_secret_that_begins_another_leaves_none_of_it() -> None:
    assert Scrubber(["abcdefgh", "abcdefghij"]).mask("abcdefghij") == MASK


@given(st.text(), st.text(), st.integers(0, 60))
def test_no_cut_leaves_a_secret(before: str, after: str, max_chars: int) -> None:
    said = Scrubber([PLAIN]).clean(before + PLAIN + after, max_chars)
    assert PLAIN[:4] not in said.replace(escape(before)[:4], "").replace(
        escape(after)[:4], ""
    )


def test_a_secret_at_the_edge_of_what_is_read_is_not_shown_by_halves() -> None:
    filler = f"{PLAIN} " * 500
    room = 1000 + MAX_SECRET_CHARS
    text = filler + "x" * (room - len(filler) - 10) + PLAIN + "tail"
    said = Scrubber([PLAIN]).clean(text, 1000)
    assert "correct" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("Basic dXNlcjpwYXNzd29yZA==", "Basic ***"),
        ("key sk-live_0123456789abcdef!", "key ***!"),
        ("ghp_0123456789abcdef", "***"),
        ("GITHUB_PAT_0123456789abcdef", "***"),
        ("AKIA0123456789abcdef", "***"),
        ("api-key:\t0123456789", "api-key:\t***"),
        ('\\"token\\":\\"0123456789\\"', '\\"token\\":\\"***\\"'),
        ("Token = 0123456789", "Token = ***"),
        ("Cookie: a=0123456789", "Cookie: ***"),
        ("client_secret='0123456789'", "client_secret='***'"),
        ("AIzaSy0123456789abcdef", "***"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "***"),
        ('{"api_key": "0123456789"}', '{"api_key": "***"}'),
        ("?token=0123456789&a=b", "?token=***&a=b"),
        ("password=0123456789", "password=***"),
        ("http://me:0123456789@host/", "http://me:***@host/"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----.", "***."),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc", "***"),
    ],
)
def test_what_looks_like_a_secret_is_masked_unless_it_is_switched_off(
    text: str, said: str
) -> None:
    assert Scrubber([]).mask(text) == said
    assert Scrubber([], [re.compile("a")], likely=False).mask(text) == text


@pytest.mark.parametrize(
    "prefix",
    [
        *("sk", "pk", "rk", "xai", "gsk", "ghp", "gho", "ghu", "ghs", "ghr", "glpat"),
        *("xoxa", "xoxb", "xoxe", "xoxp", "xoxr", "xoxs", "npm", "pplx", "hf", "key"),
        "github_pat",
    ],
)
def test_a_key_of_each_vendor_is_masked(prefix: str) -> None:
    for joint in "-_":
        text = f"it was {prefix}{joint}0123456789AB, they said"
        assert Scrubber([]).mask(text) == "it was ***, they said"


@pytest.mark.parametrize(
    "text",
    [
        "POST x 200 1 ms request=4f3a-1 run=chatcmpl_0b6c prompt_tokens=12",
        "the token is short: use a longer one",
        "gateway auth mode is token, but no token was configured",
        "listening on http://127.0.0.1:18789",
        "session=0123456789 outcome=done",
    ],
)
def test_our_own_lines_stay_as_they_are(text: str) -> None:
    assert Scrubber([]).mask(text) == text


def test_patterns_of_the_operator_mask_their_groups_or_all() -> None:
    patterns = [re.compile("card-[0-9]+"), re.compile("(a)=((b)c)(d)?")]
    said = Scrubber([], patterns).mask("card-12 x a=bc y")
    assert said == "*** x ***=*** y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain \u20ac and \U0001f600", "plain \u20ac and \U0001f600"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x1b]0;title\x07 \x9b31m", r"\x1b]0;title\x07 \x9b31m"),
        ("\u202eevil\u2066 \u2028 \ufeff", r"\u202eevil\u2066 \u2028 \ufeff"),
        ("\ud800 \U000e0041", r"\ud800 \U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, said: str) -> None:
    assert escape(text) == said


@given(st.text(st.characters()))
def test_whatever_comes_is_one_visible_line(text: str) -> None:
    assert Scrubber([]).clean(text, 10_000).isprintable()
