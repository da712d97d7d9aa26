from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moltbot_gw.agents.log import Cursor, Position
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.text import BLOCK_CHARS
from moltbot_gw.errors import GatewayError, ProviderFailed, RunAborted
from moltbot_gw.events import (
    ModelEvent,
    ReasoningDelta,
    RunEnded,
    RunEvent,
    RunOutcome,
    RunStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.interfaces import IRunSink, IRunSubscriber
from moltbot_gw.messages import ToolCall

from .support import Reader, logged_failures, succeeded

DONE = RunOutcome(state="done", finish_reason="stop", usage=Usage(), ended_at_ms=2)


def run_of(max_bytes: int = 10_000_000) -> Run:
    return Run(run_id="r", agent_id="main", session_key="k", max_bytes=max_bytes)


@implementer(IPushProducer)
class Source:
    """Notes whether it is paused; being told twice in a row is a defect of the run."""

    paused = False

    def pauseProducing(self) -> None:
        assert not self.paused
        self.paused = True

    def resumeProducing(self) -> None:
        assert self.paused
        self.paused = False

    def stopProducing(self) -> None:
        raise AssertionError("a run does not stop its source")


class Flow(RuleBasedStateMachine):
    """Random readers and watchers on one run: the rule of flow holds, and nobody
    misses a word."""

    def __init__(self) -> None:
        super().__init__()
        self.run_ = run_of()
        self.source: Source | None = None
        self.readers: list[Reader] = []
        self.said: list[ModelEvent] = []

    @rule(paused=st.booleans(), watches=st.booleans())
    def subscribe(self, paused: bool, watches: bool) -> None:
        reader = Reader(self.run_, paused=paused, watches=watches)
        self.readers.append(reader)
        if not paused:
            reader.wake()

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        self.readers.remove(reader)
        self.run_.unsubscribe(reader)
        self.run_.unsubscribe(reader)

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), times=st.integers(1, 3))
    def pause(self, data: st.DataObject, times: int) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        for _ in range(times):
            reader.pause()

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.readers)).resume()

    @precondition(lambda self: self.run_.outcome is None)
    @rule(
        texts=st.lists(
            st.sampled_from([("a", 1), ("é\u2028", 1), ("b", 5000), ("c", 50_000)]),
            min_size=1,
            max_size=3,
        ),
        kind=st.sampled_from([TextDelta, ReasoningDelta]),
    )
    def extend(
        self, texts: list[tuple[str, int]], kind: type[TextDelta] | type[ReasoningDelta]
    ) -> None:
        events = [kind(text * count) for text, count in texts]
        self.said.extend(events)
        self.run_.extend(events)

    @precondition(lambda self: self.source is None)
    @rule()
    def register(self) -> None:
        self.source = Source()
        self.run_.registerProducer(self.source, True)

    @rule()
    def unregister(self) -> None:
        self.source = None
        self.run_.unregisterProducer()

    @precondition(lambda self: self.run_.outcome is None)
    @rule()
    def end(self) -> None:
        self.run_.end(DONE)
        self.run_.extend([TextDelta("too late")])

    @invariant()
    def source_is_paused_exactly_when_nobody_takes_anything(self) -> None:
        if self.source is not None:
            is_read = any(not one.watches for one in self.readers)
            waiting = is_read and all(one.paused for one in self.readers)
            assert self.source.paused is waiting

    @invariant()
    def reader_that_is_up_to_date_has_every_word(self) -> None:
        for reader in self.readers:
            if not reader.paused:
                assert reader.text == self.run_.text()
                assert reader.reasoning == self.run_.reasoning()
                ends = [e for e in reader.events if isinstance(e, RunEnded)]
                assert ends == ([RunEnded(DONE)] if self.run_.outcome else [])

    @invariant()
    def log_holds_what_was_said(self) -> None:
        texts = [e.text for e in self.said if isinstance(e, TextDelta)]
        assert self.run_.text() == "".join(texts)


TestFlow = Flow.TestCase
TestFlow.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_run_is_a_sink_and_reader_a_subscriber() -> None:
    run = run_of()
    assert verifyObject(IRunSink, run)
    assert verifyObject(IRunSubscriber, Reader(run))


def test_log_is_read_in_order_from_the_start_by_each_reader() -> None:
    run = run_of()
    first = Reader(run)
    run.begin(1)
    run.extend([ReasoningDelta("hm"), TextDelta("a")])
    run.extend([TextDelta("b")])
    run.end(DONE)
    late = Reader(run)
    late.wake()
    assert late.events == [
        RunStarted(1),
        ReasoningDelta("hm"),
        TextDelta("ab"),
        RunEnded(DONE),
    ]
    assert first.text == late.text


def test_late_reader_gets_long_text_in_bounded_pieces() -> None:
    run = run_of()
    run.extend([TextDelta("x" * 5 * BLOCK_CHARS)])
    reader = Reader(run)
    reader.wake()
    assert len(reader.events) >= 5
    assert all(len(e.text) <= BLOCK_CHARS for e in reader.events)  # type: ignore[union-attr]


def test_cursor_gives_no_more_characters_than_asked_for() -> None:
    run = run_of()
    cursor = Reader(run).cursor
    run.extend([TextDelta("abc")])
    assert run_of().subscribe(Reader(run)).take() is None
    late = Reader(run).cursor
    assert [late.take(2), late.take(2), late.take(2)] == [
        TextDelta("ab"),
        TextDelta("c"),
        None,
    ]
    assert cursor.take() is None


def test_run_ends_once() -> None:
    run = run_of()
    run.end(DONE)
    with pytest.raises(AssertionError):
        run.end(DONE)


def test_each_waiter_has_its_own_deferred() -> None:
    run = run_of()
    waiters = [run.when_ended() for _ in range(3)]
    errors: list[Failure] = []
    waiters[1].addErrback(errors.append)
    waiters[1].cancel()
    run.end(DONE)
    assert [succeeded(waiters[0]), succeeded(waiters[2])] == [DONE, DONE]
    assert errors[0].check(CancelledError)
    assert succeeded(run.when_ended()) == DONE


def test_waiter_that_cancels_another_at_the_end_harms_nobody() -> None:
    run = run_of()
    first, second, third = (run.when_ended() for _ in range(3))
    second.addErrback(lambda failure: failure.trap(CancelledError))
    first.addCallback(lambda _: second.cancel())
    run.end(DONE)
    assert succeeded(third) == DONE


def test_cancelling_after_the_end_is_harmless() -> None:
    run = run_of()
    waiter = run.when_ended()
    run.end(DONE)
    waiter.cancel()
    run.cancel(RunAborted("late"))
    assert succeeded(waiter) == DONE
    assert run.cancelled is None


def test_broken_reader_is_dropped_and_the_others_read_on() -> None:
    run = run_of()
    broken, sound = Reader(run), Reader(run)
    broken.broken = True
    sound.pause()
    source = Source()
    run.registerProducer(source, True)
    with logged_failures() as failures:
        run.extend([TextDelta("a")])
        assert source.paused
        sound.resume()
        run.extend([TextDelta("b")])
    assert sound.text == "ab"
    assert [failure.type for failure in failures] == [RuntimeError]


def test_paused_reader_is_not_woken() -> None:
    run = run_of()
    reader = Reader(run, paused=True)
    run.begin(1)
    run.extend([TextDelta("a")])
    run.end(DONE)
    assert reader.events == []
    reader.resume()
    assert reader.events == [RunStarted(1), TextDelta("a"), RunEnded(DONE)]


def test_watcher_never_holds_the_source_back() -> None:
    run, source = run_of(), Source()
    run.registerProducer(source, True)
    watcher = Reader(run, paused=True, watches=True)
    assert not source.paused
    reader = Reader(run)
    reader.pause()
    assert source.paused
    watcher.resume()
    assert not source.paused
    watcher.pause()
    run.unsubscribe(reader)
    assert not source.paused


def test_watcher_reads_from_the_start() -> None:
    run = run_of()
    run.begin(1)
    run.extend([TextDelta("a")])
    watcher = Reader(run, watches=True)
    watcher.wake()
    run.end(DONE)
    assert watcher.events == [RunStarted(1), TextDelta("a"), RunEnded(DONE)]


def test_run_knows_when_its_last_client_has_gone() -> None:
    run = run_of()
    run.hold()
    run.hold()
    assert not run.release()
    run.hold()
    assert not run.release()
    assert run.is_held
    assert run.release()
    assert not run.is_held


def test_who_is_told_of_the_end_harms_nobody() -> None:
    run = run_of()
    told: list[object] = []

    def fail(_: Run, outcome: RunOutcome) -> None:
        raise ZeroDivisionError

    run.when_ended().addCallback(lambda _: told.append("who waits"))
    run.on_end(lambda _, outcome: told.append(outcome))
    run.on_end(fail)
    run.on_end(lambda _, outcome: told.append(outcome))
    with logged_failures() as failures:
        run.end(DONE)
    assert told == [DONE, DONE, "who waits"]
    assert [failure.type for failure in failures] == [ZeroDivisionError]


Said = list[tuple[type[TextDelta] | type[ReasoningDelta], str]]
said_of: st.SearchStrategy[Said] = st.lists(
    st.tuples(
        st.sampled_from([TextDelta, ReasoningDelta]),
        st.sampled_from(["a", "é\u2028", "bcd" * 7, "x" * BLOCK_CHARS, "y" * 50_000]),
    ),
    max_size=8,
)


def words(events: list[RunEvent], kind: type[TextDelta] | type[ReasoningDelta]) -> str:
    return "".join(one.text for one in events if isinstance(one, kind))


def read(cursor: Cursor, max_chars: int, until: Position | None) -> list[RunEvent]:
    events: list[RunEvent] = []
    while (event := cursor.take(max_chars, until=until)) is not None:
        events.append(event)
    return events


@given(
    said=said_of,
    steps=st.lists(st.integers(1, 40_000), max_size=20),
    max_chars=st.integers(1000, BLOCK_CHARS),
)
@settings(deadline=None)
def test_log_can_be_read_from_any_place_to_any_place(
    said: Said, steps: list[int], max_chars: int
) -> None:
    run = run_of()
    run.begin(1)
    ahead, behind = Cursor(run.log), Cursor(run.log)
    place, seen, told = behind.position, "", ""
    for number, (kind, text) in enumerate(said):
        run.extend([kind(text)])
        for step in steps[number::8]:
            event = ahead.take(step)
            seen += event.text if isinstance(event, TextDelta) else ""
            assert run.log.text_until(ahead.position, len(seen)) == seen
            if seen:
                assert run.log.text_until(ahead.position, len(seen) - 1) is None
        later = Cursor(run.log, place)
        assert later.position == place
        events = read(later, max_chars, ahead.position)
        assert all(len(getattr(event, "text", "")) <= max_chars for event in events)
        told += words(read(behind, 999, ahead.position), TextDelta)
        assert told == run.log.text_until(behind.position, 10**9) == seen
        assert seen.endswith(words(events, TextDelta))
        assert run.log.text_until(later.position, 10**9) == seen
        assert behind.take(until=ahead.position) is None
        place = later.position
    run.end(DONE)
    rest = read(Cursor(run.log, place), max_chars, None)
    assert seen + words(rest, TextDelta) == run.text()
    assert rest[-1] == RunEnded(DONE)


call_pieces = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "é\u2028", "b" * 3000])),
    max_size=30,
)


def written(pieces: list[tuple[int, str]]) -> list[ModelEvent]:
    """Return events that write calls 0 to 2 piece by piece; piece 3 is text."""
    events: list[ModelEvent] = []
    numbers: dict[int, int] = {}
    for number, text in pieces:
        if number == 3:
            events.append(TextDelta(text or "x"))
        elif number in numbers:
            events.append(ToolCallDelta(index=numbers[number], arguments=text))
        else:
            index = numbers[number] = len(numbers)
            name, call_id = f"f{index}", f"c{index}"
            start = ToolCallDelta(index=index, id=call_id, name=name, arguments=text)
            events.append(start)
    return events


def calls_in(events: Iterable[RunEvent]) -> tuple[ToolCall, ...]:
    """Return the calls in *events*, each of which must begin with its name."""
    calls: list[ToolCall] = []
    for event in events:
        if isinstance(event, ToolCallDelta):
            if event.name:
                assert event.index == len(calls)
                calls.append(ToolCall(event.id, event.name, ""))
            assert (event.id == "") is (event.name == "")
            old = calls[event.index]
            whole = old.arguments + event.arguments
            calls[event.index] = ToolCall(old.id, old.name, whole)
    return tuple(calls)


@given(pieces=call_pieces, steps=st.lists(st.integers(1, 4000), min_size=1))
@settings(max_examples=150, deadline=None)
def test_calls_read_in_any_steps_are_those_that_were_written(
    pieces: list[tuple[int, str]], steps: list[int]
) -> None:
    run, events = run_of(), written(pieces)
    ahead, behind = Cursor(run.log), Cursor(run.log)
    early: list[RunEvent] = []
    told: list[RunEvent] = []
    for number, event in enumerate(events):
        run.extend([event])
        found = ahead.take(steps[number % len(steps)])
        early += [] if found is None else [found]
        told += read(behind, steps[0], ahead.position)
        assert behind.position == ahead.position
        assert calls_in(told) == calls_in(early)
        assert words(told, TextDelta) == words(early, TextDelta)
    early += read(ahead, steps[-1], None)
    late = read(Cursor(run.log), steps[0], None)
    assert calls_in(early) == calls_in(late) == calls_in(events) == run.tool_calls()
    assert words(late, TextDelta) == run.text() == words(early, TextDelta)
    for piece in late:
        if isinstance(piece, ToolCallDelta):
            assert len(piece.arguments) <= steps[0]
            assert bool(piece.name) is not bool(piece.arguments)


def test_call_begins_with_a_piece_of_its_own() -> None:
    run = run_of()
    run.extend([ToolCallDelta(index=0, id="c", name="f", arguments='{"a"')])
    run.extend([ToolCallDelta(index=0, arguments=":1}")])
    assert read(Cursor(run.log), 100, None) == [
        ToolCallDelta(index=0, id="c", name="f"),
        ToolCallDelta(index=0, arguments='{"a":1}'),
    ]


def test_pieces_of_calls_that_take_turns_keep_their_order() -> None:
    run = run_of()
    first = ToolCallDelta(index=0, id="c", name="f", arguments="1")
    second = ToolCallDelta(index=1, id="d", name="g")
    more = [ToolCallDelta(index=index, arguments=str(index + 2)) for index in (0, 1)]
    run.extend([first, second, *more])
    assert run.tool_calls() == (ToolCall("c", "f", "12"), ToolCall("d", "g", "3"))
    late = read(Cursor(run.log), 100, None)
    assert [event.index for event in late] == [0, 0, 1, 0, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("field", ["id", "name", "arguments"])
def test_each_part_of_a_call_counts_for_the_limit(field: str) -> None:
    run = run_of(max_bytes=8)
    fields = {"id": "c", "name": "f", field: "x" * 9}
    run.extend([ToolCallDelta(index=0, **fields)])
    assert isinstance(run.cancelled, ProviderFailed)
    assert run.tool_calls() == ()


def test_text_of_a_run_that_said_nothing_is_empty() -> None:
    run = run_of()
    assert run.log.text_until((0, 0), 0) == ""
    run.begin(1)
    run.extend([ReasoningDelta("hm")])
    assert run.log.text_until((2**31, 0), 0) == ""


def test_reading_to_a_place_stops_there_for_good() -> None:
    run = run_of()
    run.begin(1)
    run.extend([TextDelta("abc")])
    first = Cursor(run.log)
    first.take()
    first.take(2)
    run.extend([TextDelta("def"), ReasoningDelta("hm")])
    second = Cursor(run.log)
    assert read(second, 10, first.position) == [RunStarted(1), TextDelta("ab")]
    assert second.position == first.position
    assert read(second, 10, (0, 0)) == []
    assert read(second, 10, None) == [TextDelta("cdef"), ReasoningDelta("hm")]


def test_source_may_speak_while_it_is_resumed() -> None:
    run = run_of()

    class Eager(Source):
        def resumeProducing(self) -> None:
            super().resumeProducing()
            run.extend([TextDelta("a")])

    reader = Reader(run, paused=True)
    run.registerProducer(Eager(), True)
    reader.paused = False
    run.flow_changed()
    assert reader.text == "a"


@pytest.mark.parametrize("pieces", [["aaaa", "bbbb"], ["aaaa", "éé"]])
def test_run_at_its_limit_goes_on(pieces: list[str]) -> None:
    run = run_of(max_bytes=8)
    for piece in pieces:
        run.extend([TextDelta(piece)])
    assert (run.cancelled, run.text()) == (None, "".join(pieces))


@pytest.mark.parametrize("piece", ["bbbbb", "ééé"])
def test_run_over_its_limit_is_cancelled_as_the_providers_failure(piece: str) -> None:
    run = run_of(max_bytes=8)
    reasons: list[GatewayError] = []
    run.on_cancel(reasons.append)
    reader = Reader(run)
    run.extend([TextDelta("aaaa"), TextDelta(piece), TextDelta("c")])
    assert isinstance(run.cancelled, ProviderFailed)
    assert reasons == [run.cancelled]
    assert reader.text == "aaaa"


def test_reasoning_counts_for_the_limit() -> None:
    run = run_of(max_bytes=8)
    run.extend([ReasoningDelta("a" * 9)])
    assert isinstance(run.cancelled, ProviderFailed)


def test_cancelled_run_takes_no_more_words() -> None:
    run = run_of()
    run.extend([TextDelta("a")])
    run.cancel(RunAborted("enough"))
    run.extend([TextDelta("b")])
    assert run.text() == "a"


def test_first_reason_to_cancel_counts() -> None:
    run = run_of()
    reasons: list[GatewayError] = []
    first = RunAborted("first")
    run.on_cancel(reasons.append)
    run.cancel(first)
    run.cancel(RunAborted("second"))
    assert (run.cancelled, reasons) == (first, [first])


def test_cancel_reaches_what_starts_later() -> None:
    run = run_of()
    reasons: list[GatewayError] = []
    first = RunAborted("first")
    run.cancel(first)
    run.on_cancel(None)
    run.on_cancel(reasons.append)
    assert reasons == [first]


def test_source_pushes_and_there_is_one_at_a_time() -> None:
    run = run_of()
    with pytest.raises(AssertionError):
        run.registerProducer(Source(), False)
    run.registerProducer(Source(), True)
    with pytest.raises(AssertionError):
        run.registerProducer(Source(), True)
