from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from moltbot_gw.auth import (
    MIN_SECRET_CHARS,
    AuthLimiter,
    SharedSecret,
    bearer_of,
    find_weakness,
)
from moltbot_gw.errors import TooManyFailures

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


# -- AuthLimiter

HERE, THERE = "203.0.113.9", "203.0.113.10"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> AuthLimiter:
    return AuthLimiter(clock, 3)


def wait_of(limiter: AuthLimiter, address: str = HERE) -> int:
    """Return how long *address* must wait, 0 if it need not."""
    try:
        limiter.check(address)
    except TooManyFailures as error:
        return error.retry_after or 0
    return 0


def test_so_many_failures_are_allowed(limiter: AuthLimiter) -> None:
    for _ in range(3):
        assert wait_of(limiter) == 0
        limiter.failed(HERE)
    assert wait_of(limiter) == 60
    with pytest.raises(TooManyFailures, match="wait 60 seconds"):
        limiter.check(HERE)


def test_addresses_are_counted_apart(limiter: AuthLimiter) -> None:
    for _ in range(3):
        limiter.failed(HERE)
    limiter.failed(THERE)
    assert wait_of(limiter, HERE) == 60
    assert wait_of(limiter, THERE) == 0


def test_the_window_slides(clock: Clock, limiter: AuthLimiter) -> None:
    for _ in range(3):
        limiter.failed(HERE)
        clock.advance(10)
    assert wait_of(limiter) == 30  # until the first failure is a minute old
    clock.advance(29.5)
    assert wait_of(limiter) == 1
    clock.advance(0.5)
    assert wait_of(limiter) == 0
    limiter.failed(HERE)
    assert wait_of(limiter) == 10  # until the second is


def test_what_is_old_is_forgotten(clock: Clock, limiter: AuthLimiter) -> None:
    assert limiter.is_idle
    limiter.failed(HERE)
    clock.advance(30)
    limiter.failed(THERE)
    assert not limiter.is_idle
    clock.advance(30)
    assert wait_of(limiter) == 0
    assert not limiter.is_idle
    clock.advance(30)
    assert wait_of(limiter) == 0
    assert limiter.is_idle


def test_no_more_addresses_are_kept_than_there_may_be(limiter: AuthLimiter) -> None:
    for _ in range(3):
        limiter.failed(HERE)
        limiter.failed(THERE)
    for number in range(limiter.MOST_ADDRESSES - 1):
        limiter.failed(f"address {number}")
    assert wait_of(limiter, HERE) == 0
    assert wait_of(limiter, THERE) == 60
    limiter.failed("one more")
    assert wait_of(limiter, THERE) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 25.0, 59.0]), st.booleans())))
def test_never_more_than_so_many_in_a_window(steps: list[tuple[float, bool]]) -> None:
    clock = Clock()
    limiter = AuthLimiter(clock, 3)
    failures: list[float] = []
    for seconds, is_here in steps:
        clock.advance(seconds)
        now = clock.seconds()
        recent = [time for time in failures if time > now - limiter.WINDOW]
        assert (wait_of(limiter) > 0) is (len(recent) >= 3)
        if is_here and not wait_of(limiter):
            limiter.failed(HERE)
            failures.append(now)
        elif not is_here:
            limiter.failed(THERE)


def test_other_limit_counts_for_what_has_happened(clock: Clock) -> None:
    limiter = AuthLimiter(clock, 3)
    for _ in range(2):
        limiter.failed("a")
    limiter.allow(2)
    with pytest.raises(TooManyFailures):
        limiter.check("a")
    limiter.allow(3)
    limiter.check("a")
