"""How long a provider is left alone, and what is remembered of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from moltbot_gw.agents.cooldowns import COOLING, CooldownPolicy
from moltbot_gw.agents.providerhealth import (
    LastFailure,
    ProviderHealth,
    ProviderState,
    Rest,
)
from moltbot_gw.config import ConfigError, Cooldowns
from moltbot_gw.errors import FailureReason, ProviderFailed
from tests.config.support import load

HOUR = 3600.0
START = 1_700_000_000


class Ward:
    """The health of ``p`` and ``q`` on a fake clock."""

    def __init__(self, **policy: Any) -> None:
        self.clock = Clock()
        self.health = ProviderHealth(
            providers=["q", "p"],
            policy=CooldownPolicy(**policy),
            clock=self.clock,
            unix_time=lambda: START + self.clock.seconds(),
        )

    def fail(
        self,
        reason: FailureReason = "server_error",
        *,
        retry_after: int | None = None,
        attempt: int | None = None,
    ) -> float:
        """Let an attempt at ``p`` fail; return how long it is left alone."""
        number = self.health.begin() if attempt is None else attempt
        error = ProviderFailed("It broke.", reason=reason, retry_after=retry_after)
        self.health.failed("p", "p/m", number, error)
        return self.rest

    def succeed(self, attempt: int | None = None) -> None:
        self.health.succeeded("p", self.health.begin() if attempt is None else attempt)

    def wait_out(self) -> None:
        self.clock.advance(self.rest)
        assert self.rest == 0.0

    @property
    def rest(self) -> float:
        rest = self.health.resting("p")
        return 0.0 if rest is None else rest.seconds

    @property
    def state(self) -> ProviderState:
        return self.health.states()[0]


def rests(ward: Ward, reason: FailureReason, times: int) -> list[float]:
    """Return the rests after *times* failures, each after the rest before."""
    found = []
    for _ in range(times):
        found.append(ward.fail(reason))
        ward.wait_out()
    return found


@pytest.mark.parametrize("reason", sorted(COOLING - {"billing"}))
def test_the_rest_grows_to_an_hour(reason: FailureReason) -> None:
    assert rests(Ward(), reason, 6) == [60, 300, 1500, 3600, 3600, 3600]


@pytest.mark.parametrize(
    ("policy", "hours"),
    [
        ({}, [5, 10, 20, 24, 24]),
        ({"billing": HOUR, "billing_max": 3 * HOUR}, [1, 2, 3, 3, 3]),
        ({"billing_by_provider": {"p": 2 * HOUR}}, [2, 4, 8, 16, 24]),
        ({"billing_by_provider": {"q": 2 * HOUR}}, [5, 10, 20, 24, 24]),
        ({"billing": 9 * HOUR, "billing_max": 8 * HOUR}, [8, 8, 8, 8, 8]),
    ],
)
def test_an_empty_account_rests_longer(
    policy: dict[str, Any], hours: list[float]
) -> None:
    ward = Ward(**policy)
    assert rests(ward, "billing", 5) == [each * HOUR for each in hours]


@pytest.mark.parametrize(
    "reason", ["format", "model_not_found", "context_overflow", "other"]
)
def test_a_fault_of_the_request_makes_no_rest(reason: FailureReason) -> None:
    ward = Ward()
    assert ward.fail(reason, retry_after=9) == 0.0
    assert ward.fail() == 60
    assert ward.state.failures == {reason: 1, "server_error": 1}


@pytest.mark.parametrize(("asked", "rest"), [(5, 60), (60, 60), (90, 90), (7200, 7200)])
def test_the_provider_may_ask_for_more_time(asked: int, rest: float) -> None:
    assert Ward().fail("rate_limit", retry_after=asked) == rest


def test_a_short_failure_does_not_shorten_a_long_rest() -> None:
    ward = Ward()
    ward.fail("billing")
    assert ward.fail("server_error") == 5 * HOUR
    assert ward.health.resting("p") == Rest(seconds=5 * HOUR, reason="billing")
    assert ward.state.last_failure is not None
    assert ward.state.last_failure.reason == "server_error"


def test_a_success_ends_the_rest_and_the_count() -> None:
    ward = Ward()
    rests(ward, "server_error", 2)
    ward.fail("billing")
    ward.succeed()
    assert ward.rest == 0.0
    assert ward.fail() == 60
    ward.succeed()
    assert ward.fail("billing") == 5 * HOUR


def test_a_day_without_failure_is_a_new_count() -> None:
    ward = Ward()
    rests(ward, "server_error", 2)
    ward.clock.advance(24 * HOUR - 300)
    assert ward.fail() == 1500
    ward.clock.advance(24 * HOUR + 1)
    assert ward.fail() == 60


def test_runs_that_fail_together_are_one_step() -> None:
    ward = Ward()
    attempts = [ward.health.begin() for _ in range(10)]
    assert {ward.fail(attempt=attempt) for attempt in attempts} == {60}
    assert ward.state.failures == {"server_error": 10}
    ward.wait_out()
    assert ward.fail() == 300


def test_a_later_failure_of_one_outage_may_ask_for_more_time() -> None:
    ward = Ward()
    first, second = ward.health.begin(), ward.health.begin()
    ward.fail("rate_limit", attempt=first)
    assert ward.fail("rate_limit", attempt=second, retry_after=100) == 100


def test_an_answer_from_before_an_outage_does_not_end_it() -> None:
    ward = Ward()
    slow = ward.health.begin()
    ward.fail()
    ward.succeed(slow)
    assert ward.rest == 60
    assert ward.state.successes == 1


def test_other_providers_do_not_rest() -> None:
    ward = Ward()
    ward.fail()
    assert ward.health.resting("q") is None


def test_what_is_told_of_a_provider() -> None:
    ward = Ward()
    ward.succeed()
    ward.clock.advance(10)
    ward.fail("rate_limit", retry_after=90)
    ward.fail("auth")
    now_ms = (START + 10) * 1000
    assert ward.health.states() == [
        ProviderState(
            provider="p",
            successes=1,
            failures={"rate_limit": 1, "auth": 1},
            last_success_ms=START * 1000,
            last_failure=LastFailure(
                at_ms=now_ms, model="p/m", reason="auth", message="It broke."
            ),
            cooldown_until_ms=now_ms + 300_000,
            cooldown_reason="auth",
        ),
        ProviderState(
            provider="q",
            successes=0,
            failures={},
            last_success_ms=None,
            last_failure=None,
            cooldown_until_ms=None,
            cooldown_reason=None,
        ),
    ]
    ward.wait_out()
    assert (ward.state.cooldown_until_ms, ward.state.cooldown_reason) == (None, None)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["rate_limit", "billing", "format", "ok", "wait"]),
            st.integers(0, 90_000),
        ),
        max_size=60,
    )
)
def test_no_rest_is_longer_than_its_bounds(steps: list[tuple[Any, int]]) -> None:
    ward = Ward()
    for what, number in steps:
        if what == "ok":
            ward.succeed()
        elif what == "wait":
            ward.clock.advance(number)
        else:
            asked = min(number, 86_400) or None
            before, rest = ward.rest, ward.fail(what, retry_after=asked)
            assert rest >= before
            assert rest >= (0 if what == "format" else asked or 0)
        assert ward.rest <= 24 * HOUR


# -- the configuration


def policy_of(folder: Path, **cooldowns: Any) -> CooldownPolicy:
    auth = load(folder, {"auth": {"cooldowns": cooldowns}}).config.auth
    assert auth is not None
    return CooldownPolicy.from_config(auth.cooldowns)


def test_the_configuration_sets_the_policy(tmp_path: Path) -> None:
    assert CooldownPolicy.from_config(Cooldowns()) == CooldownPolicy()
    assert policy_of(tmp_path) == CooldownPolicy()
    assert policy_of(
        tmp_path,
        billingBackoffHours=1,
        billingBackoffHoursByProvider={"OpenAI": 0.5},
        billingMaxHours=2,
        failureWindowHours=3,
    ) == CooldownPolicy(
        billing=HOUR,
        billing_by_provider={"openai": HOUR / 2},
        billing_max=2 * HOUR,
        window=3 * HOUR,
    )


@pytest.mark.parametrize(
    "cooldowns",
    [
        {"billingBackoffHours": 0},
        {"billingMaxHours": -1},
        {"failureWindowHours": "1d"},
        {"billingMaxHours": 1e300},
        {"billingBackoffHoursByProvider": {"p": 0}},
        {"billingHours": 1},
    ],
)
def test_bad_cooldowns_are_refused(tmp_path: Path, cooldowns: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"auth\.cooldowns"):
        policy_of(tmp_path, **cooldowns)


# -- another configuration


def test_kept_provider_is_known_on_both_sides_of_a_reload() -> None:
    ward = Ward()
    ward.fail("rate_limit")
    attempt = ward.health.begin()
    after = ProviderHealth(
        providers=["p", "q"],
        policy=CooldownPolicy(),
        clock=ward.clock,
        unix_time=lambda: START + ward.clock.seconds(),
        before=ward.health,
        kept=["p"],
    )
    assert after.resting("p") is not None
    ward.health.succeeded("p", attempt)  # of a run that goes by what was before
    assert after.resting("p") is None
    assert after.begin() > attempt


def test_provider_that_is_another_now_begins_afresh() -> None:
    ward = Ward()
    ward.fail("rate_limit")
    after = ProviderHealth(
        providers=["p"],
        policy=CooldownPolicy(),
        clock=ward.clock,
        unix_time=lambda: START,
        before=ward.health,
    )
    assert after.resting("p") is None
