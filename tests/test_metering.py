"""Limits of named keys, on a clock that tests move."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from moltbot_gw.metering import Meters, RateLimited, spell_wait
from moltbot_gw.principals import OWNER, Limits, Principal

CI = Principal(name="ci", scopes=frozenset())
OTHER = Principal(name="other", scopes=frozenset())


class Desk:
    """Meters whose limits a test sets."""

    def __init__(self, **limits: int) -> None:
        self.clock = Clock()
        self.limits = Limits(**limits)
        self.meters = Meters(self.clock, lambda _: self.limits)

    def take(self, principal: Principal = CI) -> dict[str, str]:
        return dict(self.meters.take(principal))

    def refusal(self, principal: Principal = CI) -> RateLimited:
        with pytest.raises(RateLimited) as caught:
            self.meters.take(principal)
        return caught.value


def test_so_many_requests_a_minute() -> None:
    desk = Desk(requests_per_minute=3)
    left = [desk.take()["x-ratelimit-remaining-requests"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    refusal = desk.refusal()
    assert (refusal.status, refusal.code) == (429, "rate_limit_exceeded")
    assert refusal.retry_after == 20
    assert dict(refusal.headers) == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }
    desk.clock.advance(19.9)
    assert desk.refusal().retry_after == 1
    desk.clock.advance(0.1)
    desk.take()
    desk.refusal()


def test_a_refused_request_costs_nothing() -> None:
    desk = Desk(requests_per_minute=1)
    desk.take()
    for _ in range(10):
        desk.refusal()
    desk.clock.advance(60)
    desk.take()


def test_no_more_than_a_minute_is_saved_up() -> None:
    desk = Desk(requests_per_minute=2)
    desk.take()
    desk.clock.advance(3600)
    desk.take()
    desk.take()
    desk.refusal()


def test_keys_are_counted_apart_and_the_owner_not_at_all() -> None:
    desk = Desk(requests_per_minute=1)
    desk.take()
    desk.take(OTHER)
    desk.refusal()
    assert [desk.take(OWNER) for _ in range(5)] == [{}] * 5


def test_tokens_are_paid_afterwards() -> None:
    desk = Desk(tokens_per_minute=600)
    assert desk.take()["x-ratelimit-remaining-tokens"] == "600"
    desk.meters.begin(CI).end(900)
    refusal = desk.refusal()
    assert refusal.retry_after == 31  # 300 of debt and one, ten a second
    assert dict(refusal.headers)["x-ratelimit-remaining-tokens"] == "0"
    assert dict(refusal.headers)["x-ratelimit-reset-tokens"] == "1m30s"
    desk.clock.advance(30)
    assert desk.refusal().retry_after == 1
    desk.clock.advance(1)
    assert desk.take()["x-ratelimit-remaining-tokens"] == "10"


def test_who_has_no_tokens_loses_no_request() -> None:
    desk = Desk(tokens_per_minute=60, requests_per_minute=1)
    desk.meters.begin(CI).end(61)
    desk.refusal()
    desk.clock.advance(2)
    desk.take()


def test_so_many_runs_at_once() -> None:
    desk = Desk(max_concurrent_runs=2)
    assert desk.take() == {}
    first, _ = desk.meters.begin(CI), desk.meters.begin(CI)
    with pytest.raises(RateLimited, match="2 runs at the same time") as caught:
        desk.meters.begin(CI)
    assert caught.value.retry_after == 5
    desk.meters.begin(OTHER)
    desk.meters.begin(OWNER).end(7)
    first.end(0)
    desk.meters.begin(CI)


def test_a_nested_run_is_let_in_and_pays() -> None:
    desk = Desk(max_concurrent_runs=1, tokens_per_minute=60)
    outer = desk.meters.begin(CI)
    nested = desk.meters.begin(CI, nested=True)
    nested.end(100)
    desk.refusal()
    outer.end(0)
    desk.meters.begin(CI)


def test_limits_change_while_runs_go_on() -> None:
    desk = Desk(max_concurrent_runs=1, requests_per_minute=1)
    run = desk.meters.begin(CI)
    desk.take()
    desk.limits = Limits(max_concurrent_runs=2, requests_per_minute=5)
    assert desk.take()["x-ratelimit-remaining-requests"] == "4"
    desk.meters.begin(CI)
    with pytest.raises(RateLimited):
        desk.meters.begin(CI)
    run.end(0)
    desk.meters.begin(CI)


def test_a_key_that_is_gone_is_forgotten() -> None:
    desk = Desk(max_concurrent_runs=1, requests_per_minute=1)
    run = desk.meters.begin(CI)
    desk.take()
    desk.meters.forget({"ci", "unknown"})
    desk.take()
    again = desk.meters.begin(CI)
    run.end(5)
    with pytest.raises(RateLimited):
        desk.meters.begin(CI)
    again.end(0)


def test_without_limits_nothing_is_kept() -> None:
    desk = Desk()
    assert desk.take() == {}
    desk.meters.begin(CI).end(10**9)
    desk.limits = Limits(tokens_per_minute=1)
    desk.take()


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.02, "20ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9999, "1m0s"),
        (60, "1m0s"),
        (366.25, "6m6.25s"),
    ],
)
def test_times_are_spelled_as_openai_does(seconds: float, spelled: str) -> None:
    assert spell_wait(seconds) == spelled


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_never_more_than_twice_a_minutes_worth_in_a_minute(
    waits: list[float], limit: int
) -> None:
    desk = Desk(requests_per_minute=limit)
    taken: list[float] = []
    for wait in waits:
        desk.clock.advance(wait)
        with suppress(RateLimited):
            desk.take()
            taken.append(desk.clock.seconds())
        recent = [at for at in taken if at > desk.clock.seconds() - 60]
        assert len(recent) <= 2 * limit
