"""The order in which models are tried, and how a run learns that none is left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from zope.interface import implementer

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.cooldowns import CooldownPolicy
from moltbot_gw.agents.failover import (
    FAILOVER,
    MAX_CANDIDATES,
    Candidate,
    Failover,
    find_candidates,
)
from moltbot_gw.agents.providerhealth import ProviderHealth
from moltbot_gw.agents.roster import build_roster
from moltbot_gw.errors import (
    AllModelsFailed,
    AllModelsLimited,
    AllModelsTimedOut,
    ContextOverflow,
    FailureReason,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    ProviderUnauthorized,
    RunAborted,
    RunTimedOut,
)
from moltbot_gw.events import AttemptFailed, Completion, ModelEvent
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.messages import ModelRequest, UserMessage
from tests.agents.support import failed, succeeded
from tests.config.support import load
from tests.support.scripted_provider import Call, ScriptedProvider


@implementer(IRunSink)
class Sink:
    """Knows only whether anything was said."""

    def __init__(self) -> None:
        self.spoken = False

    def extend(self, events: Iterable[ModelEvent]) -> None:
        self.spoken = True

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Never pauses it."""

    def unregisterProducer(self) -> None:
        """Forgets nothing."""


class House:
    """Providers ``a``, ``b`` and ``c``, and the runs that ask for their models."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.providers = {name: ScriptedProvider() for name in "abc"}
        self.health = ProviderHealth(
            providers=self.providers,
            policy=CooldownPolicy(),
            clock=self.clock,
            unix_time=lambda: 1000.0 + self.clock.seconds(),
        )
        self.failover = Failover(self.health)
        self.told: list[AttemptFailed] = []
        self.sink = Sink()

    def start(self, *models: str) -> Deferred[tuple[Completion, ModelRef]]:
        """Start a run that may use *models*, such as ``a/m1``."""
        candidates = [
            Candidate(ModelRef(provider, name), self.providers[provider])
            for provider, name in (model.split("/") for model in models)
        ]
        self.sink = sink = Sink()

        def attempt(model: ModelRef, provider: IModelProvider) -> Deferred[Completion]:
            request = ModelRequest(
                model=model.model, system="", messages=(UserMessage("hi"),)
            )
            return provider.stream(request, sink)

        return Deferred.fromCoroutine(
            self.failover.call(
                candidates,
                attempt,
                spoken=lambda: sink.spoken,
                run_id="run-1",
                told=self.told.append,
            )
        )

    def call(self, model: str) -> Call:
        """Return the last call of *model*'s provider; it must be for *model*."""
        provider, name = model.split("/")
        last = self.providers[provider].calls[-1]
        assert last.request.model == name
        return last

    @property
    def calls(self) -> int:
        return sum(len(provider.calls) for provider in self.providers.values())


@pytest.fixture
def house() -> House:
    return House()


def broken(reason: FailureReason = "server_error", **more: Any) -> ProviderFailed:
    return ProviderFailed(f"It broke: {reason}.", reason=reason, **more)


def limited(retry_after: int | None = None) -> ProviderFailed:
    return ProviderOverloaded("Later.", reason="rate_limit", retry_after=retry_after)


# -- the order


def test_the_first_model_that_answers_is_the_one(house: House) -> None:
    waiting = house.start("a/m", "b/m")
    house.call("a/m").finish()
    completion, model = succeeded(waiting)
    assert (completion.finish_reason, str(model)) == ("stop", "a/m")
    assert (house.calls, house.told) == (1, [])


def test_models_are_tried_in_turn(house: House) -> None:
    waiting = house.start("a/m", "b/m", "c/m")
    house.call("a/m").fail(broken())
    assert house.calls == 2
    house.call("b/m").fail(limited(7))
    house.call("c/m").finish()
    assert str(succeeded(waiting)[1]) == "c/m"
    assert house.told == [
        AttemptFailed(
            model="a/m",
            reason="server_error",
            message="It broke: server_error.",
            next_model="b/m",
        ),
        AttemptFailed(
            model="b/m",
            reason="rate_limit",
            message="Later.",
            retry_after=7,
            next_model="c/m",
        ),
    ]


@pytest.mark.parametrize("reason", sorted(FAILOVER))
def test_what_another_model_may_do_better(house: House, reason: FailureReason) -> None:
    house.start("a/m", "b/m").addErrback(lambda _: None)
    house.call("a/m").fail(broken(reason))
    assert house.told[0].next_model == "b/m"
    assert house.calls == 2


@pytest.mark.parametrize("error", [broken("other"), ContextOverflow("Too long.")])
def test_what_no_other_model_does_better(house: House, error: ProviderFailed) -> None:
    waiting = house.start("a/m", "b/m")
    house.call("a/m").fail(error)
    assert failed(waiting) is error
    assert house.calls == 1
    assert house.told[0].next_model is None


@pytest.mark.parametrize(
    "error", [RunAborted("stop"), RunTimedOut("late"), ZeroDivisionError()]
)
def test_an_end_of_the_run_is_no_failure_of_its_model(
    house: House, error: Exception
) -> None:
    waiting = house.start("a/m", "b/m")
    house.call("a/m").fail(error)
    assert failed(waiting) is error
    assert (house.calls, house.told) == (1, [])
    assert house.health.states()[0].failures == {}


def test_cancelling_closes_the_call_and_tries_no_other(house: House) -> None:
    waiting = house.start("a/m", "b/m")
    waiting.cancel()
    assert isinstance(failed(waiting), CancelledError)
    assert house.call("a/m").cancelled
    assert house.calls == 1
    assert house.health.states()[0].failures == {}


def test_no_other_model_goes_on_with_half_an_answer(house: House) -> None:
    waiting = house.start("a/m", "b/m")
    house.call("a/m").say("Once upon")
    error = broken()
    house.call("a/m").fail(error)
    assert failed(waiting) is error
    assert house.calls == 1
    assert house.told[0].next_model is None


def test_words_of_the_second_model_count_too(house: House) -> None:
    waiting = house.start("a/m", "b/m", "c/m")
    house.call("a/m").fail(broken())
    house.call("b/m").say("Once upon")
    error = broken()
    house.call("b/m").fail(error)
    assert failed(waiting) is error
    assert house.calls == 2


@pytest.mark.parametrize("reason", ["auth", "billing", "unreachable"])
def test_a_provider_that_takes_nothing_is_not_asked_for_its_other_models(
    house: House, reason: FailureReason
) -> None:
    waiting = house.start("a/m1", "a/m2", "b/m")
    house.call("a/m1").fail(broken(reason))
    house.call("b/m").finish()
    assert str(succeeded(waiting)[1]) == "b/m"


@pytest.mark.parametrize("reason", ["rate_limit", "overloaded", "server_error"])
def test_a_providers_other_models_come_after_those_of_others(
    house: House, reason: FailureReason
) -> None:
    waiting = house.start("a/m1", "a/m2", "b/m")
    house.call("a/m1").fail(broken(reason))
    house.call("b/m").fail(broken())
    house.call("a/m2").finish()
    assert str(succeeded(waiting)[1]) == "a/m2"


@pytest.mark.parametrize("reason", ["model_not_found", "format"])
def test_a_fault_of_one_model_leaves_the_order(
    house: House, reason: FailureReason
) -> None:
    waiting = house.start("a/m1", "a/m2", "b/m")
    house.call("a/m1").fail(broken(reason))
    house.call("a/m2").finish()
    assert str(succeeded(waiting)[1]) == "a/m2"
    assert house.health.resting("a") is None


# -- cooldowns


def fail_alone(house: House, model: str, error: ProviderFailed) -> None:
    waiting = house.start(model)
    house.call(model).fail(error)
    assert failed(waiting) is error


def test_a_resting_provider_is_passed_over(house: House) -> None:
    fail_alone(house, "a/m", broken())
    waiting = house.start("a/m", "b/m")
    house.call("b/m").finish()
    assert str(succeeded(waiting)[1]) == "b/m"
    house.clock.advance(60)
    house.start("a/m", "b/m").addErrback(lambda _: None)
    assert len(house.providers["a"].calls) == 2


def test_a_resting_provider_is_the_last_resort(house: House) -> None:
    fail_alone(house, "a/m", broken())
    waiting = house.start("a/m", "b/m")
    house.call("b/m").fail(broken())
    house.call("a/m").finish()
    assert str(succeeded(waiting)[1]) == "a/m"


def test_the_only_model_is_asked_though_it_should_rest(house: House) -> None:
    fail_alone(house, "a/m", broken())
    waiting = house.start("a/m")
    house.call("a/m").finish()
    assert str(succeeded(waiting)[1]) == "a/m"
    assert house.health.resting("a") is None


def test_of_resting_providers_the_soonest_is_asked(house: House) -> None:
    fail_alone(house, "a/m", broken("billing"))
    fail_alone(house, "b/m", limited(90))
    fail_alone(house, "c/m", broken())
    waiting = house.start("a/m", "b/m", "c/m")
    assert house.calls == 4
    house.call("c/m").fail(broken())
    error = failed(waiting)
    assert house.calls == 4
    assert isinstance(error, AllModelsFailed)
    assert error.message == (
        "All models failed (3): c/m: It broke: server_error. (server_error)"
        " | b/m: not asked for 90 s more, as it failed before (rate_limit)"
        " | a/m: not asked for 18000 s more, as it failed before (billing)"
    )


# -- when none is left


def test_the_error_of_a_single_model_is_told_as_it_is(house: House) -> None:
    fail_alone(house, "a/m", limited(3))


def test_one_model_of_a_provider_that_takes_nothing_is_told_as_it_is(
    house: House,
) -> None:
    waiting = house.start("a/m1", "a/m2")
    error = ProviderUnauthorized("No.")
    house.call("a/m1").fail(error)
    assert failed(waiting) is error


def fail_all(house: House, *errors: ProviderFailed) -> AllModelsFailed:
    models = [f"{name}/m" for name in "abc"[: len(errors)]]
    waiting = house.start(*models)
    for model, error in zip(models, errors, strict=True):
        house.call(model).fail(error)
    error = failed(waiting)
    assert isinstance(error, AllModelsFailed)
    assert error.__cause__ is errors[-1]
    return error


def test_all_failures_are_told(house: House) -> None:
    error = fail_all(house, broken(retry_after=9), broken("format"))
    assert error.message == (
        "All models failed (2): a/m: It broke: server_error. (server_error)"
        " | b/m: It broke: format. (format)"
    )
    told = (error.status, error.code, error.reason, error.retry_after)
    assert told == (502, "all_models_failed", "other", None)


@pytest.mark.parametrize(
    ("waits", "least"), [((30, 20, 40), 20), ((None, 9), 9), ((None, None), None)]
)
def test_rate_limits_of_all_are_one(
    house: House, waits: tuple[int | None, ...], least: int | None
) -> None:
    error = fail_all(house, *map(limited, waits))
    assert type(error) is AllModelsLimited
    assert (error.status, error.type) == (429, "rate_limit_error")
    assert (error.code, error.retry_after) == ("rate_limit_exceeded", least)


def test_a_resting_provider_counts_for_the_time_to_wait(house: House) -> None:
    fail_alone(house, "a/m", limited(90))
    fail_alone(house, "b/m", limited(70))
    house.clock.advance(0.5)
    waiting = house.start("a/m", "b/m")
    house.call("b/m").fail(limited(200))
    error = failed(waiting)
    assert isinstance(error, AllModelsLimited)
    assert error.retry_after == 90


def test_time_outs_of_all_are_one(house: House) -> None:
    error = fail_all(house, ProviderTimedOut("Silence."), ProviderTimedOut("Silence."))
    assert type(error) is AllModelsTimedOut
    assert (error.status, error.code) == (504, "all_models_failed")


def test_busy_providers_say_when_to_come_back(house: House) -> None:
    error = fail_all(house, limited(5), broken("overloaded", retry_after=3))
    assert (error.status, error.retry_after) == (502, 3)


def test_failures_of_one_kind_keep_it(house: House) -> None:
    assert fail_all(house, broken("auth"), broken("auth")).reason == "auth"


def test_each_attempt_is_one_line_of_the_log(house: House) -> None:
    with capturedLogs() as events:
        fail_all(house, broken(), limited())
    assert [formatEvent(event) for event in events] == [
        "run run-1: a/m failed (server_error): [23 characters withheld] Trying b/m.",
        "run run-1: b/m failed (rate_limit): [6 characters withheld]"
        " No other is tried.",
    ]
    levels = [event["log_level"] for event in events]
    assert levels == [LogLevel.warn, LogLevel.info]


REASONS: list[FailureReason] = [*sorted(FAILOVER), "context_overflow", "other"]


@given(
    st.lists(st.sampled_from(["a/1", "a/2", "b/1", "b/2", "c/1"]), min_size=1),
    st.lists(st.sampled_from(REASONS), min_size=5, max_size=5),
    st.lists(st.sampled_from(["a/9", "b/9", "c/9"])),
)
def test_each_model_is_tried_at_most_once_and_one_always(
    models: list[str], reasons: list[FailureReason], broken_before: list[str]
) -> None:
    house = House()
    for model in broken_before:
        fail_alone(house, model, broken())
    before = house.calls
    wanted = list(dict.fromkeys(models))
    waiting = house.start(*wanted)
    tried: list[str] = []
    for reason in reasons:
        if waiting.called:
            break
        [(name, call)] = [
            (name, provider.calls[-1])
            for name, provider in house.providers.items()
            if provider.calls and not provider.calls[-1].finished.called
        ]
        tried.append(f"{name}/{call.request.model}")
        call.fail(broken(reason))
    assert isinstance(failed(waiting), ProviderFailed)
    assert house.calls - before == len(tried) >= 1
    assert len(set(tried)) == len(tried)
    assert set(tried) <= set(wanted)


# -- the candidates


LOCAL = {
    "baseUrl": "http://x/v1",
    "models": [
        {"id": "blind", "name": "one"},
        {"id": "eyes", "name": "two", "input": ["text", "image"]},
    ],
}


def candidates_of(
    folder: Path,
    *,
    entry: Any = None,
    chosen: str | None = None,
    with_images: bool = False,
    **defaults: Any,
) -> list[str]:
    """Return the candidates for the only agent; ``local`` and ``far`` are provided."""
    own = {} if entry is None else {"model": entry}
    tree = {
        "agents": {"list": [{"id": "a", **own}], "defaults": defaults},
        "models": {"providers": {"local": LOCAL}},
    }
    roster = build_roster(load(folder, tree).config, Path("/home/u"))
    agent, provider = roster.agents["a"], ScriptedProvider()
    found = find_candidates(
        agent.model if chosen is None else roster.catalog.find(chosen),
        agent,
        catalog=roster.catalog,
        providers={"local": provider, "far": provider},
        with_images=with_images,
    )
    assert all(candidate.provider is provider for candidate in found)
    return [str(candidate.model) for candidate in found]


SHARED = {"primary": "local/blind", "fallbacks": ["far/x", "local/eyes"]}


@pytest.mark.parametrize(
    ("entry", "chosen", "expected"),
    [
        (None, None, ["local/blind", "far/x", "local/eyes"]),
        (None, "far/y", ["far/y", "far/x", "local/eyes", "local/blind"]),
        (None, "local/eyes", ["local/eyes", "far/x", "local/blind"]),
        ("far/z", None, ["far/z", "far/x", "local/eyes"]),
        ("far/z", "far/y", ["far/y", "far/x", "local/eyes", "far/z"]),
        ({"primary": "far/z"}, None, ["far/z", "far/x", "local/eyes"]),
        ({"fallbacks": []}, None, ["local/blind"]),
        ({"fallbacks": []}, "far/y", ["far/y"]),
        ({"fallbacks": ["far/q"]}, "far/y", ["far/y", "far/q"]),
        ({"fallbacks": ["far/q", "FAR/q", "local/blind"]}, None, None),
        ({"fallbacks": ["gone/q", "far/q"]}, None, ["local/blind", "far/q"]),
        (None, "gone/m", ["far/x", "local/eyes", "local/blind"]),
    ],
)
def test_chosen_model_fallbacks_and_the_agents_own(
    tmp_path: Path, entry: Any, chosen: str | None, expected: list[str] | None
) -> None:
    found = candidates_of(tmp_path, entry=entry, chosen=chosen, model=SHARED)
    assert found == (expected or ["local/blind", "far/q"])


def test_the_allowlist_filters_fallbacks_only(tmp_path: Path) -> None:
    models = {"local/eyes": {"alias": "see"}}
    shared = {"primary": "local/blind", "fallbacks": ["far/x", "See"]}
    found = candidates_of(tmp_path, model=shared, models=models)
    assert found == ["local/blind", "local/eyes"]
    found = candidates_of(tmp_path, chosen="far/y", model=shared, models=models)
    assert found == ["far/y", "local/eyes", "local/blind"]


def test_pictures_go_to_models_that_see(tmp_path: Path) -> None:
    found = candidates_of(tmp_path, model=SHARED, with_images=True)
    assert found == ["local/eyes"]
    assert candidates_of(tmp_path, model={"primary": "far/x"}, with_images=True) == []


def test_no_list_of_fallbacks_is_tried_without_end(tmp_path: Path) -> None:
    shared = {"primary": "far/0", "fallbacks": [f"far/{n}" for n in range(99)]}
    assert len(candidates_of(tmp_path, model=shared)) == MAX_CANDIDATES
