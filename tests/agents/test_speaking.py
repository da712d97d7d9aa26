"""The models of a run: who is asked, what each is sent, and who is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.pictures import IN_PLACE
from moltbot_gw.agents.window import CompactionSettings
from moltbot_gw.errors import (
    AllModelsFailed,
    ContextOverflow,
    InvalidRequest,
    ProviderFailed,
    RunAborted,
)
from moltbot_gw.events import AttemptFailed, CompactionEnded, CompactionStarted
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from tests.support.memory_store import MemorySessionStore
from tests.support.scripted_provider import USAGE, ScriptedProvider

from .support import KEY, House, Reader, ended, succeeded
from .tools import toolbox

OTHER = ModelRef("other", "m2")
SEES = ModelRef("other", "m2", True)
HELLO = UserMessage("hello")
Open = Callable[..., House]


@pytest.fixture
def other() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
def open_house(other: ScriptedProvider) -> Iterator[Open]:
    houses: list[House] = []

    def build(**fields: Any) -> House:
        fields.setdefault("fallbacks", (OTHER,))
        fields.setdefault("max_run_bytes", 10**7)
        fields.setdefault("store", MemorySessionStore())
        houses.append(House(others={"other": other}, **fields))
        return houses[-1]

    yield build
    for house in houses:
        house.close()
        house.check_idle()


def busy() -> ProviderFailed:
    return ProviderFailed("Later.", reason="rate_limit", retry_after=7)


def test_another_model_answers_for_one_that_fails(
    open_house: Open, other: ScriptedProvider
) -> None:
    house = open_house()
    run = house.start()
    reader = Reader(run)
    house.call.fail(busy())
    (call,) = other.calls
    assert call.request.model == "m2"
    assert call.request.messages == (HELLO,)
    call.say("hi")
    call.finish()
    assert ended(run).state == "done"
    assert (run.model, reader.text) == ("other/m2", "hi")
    assert [e for e in reader.events if isinstance(e, AttemptFailed)] == [
        AttemptFailed(
            model="local/m1",
            reason="rate_limit",
            message="Later.",
            retry_after=7,
            next_model="other/m2",
        )
    ]
    session = succeeded(house.store.find_session(KEY))
    assert (session.provider, session.model) == ("other", "m2")


def test_a_word_that_was_shown_binds_the_run_to_its_model(
    open_house: Open, other: ScriptedProvider
) -> None:
    house = open_house()
    run = house.start()
    house.call.say("Well")
    house.call.fail(busy())
    assert other.calls == []
    outcome = ended(run)
    assert outcome.error is not None
    assert outcome.error.message == "Later."


def test_thoughts_that_were_shown_bind_it_too(
    open_house: Open, other: ScriptedProvider
) -> None:
    house = open_house()
    run = house.start()
    house.call.think("Well")
    house.call.fail(busy())
    assert other.calls == []
    assert ended(run).state == "failed"


def test_what_nobody_was_shown_is_forgotten(
    open_house: Open, other: ScriptedProvider
) -> None:
    house = open_house(toolbox=toolbox())
    run = house.start()
    house.call.say("NO_R")
    house.call.use(ToolCall("c1", "shout", '{"text":"a"}'), whole=False)
    house.call.fail(busy())
    other.calls[0].say("hi")
    other.calls[0].finish()
    assert ended(run).state == "done"
    assert run.text() == "hi"
    assert house.history() == (HELLO, AssistantMessage("hi", "", (), "stop"))


def test_all_that_fail_are_named(open_house: Open, other: ScriptedProvider) -> None:
    house = open_house()
    run = house.start()
    house.call.fail(busy())
    other.calls[0].fail(busy())
    error = ended(run).error
    assert isinstance(error, AllModelsFailed)
    assert "All models failed (2)" in error.message
    assert error.retry_after == 7


def test_who_is_cancelled_asks_nobody_else(
    open_house: Open, other: ScriptedProvider
) -> None:
    house = open_house()
    run = house.start()
    run.cancel(RunAborted("enough"))
    assert ended(run).state == "aborted"
    assert other.calls == []


def test_the_model_that_has_answered_goes_on(
    open_house: Open, other: ScriptedProvider
) -> None:
    house = open_house(toolbox=toolbox())
    run = house.start()
    house.call.fail(ProviderFailed("It broke.", reason="server_error"))
    other.calls[0].use(ToolCall("c1", "shout", '{"text":"a"}'))
    assert len(other.calls) == 2
    assert len(house.provider.calls) == 1
    other.calls[1].finish()
    assert ended(run).state == "done"


def test_a_model_without_a_provider_has_others(
    open_house: Open, other: ScriptedProvider
) -> None:
    house = open_house()
    run = house.start(agent_id="main", model=ModelRef("gone", "m"))
    other.calls[0].finish()
    assert ended(run).state == "done"


def test_pictures_of_the_past_are_words_for_who_takes_none(
    open_house: Open, other: ScriptedProvider
) -> None:
    house = open_house(fallbacks=(SEES,))
    picture = ImagePart("data:image/png;base64,AA==")
    seen = house.start(
        UserMessage((TextPart("look"), picture)), agent_id="eyes", key=KEY
    )
    house.call.finish()
    assert ended(seen).state == "done"
    run = house.start(UserMessage("and?"))
    shown = house.call.request.messages[0]
    assert shown == UserMessage((TextPart("look"), IN_PLACE))
    house.call.fail(busy())
    assert other.calls[0].request.messages[0] == UserMessage(
        (TextPart("look"), picture)
    )
    other.calls[0].finish()
    assert ended(run).state == "done"


# -- windows


SMALL = CompactionSettings(context_tokens=16_000)
LONG = "word " * 8_000


def talk(house: House, count: int) -> None:
    for number in range(count):
        run = house.start(UserMessage(f"{number} {LONG}"))
        while run.outcome is None:
            house.call.say("ok")
            house.call.finish()


def test_a_long_talk_is_summarised_by_the_model(open_house: Open) -> None:
    house = open_house(compaction=SMALL)
    talk(house, 1)
    run = house.start(UserMessage(LONG))
    reader = Reader(run)
    asked = house.call.request
    assert asked.tools == ()
    assert "Summarise" in str(asked.messages)
    house.call.say("They said words.")
    house.call.finish()
    request = house.call.request
    assert "They said words." in str(request.messages[0])
    assert request.messages[-1] == UserMessage(LONG)
    house.call.say("hi")
    house.call.finish()
    outcome = ended(run)
    assert outcome.state == "done"
    assert outcome.usage.total_tokens == 2 * USAGE.total_tokens
    assert outcome.context == USAGE
    kinds = [type(event) for event in reader.events]
    assert kinds[1:3] == [CompactionStarted, CompactionEnded]
    assert reader.text == "hi"


def test_a_call_that_was_too_long_is_repeated_once(open_house: Open) -> None:
    house = open_house()
    talk(house, 2)
    run = house.start(UserMessage("short"))
    house.call.fail(ContextOverflow("Too long."))
    house.call.say("They said words.")
    house.call.finish()
    assert "They said words." in str(house.call.request.messages[0])
    house.call.fail(ContextOverflow("Still too long."))
    error = ended(run).error
    assert isinstance(error, ContextOverflow)
    assert error.status == 400


def test_a_request_that_is_too_long_itself_is_refused(open_house: Open) -> None:
    house = open_house()
    run = house.start(UserMessage("short"))
    house.call.fail(ContextOverflow("Too long."))
    error = ended(run).error
    assert isinstance(error, InvalidRequest)
    assert error.code == "context_length_exceeded"
    assert house.history() == (UserMessage("short"),)


def test_a_run_of_many_rounds_is_summarised_between_them(open_house: Open) -> None:
    house = open_house(compaction=SMALL, toolbox=toolbox())
    run = house.start(UserMessage("go"))
    summaries = 0
    for number in range(20):
        if run.outcome is not None:
            break
        if "Summarise" in str(house.call.request.messages[-1]):
            summaries += 1
            house.call.say("It shouted.")
            house.call.finish()
        elif number > 12:
            house.call.finish()
        else:
            text = ToolCall(f"c{number}", "shout", '{"text":"a ","times":9000}')
            house.call.use(text)
    assert ended(run).state == "done"
    assert summaries
    results = [m for m in house.history() if isinstance(m, ToolMessage)]
    assert all(len(str(m.content)) == 18_000 for m in results)
