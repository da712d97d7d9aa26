"""Runs from their start to their stored end, on a fake clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moltbot_gw.agents.catalog import Catalog
from moltbot_gw.agents.run import Run
from moltbot_gw.config import (
    AgentDefaults,
    Agents,
    Config,
    ModelEntry,
    Models,
    ModelSettings,
    ProviderEntry,
)
from moltbot_gw.errors import (
    InternalError,
    InvalidRequest,
    KeyReused,
    ModelNotFound,
    ProviderFailed,
    QueueFull,
    RunAborted,
    RunTimedOut,
    StoreFailed,
)
from moltbot_gw.events import (
    Completion,
    ReasoningDelta,
    RunEnded,
    RunStarted,
    TextDelta,
    Usage,
)
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    ModelRequest,
    UserMessage,
)
from moltbot_gw.providers.echo import EchoProvider
from tests.support.memory_store import MemorySessionStore
from tests.support.scripted_provider import USAGE, ScriptedProvider

from .support import (
    KEY,
    MAX_RUN_BYTES,
    START_MS,
    TIMEOUT,
    GatedStore,
    House,
    Reader,
    ended,
    logged_failures,
    succeeded,
)

HELLO = UserMessage("hello")


@pytest.fixture
def store() -> GatedStore:
    return GatedStore()


@pytest.fixture
def house(store: GatedStore) -> Iterator[House]:
    house = House(store)
    yield house
    house.close()


def test_double_is_a_provider() -> None:
    assert verifyObject(IModelProvider, ScriptedProvider())


def test_answered_run_is_stored_in_both_halves(house: House) -> None:
    run = house.start()
    house.call.think("hm")
    house.call.say("hi ")
    house.call.say("you")
    house.call.finish()
    assert house.history() == (HELLO, AssistantMessage("hi you", "hm", (), "stop"))
    assert (ended(run).state, ended(run).usage) == ("done", USAGE)
    house.check_idle()


def test_both_halves_tell_whose_run_it_was_and_when(
    house: House, store: GatedStore
) -> None:
    house.start()
    house.clock.advance(2)
    house.call.finish()
    [begun], [finished] = store.begun, store.ended
    assert begun.session_id == finished.session_id == "session-1"
    assert (begun.provider, begun.model, begun.agent_id) == ("local", "m1", "main")
    assert (begun.started_at_ms, finished.ended_at_ms) == (START_MS, START_MS + 2000)
    assert (finished.state, finished.error_code, finished.usage) == (
        "done",
        None,
        USAGE,
    )


def test_reader_sees_the_whole_run(house: House) -> None:
    run = house.start()
    reader = Reader(run)
    reader.wake()
    house.call.think("hm")
    house.call.say("hi")
    house.call.finish()
    assert reader.events == [
        RunStarted(START_MS),
        ReasoningDelta("hm"),
        TextDelta("hi"),
        RunEnded(ended(run)),
    ]
    assert ended(run).started_at_ms == START_MS


def test_empty_answer_is_an_answer(house: House) -> None:
    run = house.start()
    house.call.finish()
    assert ended(run).finish_reason == "stop"
    assert house.history() == (HELLO, AssistantMessage(stop_reason="stop"))


def test_run_ends_only_after_its_answer_is_stored(
    house: House, store: GatedStore
) -> None:
    store.gates = {"end"}
    run = house.start()
    house.call.say("hi")
    house.call.finish()
    assert run.outcome is None
    assert not house.service.idle
    store.open_gate()
    assert ended(run).state == "done"
    house.check_idle()


def test_users_turn_is_stored_before_the_model_is_called(
    house: House, store: GatedStore
) -> None:
    store.gates = {"begin"}
    house.start()
    assert house.provider.calls == []
    store.open_gate()
    assert house.history() == (HELLO,)
    assert len(house.provider.calls) == 1


def test_model_reads_the_history_and_the_news(house: House) -> None:
    house.start()
    house.call.say("hi")
    house.call.finish()
    more = UserMessage("more")
    house.start(HELLO, AssistantMessage("hi"), more)
    hi = AssistantMessage("hi", stop_reason="stop")
    assert house.call.request.messages == (HELLO, hi, more)
    house.call.finish()
    assert house.history()[:3] == (HELLO, hi, more)


def test_session_goes_on_under_its_id(house: House, store: GatedStore) -> None:
    for _ in range(2):
        house.start()
        house.call.finish()
    assert [turn.session_id for turn in store.begun] == ["session-1", "session-1"]


def test_request_sent_again_after_a_failure_is_read_once(house: House) -> None:
    house.start()
    house.call.fail(ProviderFailed("broken"))
    house.start()
    assert house.call.request.messages == (HELLO,)
    house.call.finish()


def test_request_without_news_is_refused_and_not_stored(
    house: House, store: GatedStore
) -> None:
    house.start()
    house.call.finish()
    run = house.start(HELLO, AssistantMessage("hi"))
    assert isinstance(ended(run).error, InvalidRequest)
    assert ended(run).started_at_ms is None
    assert len(store.begun) == 1
    house.check_idle()


def test_anonymous_session_has_no_history_to_read(
    house: House, store: GatedStore
) -> None:
    store.gates = {"history"}
    house.start(anonymous=True)
    house.call.finish()
    assert store.begun[0].anonymous
    house.check_idle()


def test_model_is_told_the_clients_own_system_text(house: House) -> None:
    house.start(extra_system="Speak like a pirate.")
    assert "\n\nSpeak like a pirate.\n\n" in house.call.request.system
    assert house.call.request.model == "m1"


def test_unknown_agent_is_refused(house: House) -> None:
    with pytest.raises(ModelNotFound, match='"nobody"'):
        house.start(agent_id="nobody")
    house.check_idle()


def test_agent_without_its_provider_is_refused(house: House) -> None:
    with pytest.raises(ProviderFailed, match=r"gone/m1.*models\.providers"):
        house.start(agent_id="odd")
    house.check_idle()


def test_images_are_refused_unless_the_model_takes_them(house: House) -> None:
    picture = UserMessage((ImagePart("data:x"),))
    with pytest.raises(InvalidRequest) as caught:
        house.start(picture)
    assert caught.value.param == "messages"
    house.check_idle()
    house.start(picture, agent_id="eyes")
    assert house.call.request.messages == (picture,)


def test_full_queue_refuses_and_leaves_nothing(house: House) -> None:
    for _ in range(3):
        house.start()
    with pytest.raises(QueueFull):
        house.start()
    assert house.service.running == 3


def test_waiting_run_starts_when_its_turn_comes(house: House) -> None:
    first, second = house.start(), house.start()
    assert len(house.provider.calls) == 1
    house.call.say("one")
    house.call.finish()
    assert len(house.provider.calls) == 2
    assert ended(first).state == "done"
    assert second.outcome is None
    house.call.finish()
    house.check_idle()


@pytest.mark.parametrize("said", ["", "half an ans"])
def test_providers_failure_keeps_what_was_said(
    house: House, store: GatedStore, said: str
) -> None:
    run = house.start()
    if said:
        house.call.say(said)
    house.call.fail(ProviderFailed("broken", retry_after=7))
    error = ended(run).error
    assert isinstance(error, ProviderFailed)
    assert (error.message, error.retry_after) == ("broken", 7)
    # Or it would keep all that it went through.
    assert error.__traceback__ is None
    kept = (AssistantMessage(said, stop_reason="error"),) if said else ()
    assert house.history() == (HELLO, *kept)
    assert (store.ended[0].state, store.ended[0].error_code) == (
        "failed",
        "provider_error",
    )
    house.check_idle()


def test_reasoning_alone_is_kept_too(house: House) -> None:
    house.start()
    house.call.think("hm")
    house.call.fail(ProviderFailed("broken"))
    assert house.history()[1:] == (AssistantMessage("", "hm", (), "error"),)


def test_defect_of_a_provider_is_an_internal_error_and_logged(house: House) -> None:
    run = house.start()
    house.call.say("half")
    with logged_failures() as failures:
        house.call.fail(ZeroDivisionError("secret"))
    assert isinstance(ended(run).error, InternalError)
    assert "secret" not in str(ended(run).error)
    assert [failure.type for failure in failures] == [ZeroDivisionError]
    assert house.history()[1:] == (AssistantMessage("half", stop_reason="error"),)
    house.check_idle()


def test_provider_that_cancels_itself_is_a_defect(house: House) -> None:
    run = house.start()
    with logged_failures() as failures:
        house.call.stopProducing()
    assert isinstance(ended(run).error, InternalError)
    assert [failure.type for failure in failures] == [CancelledError]
    house.check_idle()


def test_defect_before_the_model_is_called_is_logged(house: House) -> None:
    class Broken(GatedStore):
        def history(self, session_key: str, fresh_after_ms: int) -> Deferred:  # type: ignore[type-arg]
            raise ZeroDivisionError

    house = House(Broken())
    with logged_failures() as failures:
        run = house.start()
    assert isinstance(ended(run).error, InternalError)
    assert [failure.type for failure in failures] == [ZeroDivisionError]
    house.check_idle()


@pytest.mark.parametrize("gate", ["history", "begin", "end"])
def test_failing_store_fails_the_run(
    house: House, store: GatedStore, gate: str
) -> None:
    store.gates = {gate}
    run = house.start()
    for call in house.provider.calls:
        call.finish()
    store.break_gate()
    assert ended(run).state == "failed"
    assert isinstance(ended(run).error, StoreFailed)
    assert len(house.provider.calls) == (gate == "end")
    house.check_idle()


def test_model_is_not_called_when_the_turn_cannot_be_stored(house: House) -> None:
    assert isinstance(house.store, GatedStore)
    house.store.failure = StoreFailed("The disk is full.")
    run = house.start()
    assert isinstance(ended(run).error, StoreFailed)
    assert house.provider.calls == []
    house.check_idle()


@pytest.mark.parametrize("key", [KEY, "agent:main:other"])
def test_run_is_cancelled_while_it_waits(store: GatedStore, key: str) -> None:
    house = House(store, max_concurrent=1)
    house.start()
    waiting = house.start(key=key)
    reason = RunAborted("stop")
    waiting.cancel(reason)
    assert ended(waiting).state == "aborted"
    assert str(ended(waiting).error) == "stop"
    assert ended(waiting).started_at_ms is None
    house.call.finish()
    assert len(store.begun) == 1
    house.check_idle()


def test_run_is_cancelled_before_its_turn_begins(
    house: House, store: GatedStore
) -> None:
    store.gates = {"history"}
    run = house.start()
    run.cancel(RunAborted("stop"))
    store.open_gate()
    assert ended(run).state == "aborted"
    assert (store.begun, house.provider.calls) == ([], [])
    house.check_idle()


def test_run_cancelled_while_its_turn_begins_is_stored_as_aborted(
    house: House, store: GatedStore
) -> None:
    store.gates = {"begin"}
    run = house.start()
    run.cancel(RunAborted("stop"))
    store.open_gate()
    assert all(call.cancelled for call in house.provider.calls)
    assert ended(run).state == store.ended[0].state == "aborted"
    assert house.history() == (HELLO,)
    house.check_idle()


def test_run_is_cancelled_mid_stream(house: House, store: GatedStore) -> None:
    run = house.start()
    house.call.say("half")
    run.cancel(RunAborted("stop"))
    assert house.call.cancelled
    assert ended(run).state == "aborted"
    assert house.history()[1:] == (AssistantMessage("half", stop_reason="aborted"),)
    assert (store.ended[0].state, store.ended[0].error_code) == (
        "aborted",
        "run_aborted",
    )
    [summary] = succeeded(store.list_sessions())
    assert summary.aborted_last_run
    house.check_idle()


def test_cancelling_while_the_answer_is_stored_comes_too_late(
    house: House, store: GatedStore
) -> None:
    store.gates = {"end"}
    run = house.start()
    house.call.finish()
    run.cancel(RunAborted("stop"))
    store.open_gate()
    assert ended(run).state == "done"


def test_too_long_an_answer_is_cut_off(house: House) -> None:
    run = house.start()
    house.call.say("a" * 900)
    house.call.say("b" * 200)
    assert house.call.cancelled
    assert isinstance(ended(run).error, ProviderFailed)
    assert house.history()[1:] == (AssistantMessage("a" * 900, stop_reason="error"),)
    house.check_idle()


def test_timed_out_run_keeps_its_text(house: House) -> None:
    run = house.start()
    house.call.say("half")
    house.clock.advance(TIMEOUT)
    assert house.call.cancelled
    assert isinstance(ended(run).error, RunTimedOut)
    assert ended(run).state == "failed"
    assert house.history()[1:] == (AssistantMessage("half", stop_reason="aborted"),)
    house.check_idle()


def test_waiting_does_not_count_for_the_time_out(house: House) -> None:
    house.start()
    second = house.start()
    house.clock.advance(TIMEOUT - 1)
    house.call.finish()
    house.clock.advance(TIMEOUT - 1)
    assert second.outcome is None
    house.clock.advance(1)
    assert isinstance(ended(second).error, RunTimedOut)
    house.check_idle()


def test_storing_does_not_count_for_the_time_out(
    house: House, store: GatedStore
) -> None:
    store.gates = {"begin", "end"}
    run = house.start()
    house.clock.advance(TIMEOUT + 1)
    store.open_gate()
    house.call.finish()
    house.clock.advance(TIMEOUT + 1)
    store.open_gate()
    assert ended(run).state == "done"


def test_stalled_readers_pause_the_provider(house: House) -> None:
    reader = Reader(house.start())
    reader.wake()
    reader.pause()
    assert house.call.paused
    reader.resume()
    assert not house.call.paused


def test_observers_see_each_run_before_it_leaves_its_lanes(house: House) -> None:
    seen: list[tuple[Run, int]] = []
    house.service.observe(lambda run: seen.append((run, len(house.provider.calls))))
    runs = [house.start(), house.start(key="agent:main:b")]
    assert seen == [(runs[0], 0), (runs[1], 1)]


def test_observer_may_cancel_the_run_it_sees(house: House, store: GatedStore) -> None:
    house.service.observe(lambda run: run.cancel(RunAborted("no")))
    run = house.start()
    assert ended(run).state == "aborted"
    assert store.begun == []
    house.check_idle()


def test_broken_observer_harms_no_run(house: House) -> None:
    def broken(run: Run) -> None:
        raise ZeroDivisionError

    house.service.observe(broken)
    with logged_failures() as failures:
        run = house.start()
    house.call.finish()
    assert ended(run).state == "done"
    assert [failure.type for failure in failures] == [ZeroDivisionError]
    house.check_idle()


def test_prompt_that_cannot_be_built_leaves_no_run_half_stored(
    house: House, store: GatedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("moltbot_gw.agents.prompt.PromptBuilder.join", broken)
    with logged_failures() as failures:
        run = house.start()
    assert isinstance(ended(run).error, InternalError)
    assert (store.begun, len(failures)) == ([], 1)
    house.check_idle()


def test_echo_answers_through_the_service() -> None:
    clock = Clock()
    house = House(MemorySessionStore(), clock, others={"other": EchoProvider(clock)})
    run = house.start(UserMessage("say this again"), agent_id="other")
    clock.pump([0.01] * 4)
    assert run.text() == "say this again"
    assert ended(run).finish_reason == "stop"
    assert house.history()[1:] == (
        AssistantMessage("say this again", stop_reason="stop"),
    )
    house.check_idle()


def test_answer_that_is_whole_when_it_is_cut_off_counts(house: House) -> None:
    run = house.start()
    house.call.finish_on_cancel = True
    house.clock.advance(TIMEOUT)
    assert ended(run).state == "done"
    house.check_idle()


def test_provider_that_raises_at_once_is_a_defect() -> None:
    class Raising(ScriptedProvider):
        def stream(self, request: ModelRequest, sink: object) -> Deferred:  # type: ignore[type-arg]
            raise ZeroDivisionError

    house = House(MemorySessionStore(), others={"other": Raising()})
    with logged_failures() as failures:
        run = house.start(agent_id="other")
    assert isinstance(ended(run).error, InternalError)
    assert [failure.type for failure in failures] == [ZeroDivisionError]
    house.check_idle()


@implementer(IModelProvider)
class Glutton:
    """Says everything inside the call itself, and is content."""

    def stream(self, request: ModelRequest, sink: IRunSink) -> Deferred[Completion]:
        sink.extend([TextDelta("x" * MAX_RUN_BYTES), TextDelta("y")])
        return succeed(Completion(finish_reason="stop", usage=Usage()))

    def close(self) -> Deferred[None]:
        return succeed(None)


def test_an_answer_that_is_too_long_all_at_once_is_a_failure() -> None:
    house = House(MemorySessionStore(), others={"other": Glutton()})
    outcome = ended(house.start(agent_id="other"))
    assert (outcome.state, type(outcome.error)) == ("failed", ProviderFailed)
    house.check_idle()


# -- what a request and its session may say of the run


def catalog_of(*listed: str) -> Catalog:
    """The models ``deep`` (which reasons) and ``eyes``, and one of nobody's."""
    local = (
        ModelEntry(id="deep", name="Deep", reasoning=True),
        ModelEntry(id="eyes", name="Eyes", input=("text", "image")),
    )
    gone = (ModelEntry(id="m", name="M"),)
    providers = {
        "local": ProviderEntry(base_url="http://x/v1", models=local),
        "gone": ProviderEntry(base_url="http://y/v1", models=gone),
    }
    models = {ref: ModelSettings() for ref in listed}
    return Catalog(
        Config(
            agents=Agents(defaults=AgentDefaults(models=models)),
            models=Models(providers=providers),
        )
    )


@pytest.fixture
def choosy(store: GatedStore) -> Iterator[House]:
    """A house with models to choose from."""
    house = House(store, catalog=catalog_of())
    yield house
    house.close()


def set_for_session(house: House, key: str = KEY, **changes: str | None) -> None:
    succeeded(
        house.store.patch(
            key, changes, agent_id="main", new_session_id="patched", now_ms=START_MS
        )
    )


@pytest.mark.parametrize(
    ("wanted", "used"),
    [
        ("local/deep", "local/deep"),
        ("LOCAL/deep", "local/deep"),
        ("local/m1", "local/m1"),
        ("local/unheard", "local/m1"),
        ("gone/m", "local/m1"),
        ("nowhere/m", "local/m1"),
        (None, "local/m1"),
    ],
)
def test_session_may_have_a_model_of_its_own(
    choosy: House, store: GatedStore, wanted: str | None, used: str
) -> None:
    set_for_session(choosy, model=wanted)
    run = choosy.start()
    assert choosy.call.request.model == used.partition("/")[2]
    assert (run.model, run.session_id) == (used, "patched")
    assert f"{store.begun[0].provider}/{store.begun[0].model}" == used


def test_list_of_models_holds_for_sessions_too(store: GatedStore) -> None:
    house = House(store, catalog=catalog_of("local/eyes"))
    for wanted, used in (("local/deep", "m1"), ("local/eyes", "eyes")):
        set_for_session(house, model=wanted)
        house.start()
        assert house.call.request.model == used
        house.call.finish()
    house.check_idle()


def test_other_sessions_keep_the_agents_model(choosy: House) -> None:
    set_for_session(choosy, model="local/deep")
    choosy.start(key="agent:main:b")
    assert choosy.call.request.model == "m1"


def test_session_whose_model_takes_no_images_refuses_them(
    choosy: House, store: GatedStore
) -> None:
    set_for_session(choosy, model="local/deep")
    run = choosy.start(UserMessage((ImagePart("data:x"),)), agent_id="eyes")
    error = ended(run).error
    assert isinstance(error, InvalidRequest)
    assert (error.param, "local/deep" in error.message) == ("messages", True)
    assert (store.begun, choosy.provider.calls) == ([], [])
    choosy.check_idle()


def test_session_whose_model_takes_images_takes_them(choosy: House) -> None:
    picture = UserMessage((ImagePart("data:x"),))
    set_for_session(choosy, model="local/eyes")
    choosy.start(picture, agent_id="eyes")
    assert choosy.call.request.messages == (picture,)


@pytest.mark.parametrize(
    ("asked", "of_session", "effort"),
    [
        ("high", "low", "high"),
        (None, "low", "low"),
        (None, None, None),
        ("off", "low", None),
    ],
)
def test_thinking_is_the_requests_else_the_sessions(
    choosy: House, asked: str | None, of_session: str | None, effort: str | None
) -> None:
    set_for_session(choosy, model="local/deep", thinking_level=of_session)
    choosy.start(thinking=asked)
    assert choosy.call.request.options.reasoning_effort == effort


def test_thinking_is_the_agents_when_nobody_else_has_said(store: GatedStore) -> None:
    house = House(store, catalog=catalog_of(), thinking="medium")
    set_for_session(house, model="local/deep")
    house.start()
    assert house.call.request.options.reasoning_effort == "medium"
    house.close()


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.5, "2.5 seconds."), (1.0, "1 second.")]
)
def test_request_may_have_a_time_out_of_its_own(
    house: House, seconds: float, words: str
) -> None:
    run = house.start(timeout=seconds)
    house.clock.advance(seconds - 0.1)
    assert run.outcome is None
    house.clock.advance(0.1)
    error = ended(run).error
    assert isinstance(error, RunTimedOut)
    assert error.message.endswith(f" longer than {words}")
    house.check_idle()


def test_request_may_begin_a_session_of_its_own(
    house: House, store: GatedStore
) -> None:
    house.start()
    house.call.finish()
    set_for_session(house, thinking_level="high")
    more = UserMessage("more")
    run = house.start(more, session_id="mine")
    assert house.call.request.messages == (more,)
    assert (run.session_id, store.begun[1].session_id) == ("mine", "mine")
    house.call.finish()
    house.start(UserMessage("again"), session_id="mine")
    assert house.call.request.messages[0] == more
    house.call.finish()
    settings = succeeded(store.history(KEY, 0)).settings
    assert settings.thinking_level == "high"
    house.check_idle()


# -- who looks at the runs


def test_runs_are_found_until_they_have_ended(house: House) -> None:
    first, second = house.start(), house.start()
    other = house.start(key="agent:main:b")
    assert house.service.active == [first, second, other]
    assert house.service.runs_of(KEY) == [first, second]
    assert house.service.runs_of("agent:main:c") == []
    assert house.service.find_run("run-3") is other
    house.call.finish()
    assert house.service.find_run("run-3") is None
    assert house.service.active == [first, second]


def test_session_id_and_model_are_known_once_the_run_has_begun(house: House) -> None:
    first, second = house.start(), house.start()
    assert (first.session_id, first.model) == ("session-1", "local/m1")
    assert (second.session_id, second.model) == (None, None)


def test_id_of_a_running_run_is_not_given_twice(house: House) -> None:
    run = house.start(run_id="mine")
    with pytest.raises(KeyReused):
        house.start(run_id="mine")
    assert house.service.active == [run]
    house.call.finish()
    house.check_idle()
    assert house.start(run_id="mine", key="agent:main:b") is not run
