from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.auth import MIN_SECRET_CHARS, SharedSecret, bearer_of, find_weakness

SECRET = "correct horse Grüße"


def test_only_the_secret_itself_matches() -> None:
    secret = SharedSecret(SECRET)
    assert secret.matches(SECRET.encode())
    assert not secret.matches(SECRET.encode()[:-1])
    assert not secret.matches(SECRET.encode() + b" ")


@pytest.mark.parametrize("presented", [None, b"", b"\xff\x00", b"x" * 100_000])
def test_nothing_else_matches_or_fails(presented: bytes | None) -> None:
    assert not SharedSecret(SECRET).matches(presented)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_of_a_stranger_make_it_fail(presented: bytes) -> None:
    assert SharedSecret(SECRET).matches(presented) is (presented == SECRET.encode())


def test_nobody_is_let_in_by_saying_nothing() -> None:
    assert not SharedSecret("").matches(None)


def test_secret_does_not_show_itself() -> None:
    assert SECRET not in repr(vars(SharedSecret(SECRET)))


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer abc", b"abc"),
        (b"bearer abc", b"abc"),
        (b"BEARER   abc ", b"abc"),
        (b"  Bearer abc", b"abc"),
        (b"Bearer a b", b"a b"),
        (b"Bearer Gr\xc3\xbc", b"Gr\xc3\xbc"),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"Basic abc", None),
        (b"Bearerabc", None),
        (b"abc", None),
        (b"", None),
    ],
)
def test_bearer_token_is_found(value: bytes, token: bytes | None) -> None:
    assert bearer_of([value]) == token


@pytest.mark.parametrize(
    "values", [[], [b"Bearer a", b"Bearer a"], [b"Bearer a", b"x"]]
)
def test_there_must_be_exactly_one_header(values: list[bytes]) -> None:
    assert bearer_of(values) is None


@pytest.mark.parametrize(
    "secret",
    [
        "changeme",
        " Secret ",
        "undefined",
        "null",
        "REPLACE_WITH_A_LONG_TOKEN",
        "your-token-goes-right-here",
        "<paste your token here>",
        "change-me-please-change-me",
        "xxxxxxxxxxxxxxxxxxxxxxxx",
    ],
)
def test_placeholder_is_weak(secret: str) -> None:
    assert find_weakness(secret) == "is a placeholder"


def test_short_secret_is_weak() -> None:
    assert find_weakness("k" * (MIN_SECRET_CHARS - 1)) == (
        "is shorter than 16 characters"
    )


@pytest.mark.parametrize("secret", ["k" * MIN_SECRET_CHARS, "0f" * 32])
def test_long_secret_is_not_weak(secret: str) -> None:
    assert find_weakness(secret) is None
