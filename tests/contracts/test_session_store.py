"""What every session store does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from moltbot_gw.errors import StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from moltbot_gw.sessions import SqliteSessionStore
from moltbot_gw.stored import History, OverviewQuery, SessionSummary, TurnRound
from tests.contracts.support import Subject
from tests.sessions.support import KEY, Pump, end, start
from tests.support.memory_store import MemorySessionStore


def test_provides_the_interface(subject: Subject) -> None:
    assert verifyObject(ISessionStore, subject.store)


def test_unknown_session_has_no_history(subject: Subject) -> None:
    assert subject.history() == History()
    assert subject.summaries() == []


def test_first_half_of_a_turn_is_in_the_history(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    assert subject.history() == History(
        session_id="id-1", messages=(UserMessage(content="hello"),)
    )


def test_turns_come_back_in_their_order(subject: Subject) -> None:
    subject.turn("run-1")
    subject.turn("run-2")
    assert subject.words() == ["hello", "hi", "hello", "hi"]


def test_every_kind_of_message_comes_back_as_it_was(subject: Subject) -> None:
    asked = (
        UserMessage(
            content=(
                TextPart(text="l\u00efne\u2028\U0001f600"),
                ImagePart(url="data:,", detail="low"),
            ),
            name="ann",
        ),
        AssistantMessage(
            reasoning="hm", tool_calls=(ToolCall(id="c", name="f", arguments="{}"),)
        ),
        ToolMessage(content="42", tool_call_id="c", name="f"),
    )
    answer = AssistantMessage(text="", stop_reason="aborted")
    subject.wait(subject.store.begin_turn(start(messages=asked)))
    subject.wait(subject.store.end_turn(end(messages=(answer,), state="aborted")))
    assert subject.history().messages == (*asked, answer)


def _round(*messages: Message, **changes: Any) -> TurnRound:
    return msgspec.structs.replace(
        TurnRound(
            run_id="run-1",
            session_key=KEY,
            session_id="id-1",
            messages=messages,
            at_ms=1500,
        ),
        **changes,
    )


_CALL = AssistantMessage(tool_calls=(ToolCall("c", "read", "{}"),))
_RESULT = ToolMessage(content="no", tool_call_id="c", name="read", is_error=True)


def test_rounds_of_a_turn_stand_between_its_halves(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.extend_turn(_round(_CALL, _RESULT)))
    subject.wait(subject.store.end_turn(end()))
    assert subject.history().messages[1:3] == (_CALL, _RESULT)
    assert subject.words()[3:] == ["hi"]


def test_round_of_a_session_that_is_gone_is_dropped(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.delete(KEY))
    subject.wait(subject.store.extend_turn(_round(_CALL)))
    assert subject.history() == History()


def test_round_of_a_run_that_is_over_is_refused(subject: Subject) -> None:
    subject.turn("run-1")
    with pytest.raises(StoreFailed):
        subject.wait(subject.store.extend_turn(_round(_CALL)))
    assert subject.words() == ["hello", "hi"]


def test_round_follows_its_run_into_a_compacted_session(subject: Subject) -> None:
    for number in range(3):
        subject.turn(f"old-{number}")
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.compact(KEY, 1, "id-2", 1200))
    subject.wait(subject.store.extend_turn(_round(_CALL, _RESULT)))
    history = subject.history()
    assert history.session_id == "id-2"
    assert history.messages[-2:] == (_CALL, _RESULT)


def test_counts_of_a_session_are_those_of_the_last_model_call(subject: Subject) -> None:
    usage, last = Usage(total_tokens=30), Usage(total_tokens=20)
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.end_turn(end(usage=usage, context=last)))
    (summary,) = subject.summaries()
    assert summary.total_tokens == 20
    (line,) = subject.wait(subject.store.usage(0))
    assert line.total_tokens == 30


def test_session_touched_too_long_ago_has_no_history(subject: Subject) -> None:
    subject.turn("run-1", at_ms=5000)
    assert subject.history(fresh_after_ms=5000).session_id == "id-1"
    assert subject.history(fresh_after_ms=5001) == History()


def test_sessions_do_not_see_each_other(subject: Subject) -> None:
    subject.turn("run-1", key="agent:main:a")
    subject.wait(subject.store.begin_turn(start("run-1", key="agent:main:b")))
    assert subject.words("agent:main:a") == ["hello", "hi"]
    assert subject.words("agent:main:b") == ["hello"]


def test_one_session_can_be_found(subject: Subject) -> None:
    subject.turn("run-1")
    subject.turn("run-1", key="agent:main:other")
    found = subject.wait(subject.store.find_session(KEY))
    assert found is not None
    assert found in subject.summaries()
    assert (found.session_key, found.messages) == (KEY, 2)
    assert subject.wait(subject.store.find_session("agent:main:none")) is None


def test_another_session_id_starts_the_key_afresh(subject: Subject) -> None:
    subject.turn("run-1")
    subject.wait(subject.store.begin_turn(start("run-2", session_id="id-2")))
    assert subject.history().session_id == "id-2"
    assert subject.words() == ["hello"]
    assert len(subject.summaries()) == 1


def test_an_older_session_id_brings_its_transcript_back(subject: Subject) -> None:
    subject.turn("run-1")
    subject.turn("run-2", session_id="id-2")
    subject.turn("run-3", session_id="id-1")
    assert subject.history().session_id == "id-1"
    assert subject.words() == ["hello", "hi"] * 2


def test_runs_of_one_session_may_overlap(subject: Subject) -> None:
    for run_id in ("run-1", "run-2"):
        subject.wait(subject.store.begin_turn(start(run_id)))
    for run_id in ("run-1", "run-2"):
        subject.wait(subject.store.end_turn(end(run_id)))
    assert subject.words() == ["hello", "hello", "hi", "hi"]


def test_end_without_words_stores_none(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.end_turn(end(messages=(), state="failed")))
    assert subject.words() == ["hello"]
    subject.turn("run-2")
    assert subject.words() == ["hello", "hello", "hi"]


def test_run_begins_once(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    with pytest.raises(StoreFailed):
        subject.wait(subject.store.begin_turn(start()))
    assert subject.words() == ["hello"]


@pytest.mark.parametrize("is_running", [True, False])
def test_run_of_a_repeated_key_takes_the_place_of_the_older(
    subject: Subject, is_running: bool
) -> None:
    subject.wait(subject.store.begin_turn(start(model="m1", idempotency_key="k")))
    if not is_running:
        subject.wait(subject.store.end_turn(end(usage=Usage(total_tokens=3))))
    subject.wait(subject.store.begin_turn(start(model="m2", idempotency_key="k")))
    run = subject.transcript().entries[-1]
    assert (run.model, run.state, run.usage) == ("m2", "running", None)
    subject.wait(subject.store.end_turn(end()))
    assert subject.transcript().entries[-1].state == "done"


def test_a_turn_bears_the_model_that_has_answered(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    answered = msgspec.structs.replace(end(), provider="other", model="m2")
    subject.wait(subject.store.end_turn(answered))
    (summary,) = subject.summaries()
    assert (summary.provider, summary.model) == ("other", "m2")
    transcript = subject.wait(subject.store.transcript(KEY, 10))
    assert {(e.provider, e.model) for e in transcript.entries} == {("other", "m2")}
    (line,) = subject.wait(subject.store.usage(0))
    assert (line.provider, line.model) == ("other", "m2")


def test_run_id_of_an_ended_run_may_come_again(subject: Subject) -> None:
    subject.turn("run-1")
    subject.turn("run-1")
    assert subject.words() == ["hello", "hi"] * 2


def test_run_ends_once(subject: Subject) -> None:
    subject.turn("run-1")
    with pytest.raises(StoreFailed):
        subject.wait(subject.store.end_turn(end("run-1")))
    assert subject.words() == ["hello", "hi"]


def test_unknown_run_cannot_end(subject: Subject) -> None:
    subject.turn("run-1")
    with pytest.raises(StoreFailed):
        subject.wait(subject.store.end_turn(end("run-2")))


def test_summary_tells_all_of_a_session(subject: Subject) -> None:
    usage = Usage(prompt_tokens=7, completion_tokens=3, total_tokens=11)
    subject.wait(subject.store.begin_turn(start(at_ms=1000, anonymous=True)))
    subject.wait(subject.store.end_turn(end(state="aborted", usage=usage, at_ms=3000)))
    assert subject.summaries() == [
        SessionSummary(
            session_key=KEY,
            session_id="id-1",
            agent_id="main",
            created_at_ms=1000,
            updated_at_ms=3000,
            anonymous=True,
            aborted_last_run=True,
            provider="local",
            model="m1",
            input_tokens=7,
            output_tokens=3,
            total_tokens=11,
            messages=2,
        )
    ]


def test_summary_follows_the_last_run(subject: Subject) -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    subject.wait(subject.store.begin_turn(start("run-1", anonymous=True)))
    subject.wait(subject.store.end_turn(end("run-1", state="aborted", usage=usage)))
    subject.wait(subject.store.begin_turn(start("run-2", at_ms=5000, model="m2")))
    subject.wait(subject.store.end_turn(end("run-2", at_ms=6000, usage=usage)))
    (summary,) = subject.summaries()
    assert (summary.created_at_ms, summary.updated_at_ms) == (1000, 6000)
    assert (summary.model, summary.anonymous) == ("m2", False)
    assert not summary.aborted_last_run
    assert summary.total_tokens == 3


def test_run_without_usage_leaves_the_counts(subject: Subject) -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    subject.wait(subject.store.begin_turn(start("run-1")))
    subject.wait(subject.store.end_turn(end("run-1", usage=usage)))
    subject.wait(subject.store.begin_turn(start("run-2")))
    subject.wait(subject.store.end_turn(end("run-2", state="failed")))
    (summary,) = subject.summaries()
    counts = (summary.input_tokens, summary.output_tokens, summary.total_tokens)
    assert counts == (1, 2, 3)


def test_last_touched_session_is_listed_first(subject: Subject) -> None:
    for key, at_ms in (("a", 2000), ("b", 3000), ("c", 1000), ("d", 2000)):
        subject.turn("run", key=key, at_ms=at_ms)
    assert [one.session_key for one in subject.summaries()] == ["b", "a", "d", "c"]


def test_reset_session_is_empty_and_goes_on(subject: Subject) -> None:
    subject.turn("run-1")
    assert subject.wait(subject.store.reset(KEY, "id-2", 9000)) is True
    assert subject.history() == History(session_id="id-2")
    (summary,) = subject.summaries()
    assert (summary.created_at_ms, summary.updated_at_ms) == (9000, 9000)
    assert (summary.agent_id, summary.model, summary.total_tokens) == ("main", "m1", 0)
    subject.turn("run-2", session_id="id-2")
    assert subject.words() == ["hello", "hi"]


def test_unknown_session_cannot_be_reset(subject: Subject) -> None:
    assert subject.wait(subject.store.reset(KEY, "id-2", 9000)) is False
    assert subject.summaries() == []


def test_reset_needs_an_id_that_is_not_in_use(subject: Subject) -> None:
    subject.turn("run-1")
    with pytest.raises(StoreFailed):
        subject.wait(subject.store.reset(KEY, "id-1", 9000))
    assert subject.words() == ["hello", "hi"]


def test_turn_that_ends_after_a_reset_leaves_the_new_session_alone(
    subject: Subject,
) -> None:
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.reset(KEY, "id-2", 9000))
    subject.wait(subject.store.end_turn(end(state="aborted", at_ms=9500)))
    assert subject.history() == History(session_id="id-2")
    (summary,) = subject.summaries()
    assert (summary.updated_at_ms, summary.aborted_last_run) == (9000, False)
    subject.wait(subject.store.begin_turn(start("run-2")))
    assert subject.words() == ["hello", "hi", "hello"]


def test_deleted_session_is_gone_with_its_older_transcripts(subject: Subject) -> None:
    subject.turn("run-1")
    subject.turn("run-2", session_id="id-2")
    assert subject.wait(subject.store.delete(KEY)) is True
    assert subject.history() == History()
    assert subject.summaries() == []
    subject.wait(subject.store.begin_turn(start("run-1")))
    assert subject.words() == ["hello"]


def test_unknown_session_cannot_be_deleted(subject: Subject) -> None:
    subject.turn("run-1", key="agent:main:other")
    assert subject.wait(subject.store.delete(KEY)) is False
    assert len(subject.summaries()) == 1


def test_turn_that_ends_after_a_delete_stores_nothing(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.delete(KEY))
    subject.wait(subject.store.end_turn(end()))
    assert subject.history() == History()


def test_pruning_takes_only_old_anonymous_idle_sessions(subject: Subject) -> None:
    cases = [("old", 1000, True), ("young", 5000, True), ("named", 1000, False)]
    for key, at_ms, anonymous in cases:
        begun = start(key=key, at_ms=at_ms, anonymous=anonymous)
        subject.wait(subject.store.begin_turn(begun))
        subject.wait(subject.store.end_turn(end(key=key, at_ms=at_ms)))
    subject.wait(subject.store.begin_turn(start(key="running", anonymous=True)))
    assert subject.wait(subject.store.prune_anonymous(5000)) == 1
    left = {one.session_key for one in subject.summaries()}
    assert left == {"young", "named", "running"}


def test_pruning_leaves_a_session_whose_older_transcript_runs(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start("run-1", anonymous=True)))
    subject.wait(subject.store.reset(KEY, "id-2", 1000))
    assert subject.wait(subject.store.prune_anonymous(5000)) == 0
    subject.wait(subject.store.end_turn(end("run-1")))
    assert subject.wait(subject.store.prune_anonymous(5000)) == 1
    assert subject.summaries() == []


def test_cancelling_stops_only_the_waiting(subject: Subject) -> None:
    cancelled = subject.store.begin_turn(start("run-1"))
    other = subject.store.begin_turn(start("run-2"))
    cancelled.cancel()
    outcome: list[object] = []
    cancelled.addErrback(lambda failure: outcome.append(failure.trap(CancelledError)))
    subject.wait(other)
    assert subject.words() == ["hello", "hello"]


def test_closed_store_fails_every_call(subject: Subject) -> None:
    subject.wait(subject.store.close())
    subject.wait(subject.store.close())
    store = subject.store
    calls: tuple[Callable[[], Deferred[Any]], ...] = (
        store.open,
        store.list_sessions,
        lambda: store.overview(OverviewQuery(recent=1)),
        lambda: store.check(),
        lambda: store.history(KEY, 0),
        lambda: store.begin_turn(start()),
        lambda: store.end_turn(end()),
        lambda: store.reset(KEY, "id-2", 0),
        lambda: store.delete(KEY),
        lambda: store.prune_anonymous(0),
        lambda: store.find_session(KEY),
        lambda: store.transcript(KEY, 1),
        lambda: store.patch(KEY, {}, agent_id="a", new_session_id="id-1", now_ms=0),
        lambda: store.inject(KEY, AssistantMessage(), "run-1", 0),
        lambda: store.compact(KEY, 1, "id-2", 0),
        lambda: store.usage(0),
        lambda: store.find_kept("key", 0),
        lambda: store.prune_kept(0),
    )
    for call in calls:
        with pytest.raises(StoreFailed, match="closed"):
            subject.wait(call())


def test_close_before_open_is_harmless(tmp_path: Path) -> None:
    pump = Pump()
    for store in (MemorySessionStore(), SqliteSessionStore(tmp_path / "s", pump)):
        pump.wait(store.close())
        pump.wait(store.close())
        with pytest.raises(StoreFailed, match="closed"):
            pump.wait(store.open())
    assert not (tmp_path / "s").exists()


def test_a_store_that_takes_turns_passes_its_check(subject: Subject) -> None:
    subject.turn("run-1")
    before = (subject.words(), subject.summaries())
    assert subject.wait(subject.store.check()) is None
    assert (subject.words(), subject.summaries()) == before
