"""The loop: the model speaks, calls the agent's tools, reads their results, goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.agents.toolrunner import (
    CUT_OFF,
    LET_GO_SECONDS,
    MAX_EVENT_CHARS,
    UPDATE_SECONDS,
    ToolLimits,
)
from moltbot_gw.errors import ProviderFailed, RunAborted, RunTimedOut, TooManyRounds
from moltbot_gw.events import (
    RunEvent,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolStarted,
    ToolUpdated,
)
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    NamedTool,
    TextPart,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from tests.support.memory_store import MemorySessionStore
from tests.support.scripted_provider import USAGE

from .support import KEY, TIMEOUT, GatedStore, House, Reader, ended, logged_failures
from .tools import SHOUT, EveryTool, Slow, toolbox

HELLO = UserMessage("hello")
CLIENTS = (ToolSpec(name="weather"),)

Open = Callable[..., House]


@pytest.fixture
def open_house() -> Iterator[Open]:
    houses: list[House] = []

    def build(**fields: Any) -> House:
        fields.setdefault("toolbox", toolbox())
        fields.setdefault("max_run_bytes", 10**6)
        fields.setdefault("store", MemorySessionStore())
        houses.append(House(**fields))
        return houses[-1]

    yield build
    for house in houses:
        house.close()
        house.check_idle()


def shout(call_id: str, text: str, **more: int) -> ToolCall:
    extra = "".join(f',"{name}":{value}' for name, value in more.items())
    return ToolCall(call_id, "shout", f'{{"text":"{text}"{extra}}}')


def slow(call_id: str, text: str = "x") -> ToolCall:
    return ToolCall(call_id, "slow", f'{{"text":"{text}"}}')


def result(call: ToolCall, text: str, *, error: bool = False) -> ToolMessage:
    return ToolMessage(text, call.id, call.name, error)


def called(*calls: ToolCall, text: str = "", reasoning: str = "") -> AssistantMessage:
    return AssistantMessage(text, reasoning, calls, "tool_calls")


def tool_events(reader: Reader) -> list[RunEvent]:
    kinds = (ToolStarted, ToolUpdated, ToolFinished)
    return [event for event in reader.events if isinstance(event, kinds)]


def test_a_model_reads_what_its_tools_brought_and_goes_on(open_house: Open) -> None:
    house = open_house()
    run = house.start()
    reader = Reader(run)
    one, two = shout("c1", "a"), shout("c2", "b", times=2)
    assert house.call.request.tools == (SHOUT.spec(),)
    house.call.say("Let me shout.")
    house.call.use(one, two)
    said = called(one, two, text="Let me shout.")
    results = (result(one, "A"), result(two, "BB"))
    assert house.call.request.messages == (HELLO, said, *results)
    house.call.say("Done.")
    house.call.finish()

    outcome = ended(run)
    assert outcome.state == "done"
    assert outcome.finish_reason == "stop"
    assert outcome.usage.total_tokens == 2 * USAGE.total_tokens
    assert outcome.context == USAGE
    assert reader.text == run.text() == "Let me shout.\n\nDone."
    last = AssistantMessage("Done.", "", (), "stop")
    assert house.history() == (HELLO, said, *results, last)
    assert not [e for e in reader.events if isinstance(e, ToolCallDelta)]
    assert tool_events(reader) == [
        ToolStarted(call_id="c1", name="shout", arguments=one.arguments),
        ToolFinished(call_id="c1", name="shout", text="A", label="a"),
        ToolStarted(call_id="c2", name="shout", arguments=two.arguments),
        ToolFinished(call_id="c2", name="shout", text="BB", label="b"),
    ]


def test_a_silent_round_shows_nothing(open_house: Open) -> None:
    house = open_house()
    run = house.start()
    reader = Reader(run)
    house.call.say("NO_REPLY")
    house.call.use(shout("c1", "a"))
    house.call.say("At last.")
    house.call.use(shout("c2", "a"))
    house.call.say("NO_REPLY")
    house.call.finish()
    assert reader.text == run.text() == "At last."
    texts = [m.text for m in house.history() if isinstance(m, AssistantMessage)]
    assert texts == ["NO_REPLY", "At last.", "NO_REPLY"]
    assert run.said() == "At last.\n\nNO_REPLY"


def test_what_was_held_back_comes_before_the_tools(open_house: Open) -> None:
    house = open_house()
    run = house.start()
    reader = Reader(run)
    house.call.say("So NO")
    assert reader.text == "So "
    house.call.use(shout("c1", "a"))
    assert reader.text == "So NO"
    kinds = [type(event) for event in reader.events]
    assert kinds.index(ToolStarted) > max(
        place for place, kind in enumerate(kinds) if kind is TextDelta
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"text":"no"}', "text: no is not for shouting."),
        ("{", "shout: bad arguments: "),
        ("[]", "shout: the arguments must be a JSON object."),
        ('{"text":1}', "shout: bad arguments: Expected `str`, got `int` - at `$.text`"),
        ("{}", "shout: bad arguments: Object missing required field `text`"),
        ("[" * 100_000, "shout: bad arguments: "),
    ],
)
def test_a_bad_call_is_answered(
    open_house: Open, arguments: str, expected: str
) -> None:
    house = open_house()
    run = house.start()
    reader = Reader(run)
    house.call.use(ToolCall("c1", "shout", arguments))
    answer = house.call.request.messages[-1]
    assert isinstance(answer, ToolMessage)
    assert answer.is_error
    assert isinstance(answer.content, str)
    assert answer.content.startswith(expected)
    finished = tool_events(reader)[-1]
    assert isinstance(finished, ToolFinished)
    assert finished.is_error
    house.call.finish()
    assert ended(run).state == "done"


def test_an_unknown_tool_is_answered(open_house: Open) -> None:
    house = open_house()
    house.start()
    house.call.use(ToolCall("c1", "x" * 1000, "{}"))
    answer = house.call.request.messages[-1]
    assert isinstance(answer, ToolMessage)
    assert answer.is_error
    assert str(answer.content).startswith("There is no tool xxx")
    assert len(answer.content) < 300


def test_a_defect_of_a_tool_is_told_in_general_words(open_house: Open) -> None:
    house = open_house()
    house.start()
    with logged_failures() as failures:
        house.call.use(shout("c1", "bug"))
    answer = house.call.request.messages[-1]
    assert answer == ToolMessage(
        "shout: the tool failed unexpectedly.", "c1", "shout", True
    )
    assert len(failures) == 1


def test_calls_run_side_by_side_and_answer_in_order(open_house: Open) -> None:
    tool = Slow()
    house = open_house(toolbox=toolbox(tool.tool))
    house.start()
    one, two = slow("c1", "1"), slow("c2", "2")
    house.call.use(one, two)
    first, second = tool.calls
    assert (first.context.call_id, first.params.text) == ("c1", "1")
    second.done.callback("later")
    assert len(house.provider.calls) == 1
    first.done.callback("sooner")
    assert house.call.request.messages[-2:] == (
        result(one, "sooner"),
        result(two, "later"),
    )


def test_calls_are_stored_before_they_are_made(open_house: Open) -> None:
    tool = Slow()
    store = GatedStore("extend")
    house = open_house(toolbox=toolbox(tool.tool), store=store)
    house.start()
    house.call.use(slow("c1"))
    assert tool.calls == []
    store.open_gate()
    assert len(tool.calls) == 1
    assert house.history() == (HELLO, called(slow("c1")))
    tool.calls[0].done.callback("ok")
    assert len(house.provider.calls) == 1
    store.open_gate()
    assert len(house.provider.calls) == 2


def test_a_tool_knows_on_whose_behalf_it_works(open_house: Open) -> None:
    tool = Slow()
    house = open_house(toolbox=toolbox(tool.tool))
    run = house.start()
    house.call.use(slow("c1"))
    context = tool.calls[0].context
    assert (context.run_id, context.agent_id) == (run.run_id, "main")
    assert (context.session_key, context.session_id) == (KEY, run.session_id)
    assert context.model == "local/m1"
    assert str(context.workspace) == "/nonexistent"


def test_updates_are_few_and_only_the_newest_is_kept(open_house: Open) -> None:
    tool = Slow()
    house = open_house(toolbox=toolbox(tool.tool))
    run = house.start()
    reader = Reader(run)
    house.call.use(slow("c1"))
    update = tool.calls[0].context.update
    for text in ("1", "2", "3"):
        update(text)
    assert [e.text for e in tool_events(reader) if isinstance(e, ToolUpdated)] == ["1"]
    house.clock.advance(UPDATE_SECONDS)
    late = Reader(run)
    late.wake()
    shown = [e.text for e in tool_events(late) if isinstance(e, ToolUpdated)]
    assert shown == ["3"]
    house.clock.advance(UPDATE_SECONDS)
    update("x" * 100_000)
    shown = [e.text for e in tool_events(reader) if isinstance(e, ToolUpdated)]
    assert shown[:2] == ["1", "3"]
    assert len(shown[2]) == MAX_EVENT_CHARS
    tool.calls[0].done.callback("y" * 100_000)
    update("too late")
    last = tool_events(reader)[-1]
    assert isinstance(last, ToolFinished)
    assert len(last.text) == MAX_EVENT_CHARS
    latest = Reader(run)
    latest.wake()
    assert not [e for e in latest.events if isinstance(e, ToolUpdated)]


def test_long_arguments_are_shown_short(open_house: Open) -> None:
    house = open_house()
    run = house.start()
    reader = Reader(run)
    long = ToolCall(
        "c1", "shout", '{"text":"' + "x" * 10_000 + '","times":1,"more":[1]}'
    )
    house.call.use(long, ToolCall("c2", "shout", "no JSON"))
    house.call.use(
        ToolCall(
            "c3",
            "shout",
            "{" + ",".join(f'"{"k" * 150}{n}":1' for n in range(100)) + "}",
        )
    )
    house.call.use(ToolCall("c4", "shout", ""))
    shown = {
        e.call_id: e.arguments
        for e in tool_events(reader)
        if isinstance(e, ToolStarted)
    }
    assert shown["c1"].startswith('{"text":"xxx')
    assert shown["c1"].endswith('…","times":1,"more":null}')
    assert len(shown["c1"]) < 300
    assert shown["c2"] == '{"_invalid":"no JSON"}'
    assert shown["c3"] == shown["c4"] == "{}"


def test_results_are_bounded(open_house: Open) -> None:
    limits = ToolLimits(result_bytes=100, run_bytes=120)
    house = open_house(tool_limits=limits)
    house.start()
    house.call.use(shout("c1", "x", times=150), shout("c2", "y", times=150))
    first, second = house.call.request.messages[-2:]
    assert isinstance(first, ToolMessage)
    assert isinstance(second, ToolMessage)
    assert first.content == "X" * 100 + "\n[cut: 50 bytes more]"
    assert second.content == "Y" * 20 + "\n[cut: 130 bytes more]"
    house.call.use(shout("c3", "z"))
    third = house.call.request.messages[-1]
    assert isinstance(third, ToolMessage)
    assert third.content == "\n[cut: 1 bytes more]"


@pytest.mark.parametrize("agent", ["main", "eyes"])
def test_pictures_are_for_models_that_take_them(open_house: Open, agent: str) -> None:
    tool = Slow()
    house = open_house(toolbox=toolbox(tool.tool))
    house.start(agent_id=agent)
    house.call.use(slow("c1"))
    picture = ImagePart("data:image/png;base64,AA==")
    tool.calls[0].done.callback((TextPart("look"), picture))
    answer = house.call.request.messages[-1]
    assert isinstance(answer, ToolMessage)
    shown = TextPart("[a picture; this model takes none]")
    assert answer.content == (TextPart("look"), picture if agent == "eyes" else shown)


def test_too_many_calls_are_not_made(open_house: Open) -> None:
    house = open_house(tool_limits=ToolLimits(calls=2))
    house.start()
    house.call.use(shout("c1", "a"), shout("c2", "b"), shout("c3", "c"))
    texts = [m.content for m in house.call.request.messages[-3:]]  # type: ignore[union-attr]
    assert texts == ["A", "B", "At most 2 calls are made at once."]


def test_the_last_round_is_for_an_answer(open_house: Open) -> None:
    house = open_house(tool_limits=ToolLimits(rounds=2))
    run = house.start()
    house.call.use(shout("c1", "a"))
    assert house.call.request.tool_choice == "none"
    house.call.say("Enough.")
    house.call.finish()
    assert ended(run).state == "done"


def test_a_model_that_comes_to_no_end_fails(open_house: Open) -> None:
    house = open_house(tool_limits=ToolLimits(rounds=2))
    run = house.start()
    house.call.use(shout("c1", "a"))
    house.call.use(shout("c2", "a"))
    error = ended(run).error
    assert isinstance(error, TooManyRounds)
    assert error.should_retry is False
    assert len(house.provider.calls) == 2


def test_nobody_retries_what_has_used_tools(open_house: Open) -> None:
    house = open_house()
    first = house.start()
    house.call.fail(ProviderFailed("no"))
    assert ended(first).error.should_retry is None  # type: ignore[union-attr]
    run = house.start()
    house.call.use(shout("c1", "a"))
    house.call.say("Half")
    error = ProviderFailed("no")
    house.call.fail(error)
    outcome = ended(run)
    assert outcome.error is not None
    assert outcome.error.message == "no"
    assert outcome.error.should_retry is False
    assert error.should_retry is None
    assert outcome.usage == USAGE
    assert house.history()[-1] == AssistantMessage("Half", "", (), "error")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_half_a_call_is_not_made(open_house: Open, reason: Any) -> None:
    tool = Slow()
    house = open_house(toolbox=toolbox(tool.tool))
    run = house.start()
    house.call.say("I call")
    house.call.use(slow("c1"), whole=False)
    house.call.finish(reason)
    assert ended(run).finish_reason == reason
    assert tool.calls == []
    assert house.history()[-1] == AssistantMessage("I call", "", (), reason)


# -- cutting off


def test_a_cancelled_run_lets_its_tools_clean_up(open_house: Open) -> None:
    tool = Slow(cleanup=Deferred())
    house = open_house(toolbox=toolbox(tool.tool))
    run = house.start()
    reader = Reader(run)
    done, cut = slow("c1"), slow("c2")
    house.call.use(done, cut)
    tool.calls[0].done.callback("fine")
    run.cancel(RunAborted("enough"))
    assert run.outcome is None
    assert tool.cleanup is not None
    tool.cleanup.callback(None)
    assert tool.calls[1].cleaned
    outcome = ended(run)
    assert outcome.state == "aborted"
    assert outcome.error is not None
    assert outcome.error.message == "enough"
    assert house.history() == (
        HELLO,
        called(done, cut),
        result(done, "fine"),
        result(cut, CUT_OFF, error=True),
    )
    finished = tool_events(reader)[-1]
    assert isinstance(finished, ToolFinished)
    assert finished.is_error


def test_a_tool_that_does_not_let_go_is_left(open_house: Open) -> None:
    tool = Slow(cleanup=Deferred())
    house = open_house(toolbox=toolbox(tool.tool))
    run = house.start()
    house.call.use(slow("c1"))
    run.cancel(RunAborted("enough"))
    house.clock.advance(LET_GO_SECONDS)
    assert ended(run).state == "aborted"
    assert house.history()[-1] == result(slow("c1"), CUT_OFF, error=True)
    assert tool.cleanup is not None
    tool.cleanup.callback(None)


def test_the_time_of_a_run_counts_its_tools(open_house: Open) -> None:
    tool = Slow()
    house = open_house(toolbox=toolbox(tool.tool))
    run = house.start()
    house.call.use(slow("c1"))
    house.clock.advance(TIMEOUT)
    assert isinstance(ended(run).error, RunTimedOut)
    assert tool.calls[0].cleaned


def test_a_run_cancelled_while_its_calls_are_stored_makes_none(
    open_house: Open,
) -> None:
    tool = Slow()
    store = GatedStore("extend")
    house = open_house(toolbox=toolbox(tool.tool), store=store)
    run = house.start()
    house.call.use(slow("c1"))
    run.cancel(RunAborted("enough"))
    assert ended(run).state == "aborted"
    assert tool.calls == []


def test_the_next_turn_of_a_cut_one_has_results(open_house: Open) -> None:
    tool = Slow(cleanup=Deferred())
    house = open_house(toolbox=toolbox(tool.tool))
    house.start().cancel(RunAborted("at once"))
    run = house.start(UserMessage("again"))
    house.call.use(slow("c1"))
    run.cancel(RunAborted("enough"))
    house.clock.advance(LET_GO_SECONDS)
    house.start(UserMessage("and?"))
    roles = [type(m) for m in house.call.request.messages]
    place = roles.index(AssistantMessage)
    assert roles[place + 1 :] == [ToolMessage, UserMessage]


# -- beside the client's tools


def test_calls_for_the_client_end_the_run_when_the_agents_are_made(
    open_house: Open,
) -> None:
    house = open_house()
    run = house.start(tools=CLIENTS)
    reader = Reader(run)
    names = [tool.name for tool in house.call.request.tools]
    assert names == ["shout", "weather"]
    mine, theirs = shout("c1", "a"), ToolCall("c2", "weather", '{"at":1}')
    house.call.use(mine, theirs)
    outcome = ended(run)
    assert outcome.finish_reason == "tool_calls"
    assert run.tool_calls() == (theirs,)
    pieces = [e for e in reader.events if isinstance(e, ToolCallDelta)]
    assert pieces[0] == ToolCallDelta(index=0, id="c2", name="weather")
    assert {piece.index for piece in pieces} == {0}
    marked = ToolCall("c2", "weather", '{"at":1}', for_client=True)
    stored = (HELLO, called(mine, marked), result(mine, "A"))
    assert house.history() == stored

    answer = ToolMessage("rain", "c2")
    again = house.start(answer)
    assert house.call.request.messages == (*stored, answer)
    house.call.say("It rains.")
    house.call.finish()
    assert ended(again).state == "done"

    # The client has not heard of that, and sends its result again.
    house.start(answer)
    assert house.call.request.messages == (*stored, answer)


def test_results_sent_again_take_the_place_of_all_that_came_of_them(
    open_house: Open,
) -> None:
    house = open_house()
    house.start(tools=CLIENTS)
    theirs = ToolCall("c2", "weather", "{}")
    house.call.use(theirs)
    answer = ToolMessage("rain", "c2")
    house.start(answer, tools=CLIENTS)
    before = house.call.request.messages
    house.call.use(shout("c3", "a"))
    house.call.fail(ProviderFailed("no"))
    house.start(answer, tools=CLIENTS)
    assert house.call.request.messages == before


def test_a_client_tool_takes_the_place_of_the_agents(open_house: Open) -> None:
    house = open_house()
    run = house.start(tools=(ToolSpec(name="shout"),))
    assert house.call.request.tools == (ToolSpec(name="shout"),)
    house.call.use(shout("c1", "a"))
    assert ended(run).finish_reason == "tool_calls"
    [stored] = [m for m in house.history() if isinstance(m, AssistantMessage)]
    assert [call.for_client for call in stored.tool_calls] == [True]


@pytest.mark.parametrize("choice", ["none", "required", NamedTool("weather")])
def test_who_chooses_among_tools_means_the_clients(
    open_house: Open, choice: Any
) -> None:
    house = open_house()
    house.start(tools=CLIENTS, tool_choice=choice)
    assert house.call.request.tools == CLIENTS
    assert house.call.request.tool_choice == choice


def test_only_permitted_tools_are_offered(open_house: Open) -> None:
    tool = Slow()
    box = toolbox(tool.tool, SHOUT, denied=["slow"])
    assert box.names == ("slow", "shout")
    house = open_house(toolbox=box)
    house.start()
    assert [spec.name for spec in house.call.request.tools] == ["shout"]
    house.call.use(slow("c1"))
    answer = house.call.request.messages[-1]
    assert answer == ToolMessage("There is no tool slow.", "c1", "slow", True)
    policy = box._policy
    assert isinstance(policy, EveryTool)
    assert policy.asked == [("main", "local", "m1", KEY)]


# -- who is told


@pytest.mark.parametrize(
    ("default", "session", "expected"),
    [
        (None, None, False),
        ("on", None, True),
        ("full", None, True),
        ("off", "on", True),
        ("on", "off", False),
    ],
)
def test_watchers_hear_of_tools_where_somebody_wants_it(
    open_house: Open, default: str | None, session: str | None, expected: bool
) -> None:
    house = open_house(verbose=default)
    house.store.patch(
        KEY,
        {"verbose_level": session},
        agent_id="main",
        new_session_id="s",
        now_ms=1769774400000,
    )
    run = house.start()
    assert run.shows_tools is expected
