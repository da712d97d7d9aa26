"""What a run sends stays within the window of its model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from moltbot_gw.agents.summarizer import SUMMARY_SECONDS
from moltbot_gw.agents.summary import PLACEHOLDER
from moltbot_gw.agents.window import CompactionSettings
from moltbot_gw.errors import (
    GatewayError,
    InvalidRequest,
    ProviderFailed,
    ProviderTimedOut,
    RunAborted,
)
from moltbot_gw.events import CompactionEnded, CompactionStarted, Usage
from moltbot_gw.messages import (
    AssistantMessage,
    Message,
    ModelRequest,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from tests.agents.support import failed, succeeded
from tests.agents.talking import HEADING, Model, Talk, check_calls_have_results, size_of

LONG = "word " * 400  # 500 tokens


def _fill(talk: Talk, tokens: int) -> None:
    """Talk until the context has *tokens* or a little more."""
    while not talk.model.calls or size_of(talk.model.calls[-1]) < tokens:
        talk.turn(LONG)


def _summary_of(call: ModelRequest) -> str:
    first = call.messages[0]
    assert isinstance(first, UserMessage)
    content = str(first.content)
    assert content.startswith(HEADING)
    return content.removeprefix(HEADING)


def words_of(request: ModelRequest) -> str:
    """Return what a model is shown to summarise."""
    [message] = request.messages
    assert isinstance(message, UserMessage)
    return str(message.content)


def _call(number: int) -> AssistantMessage:
    return AssistantMessage(tool_calls=(ToolCall(f"c{number}", "look", "{}"),))


def _result(number: int, text: str = LONG) -> ToolMessage:
    return ToolMessage(text, f"c{number}")


def test_short_conversation_is_sent_as_it_is() -> None:
    talk = Talk()
    talk.turn("hello")
    call = talk.turn("and?")
    assert call.messages == (*talk.transcript()[:2], UserMessage("and?"))
    assert talk.events == []


def test_long_conversation_is_summarised() -> None:
    talk = Talk()
    _fill(talk, 15_000)
    before = talk.transcript()
    call = talk.turn(LONG)
    while not talk.events:
        before = talk.transcript()
        call = talk.turn(LONG)
    assert talk.events == [CompactionStarted(), CompactionEnded()]
    assert _summary_of(call) == "summary 1"
    kept = call.messages[1:]
    assert kept == (*before, UserMessage(LONG))[-len(kept) :]
    assert isinstance(kept[0], UserMessage)
    assert 4_000 < size_of(call) < 12_000
    assert talk.transcript()[: len(before)] == before
    assert talk.history().summary == "summary 1"


def test_next_run_reads_the_summary_and_what_follows() -> None:
    talk = Talk()
    while not talk.events:
        call = talk.turn(LONG)
    sent = len(call.messages)
    call = talk.turn("and?")
    assert _summary_of(call) == "summary 1"
    assert len(call.messages) == sent + 2
    assert len(talk.model.summaries) == 1


def test_later_summary_is_made_from_the_earlier_one() -> None:
    talk = Talk()
    while len(talk.model.summaries) < 3:
        call = talk.turn(LONG)
    assert _summary_of(call) == "summary 3"
    for number, request in enumerate(talk.model.summaries[1:], 1):
        assert f"summary {number}\n</summary-so-far>" in words_of(request)
    found = succeeded(talk.store.find_session("agent:main:main"))
    assert found.compactions == 3
    assert found.tokens_before > 16_000


def test_provider_that_counts_nothing_is_not_needed() -> None:
    talk = Talk(Model(counts=False))
    for _ in range(100):
        talk.turn(LONG)
    assert talk.model.summaries
    assert max(map(size_of, talk.model.calls)) < 17_000


def test_counts_of_the_provider_are_believed() -> None:
    """A model whose tokens are smaller than we think gets its summary in time."""
    talk = Talk()
    context, call = talk.begin(UserMessage(LONG))
    for tokens in (3_000, 6_000, 9_000, 15_000, 20_000):
        assert talk.events == []
        said = (AssistantMessage(LONG),)
        context.kept(said, Usage(total_tokens=tokens))
        call = ModelRequest(model="m1", system="", messages=call.messages + said)
        fitted = talk.fit(context, call)
    assert talk.events == [CompactionStarted(), CompactionEnded()]
    assert len(fitted.messages) < len(call.messages)


def test_count_that_is_far_too_low_is_not_believed() -> None:
    talk = Talk()
    context, call = talk.begin(*[UserMessage(LONG)] * 3)
    said = tuple(AssistantMessage(LONG) for _ in range(30))
    for one in said:
        context.kept((one,), Usage(total_tokens=1))
    call = ModelRequest(model="m1", system="", messages=call.messages + said)
    assert size_of(talk.fit(context, call)) < 16_000
    assert talk.model.summaries


def test_request_is_never_cut() -> None:
    """A client that sends its whole conversation shortens it itself."""
    talk = Talk()
    news = [UserMessage(LONG), AssistantMessage(LONG)] * 20 + [UserMessage(LONG)]
    context, call = talk.begin(*news)
    assert talk.fit(context, call) == call
    assert talk.model.summaries == []


def test_history_before_a_long_request_is_summarised() -> None:
    talk = Talk()
    _fill(talk, 8_000)
    news = [UserMessage(LONG), AssistantMessage(LONG)] * 8 + [UserMessage(LONG)]
    context, call = talk.begin(*news)
    fitted = talk.fit(context, call)
    assert _summary_of(fitted) == "summary 1"
    assert fitted.messages[1:] == tuple(news)


def test_long_run_is_summarised_between_its_rounds() -> None:
    talk = Talk()
    talk.turn("hello")
    asked = UserMessage("find it")
    context, call = talk.begin(asked)
    call = talk.fit(context, call)
    for number in range(100):
        call = talk.round(context, call, _call(number), _result(number))
        call = talk.fit(context, call)
        check_calls_have_results(call.messages)
        assert size_of(call) < 17_000
        assert call.messages.count(asked) == 1  # the run does not lose sight of it
        assert call.messages[-1] == _result(number)
    talk.finish(call)
    assert len(talk.model.summaries) > 3
    assert len(talk.transcript()) == 2 + 1 + 200 + 1
    history = talk.history()
    assert not isinstance(history.messages[0], ToolMessage)
    assert _summary_of(talk.turn("thanks")) == history.summary


def test_call_that_was_not_fitted_may_be_extended_too() -> None:
    talk = Talk()
    context, call = talk.begin(UserMessage("find it"))
    for number in range(60):
        call = talk.round(context, call, _call(number), _result(number, "a" * 2000))
        fitted = talk.fit(context, call)
        check_calls_have_results(fitted.messages)
        talk.model.calls.clear()
        if size_of(call) > 30_000:
            break
    assert len(talk.model.summaries) > 1
    assert size_of(fitted) < 17_000
    # What was summarised does not come back.
    assert fitted.messages[0] != call.messages[0]


def test_results_of_a_clients_tools_stay_with_their_calls() -> None:
    talk = Talk()
    _fill(talk, 14_000)
    context, call = talk.begin(UserMessage("look"))
    calls = _call(1)
    call = talk.round(context, talk.fit(context, call), calls)
    context, call = talk.begin(_result(1, "a" * 9000))
    fitted = talk.fit(context, call)
    assert talk.events
    check_calls_have_results(fitted.messages)
    assert fitted.messages[-2:] == (calls, _result(1, "a" * 9000))


@pytest.mark.parametrize("more", [(), (UserMessage("and hurry"),)])
def test_results_are_cut_off_with_their_calls(more: tuple[UserMessage, ...]) -> None:
    """Of a request that begins with results, only the words of the user stay."""
    talk = Talk()
    context, call = talk.begin(UserMessage("look"))
    talk.round(context, talk.fit(context, call), _call(0))
    context, call = talk.begin(_result(0), *more)
    for number in range(1, 60):
        call = talk.round(context, call, _call(number), _result(number))
        call = talk.fit(context, call)
        check_calls_have_results(call.messages)
    assert len(talk.model.summaries) > 1
    assert call.messages[1 : 1 + len(more)] == more
    assert isinstance(call.messages[1 + len(more)], AssistantMessage)


def test_failure_does_not_matter_while_there_is_room() -> None:
    talk = Talk(Model(fails=ProviderFailed("no")))
    while not talk.events:
        call = talk.turn(LONG)
    assert talk.events == [CompactionStarted(), CompactionEnded()]
    assert len(call.messages) == len(talk.transcript()) - 1
    assert talk.history().summary is None
    talk.model.fails = None
    assert _summary_of(talk.turn(LONG)) == "summary 2"


@pytest.mark.parametrize(
    "error",
    [
        ProviderFailed("no"),
        ProviderTimedOut("late"),
        InvalidRequest("too long", code="context_length_exceeded"),
    ],
)
def test_placeholder_stands_for_what_no_longer_fits(error: GatewayError) -> None:
    talk = Talk(Model(fails=error))
    while talk.history().summary is None:
        talk.turn(LONG)
    call = talk.model.calls[-1]
    assert _summary_of(call) == PLACEHOLDER
    assert size_of(call) < 17_000
    assert len(talk.transcript()) == 2 * talk.runs


def test_placeholder_stands_behind_an_earlier_summary() -> None:
    talk = Talk()
    while not talk.events:
        talk.turn(LONG)
    talk.model.fails = ProviderFailed("no")
    while talk.history().first_seq < 100:
        talk.turn(LONG)
    assert talk.history().summary == f"summary 1\n\n{PLACEHOLDER}"


@pytest.mark.parametrize("error", [RunAborted("stop"), RuntimeError("a defect")])
def test_what_is_no_failure_of_the_model_ends_the_run(error: Exception) -> None:
    talk = Talk()
    _fill(talk, 15_500)
    talk.model.fails = error  # type: ignore[assignment]
    context, call = talk.begin(UserMessage(LONG * 3))
    fit = context.fit(call, model=talk.model.ref, summarize=talk.model.summarize)
    assert failed(Deferred.fromCoroutine(fit)) is error
    assert talk.events == [CompactionStarted(), CompactionEnded()]
    assert talk.history().summary is None


def _waiting() -> tuple[Talk, Deferred[ModelRequest]]:
    talk = Talk()
    _fill(talk, 15_500)
    talk.model.wait = True
    context, call = talk.begin(UserMessage(LONG * 3))
    fit = context.fit(call, model=talk.model.ref, summarize=talk.model.summarize)
    return talk, Deferred.fromCoroutine(fit)


def test_cancelling_ends_the_waiting() -> None:
    talk, waiting = _waiting()
    waiting.cancel()
    assert isinstance(failed(waiting), CancelledError)
    assert talk.model.waiting is not None
    assert talk.model.waiting.called
    assert talk.clock.getDelayedCalls() == []
    assert talk.history().summary is None
    assert talk.events[-1] == CompactionEnded()


def test_summary_that_takes_too_long_is_given_up() -> None:
    talk, waiting = _waiting()
    talk.clock.advance(SUMMARY_SECONDS)
    assert len(succeeded(waiting).messages) == len(talk.transcript())
    assert talk.history().summary is None


def test_summary_that_comes_in_time_leaves_no_timer() -> None:
    talk, waiting = _waiting()
    assert talk.model.waiting is not None
    talk.model.waiting.callback("gist")
    assert _summary_of(succeeded(waiting)) == "gist"
    assert talk.clock.getDelayedCalls() == []


def test_overflow_is_answered_with_a_shorter_call() -> None:
    talk = Talk()
    _fill(talk, 9_000)
    context, call = talk.begin(UserMessage("and?"))
    call = talk.fit(context, call)
    assert talk.events == []
    shorter = talk.overflow(context, call)
    assert talk.events == [CompactionStarted(), CompactionEnded(will_retry=True)]
    assert _summary_of(shorter) == "summary 3"  # the model is shown less at a time
    assert size_of(shorter) < size_of(call) // 2
    assert shorter.messages[-1] == UserMessage("and?")
    assert talk.history().summary == "summary 3"


def test_overflow_without_a_summary_is_answered_too() -> None:
    talk = Talk(Model(fails=ProviderFailed("no")))
    _fill(talk, 9_000)
    context, call = talk.begin(UserMessage("and?"))
    assert _summary_of(talk.overflow(context, call)) == PLACEHOLDER
    assert talk.events == [CompactionStarted(), CompactionEnded(will_retry=True)]


def test_no_retry_is_told_of_when_a_run_is_cut_off() -> None:
    talk = Talk(Model(fails=RunAborted("stop")))
    _fill(talk, 9_000)
    context, call = talk.begin(UserMessage("and?"))
    ref, summarize = talk.model.ref, talk.model.summarize
    again = context.overflowed(call, model=ref, summarize=summarize)
    assert isinstance(failed(Deferred.fromCoroutine(again)), RunAborted)
    assert talk.events == [CompactionStarted(), CompactionEnded()]


def test_request_that_is_too_long_by_itself_is_refused() -> None:
    talk = Talk()
    context, call = talk.begin(UserMessage("a" * 200_000))
    with pytest.raises(InvalidRequest, match="Context overflow") as caught:
        talk.overflow(context, talk.fit(context, call))
    assert caught.value.code == "context_length_exceeded"


def test_user_may_ask_for_a_summary() -> None:
    talk = Talk()
    for _ in range(4):
        talk.turn(LONG)
    context = talk.open()
    ref, summarize = talk.model.ref, talk.model.summarize
    done = context.compact(model=ref, summarize=summarize, instructions="the names")
    shortened = succeeded(Deferred.fromCoroutine(done))
    assert shortened.tokens_after < shortened.tokens_before
    assert "the names" in words_of(talk.model.summaries[0])
    assert talk.events == [CompactionStarted(), CompactionEnded()]
    assert _summary_of(talk.turn("and?")) == "summary 1"
    assert talk.history().first_seq > 3


@pytest.mark.parametrize("turns", [0, 1])
def test_there_may_be_nothing_to_summarise(turns: int) -> None:
    talk = Talk()
    for _ in range(turns):
        context, call = talk.begin(UserMessage("look"))
        call = talk.round(context, talk.fit(context, call), _call(1), _result(1))
        talk.finish(call)
    done = talk.open().compact(model=talk.model.ref, summarize=talk.model.summarize)
    assert succeeded(Deferred.fromCoroutine(done)) is None
    assert talk.events == []


def test_user_is_told_that_there_is_no_summary() -> None:
    talk = Talk(Model(fails=ProviderFailed("no")))
    for _ in range(4):
        talk.turn(LONG)
    done = talk.open().compact(model=talk.model.ref, summarize=talk.model.summarize)
    assert isinstance(failed(Deferred.fromCoroutine(done)), ProviderFailed)
    assert talk.history().summary is None


def test_failed_calls_are_named_behind_the_summary() -> None:
    for mode, expected in ((True, "look: it broke"), (False, "summary 1")):
        talk = Talk(settings=CompactionSettings(lists=mode))
        context, call = talk.begin(UserMessage("look"))
        broken = ToolMessage("it broke", "c1", is_error=True)
        talk.finish(talk.round(context, talk.fit(context, call), _call(1), broken))
        talk.turn(LONG)
        done = talk.open().compact(model=talk.model.ref, summarize=talk.model.summarize)
        succeeded(Deferred.fromCoroutine(done))
        assert str(talk.history().summary).endswith(expected)


def test_session_that_was_deleted_meanwhile_ends_as_it_would() -> None:
    talk, waiting = _waiting()
    talk.store.delete("agent:main:main")
    assert talk.model.waiting is not None
    talk.model.waiting.callback("gist")
    assert _summary_of(succeeded(waiting)) == "gist"


def test_too_small_a_window_is_refused() -> None:
    talk = Talk(Model(window=8_000))
    with pytest.raises(InvalidRequest, match="context window"):
        talk.turn("hello")


def test_small_window_is_told_of_once() -> None:
    talk = Talk(Model(window=16_000), clock=Clock())
    compactor = talk.compactor
    assert compactor.window(talk.model.ref) == compactor.window(talk.model.ref)
    for _ in range(60):
        assert size_of(talk.turn(LONG)) < 9_500


def test_summary_of_a_larger_model_fits_a_smaller_one() -> None:
    talk = Talk(Model(window=200_000))
    for _ in range(4):
        talk.turn(LONG)
    talk.model.wait = True
    done = talk.open().compact(model=talk.model.ref, summarize=talk.model.summarize)
    waiting = Deferred.fromCoroutine(done)
    assert talk.model.waiting is not None
    talk.model.waiting.callback("a" * 32_000)
    succeeded(waiting)
    talk.model.wait = False
    talk.model.window = 16_000
    for _ in range(20):
        assert size_of(talk.turn(LONG)) < 14_000
    assert len(str(talk.history().summary)) < 100


_LENGTHS = st.integers(0, 8_000)  # three and a request fit into any window
_ROUND = st.lists(_LENGTHS, min_size=1, max_size=3)
_TURN = st.tuples(_LENGTHS, st.lists(_ROUND, max_size=4))


@settings(max_examples=60, deadline=None)
@given(st.lists(_TURN, min_size=1, max_size=12), st.booleans(), st.integers(16, 40))
def test_calls_keep_their_results_whatever_comes(
    turns: list[tuple[int, list[list[int]]]], counts: bool, kilo_tokens: int
) -> None:
    talk = Talk(Model(window=kilo_tokens * 1000, counts=counts))
    stored: list[Message] = []
    for number, (length, rounds) in enumerate(turns):
        asked = UserMessage(f"{number} " + "a" * length)
        context, call = talk.begin(asked)
        call = _checked(talk, talk.fit(context, call), asked, asked)
        stored.append(asked)
        for place, lengths in enumerate(rounds):
            ids = [f"{number}-{place}-{n}" for n in range(len(lengths))]
            calls = tuple(ToolCall(one, "look", "{}") for one in ids)
            results = map(ToolMessage, ["r" * n for n in lengths], ids)
            messages = (AssistantMessage(tool_calls=calls), *results)
            stored += messages
            call = talk.fit(context, talk.round(context, call, *messages))
            call = _checked(talk, call, asked, messages[-1])
        talk.finish(call)
        stored.append(AssistantMessage(talk.model.answer, stop_reason="stop"))
    assert talk.transcript() == stored


def _checked(
    talk: Talk, call: ModelRequest, asked: Message, last: Message
) -> ModelRequest:
    check_calls_have_results(call.messages)
    assert asked in call.messages
    assert call.messages[-1] == last
    assert size_of(call) <= talk.model.window
    return call
