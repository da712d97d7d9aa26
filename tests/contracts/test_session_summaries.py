"""What every session store knows of summaries that stand for older entries."""

from __future__ import annotations

import pytest

from moltbot_gw.events import Usage
from moltbot_gw.messages import AssistantMessage
from moltbot_gw.stored import History, SessionSummary, Summary
from tests.contracts.support import Subject
from tests.sessions.support import KEY, end, start

_USAGE = Usage(prompt_tokens=70, completion_tokens=30, total_tokens=100)


def _summarize(
    subject: Subject, first_seq: int, text: str = "gist", session_id: str = "id-1"
) -> bool:
    summary = Summary(
        session_key=KEY,
        session_id=session_id,
        first_seq=first_seq,
        text=text,
        tokens_before=5000,
        at_ms=7000,
    )
    return subject.wait(subject.store.summarize(summary))


def _listed(subject: Subject) -> SessionSummary:
    (listed,) = subject.summaries()
    found = subject.wait(subject.store.find_session(KEY))
    assert listed == found
    return listed


@pytest.fixture
def three(subject: Subject) -> Subject:
    """A session of six entries."""
    for n in (1, 2, 3):
        subject.turn(f"run-{n}")
    return subject


def test_summary_stands_for_what_was_before(three: Subject) -> None:
    assert _summarize(three, 5, "l\u00efne\u2028\U0001f600") is True
    history = three.history()
    assert history.summary == "l\u00efne\u2028\U0001f600"
    assert (history.first_seq, len(history.messages)) == (5, 2)
    assert three.words() == ["hello", "hi"]


def test_transcript_keeps_everything(three: Subject) -> None:
    before = three.transcript()
    _summarize(three, 5)
    assert three.transcript() == before


def test_turns_go_on_behind_a_summary(three: Subject) -> None:
    _summarize(three, 6)
    three.turn("run-4")
    assert three.words() == ["hi", "hello", "hi"]
    assert len(three.transcript().entries) == 8


def test_summary_may_stand_for_everything(three: Subject) -> None:
    assert _summarize(three, 7) is True
    assert three.history() == History(session_id="id-1", first_seq=7, summary="gist")
    three.turn("run-4")
    assert three.words() == ["hello", "hi"]


def test_later_summary_takes_the_place_of_an_earlier_one(three: Subject) -> None:
    _summarize(three, 3, "first")
    _summarize(three, 5, "second")
    assert three.history().summary == "second"
    listed = _listed(three)
    assert (listed.compactions, listed.tokens_before) == (2, 5000)
    assert (listed.messages, listed.updated_at_ms) == (6, 7000)


@pytest.mark.parametrize("first_seq", [0, 1, 3, 8])
def test_summary_only_moves_forward(first_seq: int, three: Subject) -> None:
    _summarize(three, 3, "first")
    before = three.history()
    assert _summarize(three, first_seq, "second") is False
    assert three.history() == before
    assert _listed(three).compactions == 1


def test_nothing_is_summarized_of_an_unknown_session(three: Subject) -> None:
    assert _summarize(three, 3, session_id="id-2") is False
    three.wait(three.store.delete(KEY))
    assert _summarize(three, 3) is False
    assert three.summaries() == []


def test_reset_leaves_the_summary_behind(three: Subject) -> None:
    _summarize(three, 3)
    three.wait(three.store.reset(KEY, "id-2", 9000))
    assert three.history() == History(session_id="id-2")
    assert _listed(three).compactions == 0


def test_summary_belongs_to_its_session_id(three: Subject) -> None:
    three.wait(three.store.reset(KEY, "id-2", 9000))
    assert _summarize(three, 3) is True
    assert three.history() == History(session_id="id-2")
    three.turn("run-4", session_id="id-1")
    assert (three.history().summary, len(three.words())) == ("gist", 6)


def test_summary_goes_when_its_session_is_deleted(three: Subject) -> None:
    _summarize(three, 3)
    three.wait(three.store.delete(KEY))
    three.turn("run-4")
    assert three.history().summary is None
    assert three.words() == ["hello", "hi"]


@pytest.mark.parametrize(
    ("first_seq", "keep", "expected"),
    [
        (3, 4, (1, 4)),  # just what the summary does not cover
        (3, 2, (1, 2)),
        (5, 4, (3, 2)),
        (7, 4, (5, 0)),
        (5, 0, (1, 0)),
    ],
)
def test_shortened_session_takes_the_summary_along(
    first_seq: int, keep: int, expected: tuple[int, int], three: Subject
) -> None:
    _summarize(three, first_seq)
    three.wait(three.store.compact(KEY, keep, "id-2", 9000))
    history = three.history()
    assert (history.session_id, history.summary) == ("id-2", "gist")
    assert (history.first_seq, len(history.messages)) == expected
    listed = _listed(three)
    assert (listed.compactions, listed.tokens_before) == (1, 5000)
    assert (listed.messages, len(three.transcript().entries)) == (keep, keep)
    three.turn("run-4", session_id="id-2")
    assert three.words()[-2:] == ["hello", "hi"]


def test_old_session_has_no_summary_in_its_history_either(three: Subject) -> None:
    _summarize(three, 3)
    assert three.history(fresh_after_ms=9000) == History()


def test_context_of_the_last_call_is_known(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    assert subject.history().context_tokens is None
    run_sum = Usage(prompt_tokens=500, completion_tokens=50, total_tokens=550)
    subject.wait(subject.store.end_turn(end(usage=run_sum, context=_USAGE)))
    history = subject.history()
    assert (history.context_tokens, history.counted) == (100, 2)
    said = AssistantMessage(text="by hand")
    subject.wait(subject.store.inject(KEY, said, "inject-1", 3000))
    subject.wait(subject.store.begin_turn(start("run-2")))
    history = subject.history()
    assert (history.context_tokens, history.counted) == (100, 2)
    subject.wait(subject.store.end_turn(end("run-2", usage=Usage())))
    assert subject.history().counted == 2


def test_context_of_a_run_that_was_cut_off_is_not_known(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.end_turn(end(state="failed", usage=_USAGE)))
    history = subject.history()
    assert (history.context_tokens, history.counted) == (None, 0)


def test_context_is_not_known_behind_a_new_summary(subject: Subject) -> None:
    for n in (1, 2):
        subject.wait(subject.store.begin_turn(start(f"run-{n}")))
        subject.wait(subject.store.end_turn(end(f"run-{n}", usage=_USAGE)))
    _summarize(subject, 3)
    assert subject.history().context_tokens is None
    subject.wait(subject.store.begin_turn(start("run-3")))
    subject.wait(subject.store.end_turn(end("run-3", usage=_USAGE)))
    history = subject.history()
    assert (history.context_tokens, history.counted) == (100, 4)
