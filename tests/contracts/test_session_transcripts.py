"""What every session store does with entries beside those of turns."""

from __future__ import annotations

import pytest

from moltbot_gw.errors import StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.messages import (
    AssistantMessage,
    Message,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from moltbot_gw.stored import Compacted, SessionSettings, Transcript, TranscriptEntry
from tests.contracts.support import Subject
from tests.sessions.support import KEY, end, start

_USAGE = Usage(prompt_tokens=7, completion_tokens=3, total_tokens=10, cached_tokens=2)
_CALL = AssistantMessage(tool_calls=(ToolCall(id="c", name="f", arguments="{}"),))
_RESULT = ToolMessage(content="42", tool_call_id="c")


def _user(number: int) -> UserMessage:
    return UserMessage(content=str(number))


def _store(subject: Subject, *messages: Message) -> None:
    """Store *messages* as one finished turn."""
    subject.wait(subject.store.begin_turn(start(messages=messages)))
    subject.wait(subject.store.end_turn(end(messages=(), usage=_USAGE)))


def test_unknown_session_has_no_transcript(subject: Subject) -> None:
    assert subject.wait(subject.store.transcript(KEY, 10)) is None


def test_session_without_entries_has_an_empty_transcript(subject: Subject) -> None:
    subject.patch(label="mine")
    assert subject.transcript() == Transcript(
        session_id=f"patched-{KEY}",
        settings=SessionSettings(label="mine"),
        entries=(),
    )


def test_transcript_tells_of_the_run_of_each_entry(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start("run-1", at_ms=1000)))
    subject.wait(subject.store.end_turn(end("run-1", at_ms=2000, usage=_USAGE)))
    subject.wait(subject.store.begin_turn(start("run-2", at_ms=3000, model="m2")))
    hi = AssistantMessage(text="hi", stop_reason="stop")
    hello = UserMessage(content="hello")
    first: dict[str, object] = {
        "run_id": "run-1",
        "provider": "local",
        "model": "m1",
        "usage": _USAGE,
        "state": "done",
    }
    assert subject.transcript().entries == (
        TranscriptEntry(seq=1, created_at_ms=1000, message=hello, **first),  # type: ignore[arg-type]
        TranscriptEntry(seq=2, created_at_ms=2000, message=hi, **first),  # type: ignore[arg-type]
        TranscriptEntry(
            seq=3,
            run_id="run-2",
            created_at_ms=3000,
            message=hello,
            provider="local",
            model="m2",
            usage=None,
            state="running",
        ),
    )


@pytest.mark.parametrize(
    ("limit", "seqs"), [(1, [4]), (3, [2, 3, 4]), (4, [1, 2, 3, 4]), (9, [1, 2, 3, 4])]
)
def test_transcript_ends_with_the_last_entry(
    limit: int, seqs: list[int], subject: Subject
) -> None:
    _store(subject, *(_user(n) for n in range(1, 5)))
    entries = subject.transcript(limit).entries
    assert [one.seq for one in entries] == seqs
    assert [one.message for one in entries] == [_user(n) for n in seqs]


def test_transcript_is_of_the_current_session_alone(subject: Subject) -> None:
    subject.turn("run-1")
    subject.wait(subject.store.reset(KEY, "id-2", 9000))
    subject.wait(subject.store.begin_turn(start("run-2", session_id="id-2")))
    told = subject.transcript()
    assert told.session_id == "id-2"
    assert [one.run_id for one in told.entries] == ["run-2"]


def test_injected_message_is_said_outside_any_run(subject: Subject) -> None:
    subject.turn("run-1")
    said = AssistantMessage(text="by hand", stop_reason="injected")
    assert subject.wait(subject.store.inject(KEY, said, "inject-1", 7000)) is True
    subject.turn("run-2", at_ms=8000)
    assert subject.words() == ["hello", "hi", "by hand", "hello", "hi"]
    assert subject.transcript().entries[2] == TranscriptEntry(
        seq=3,
        run_id="inject-1",
        created_at_ms=7000,
        message=said,
        provider=None,
        model=None,
        usage=None,
        state=None,
    )


def test_injecting_touches_the_session_but_never_backwards(subject: Subject) -> None:
    subject.turn("run-1", at_ms=5000)
    for now_ms, expected in ((4000, 5000), (6000, 6000)):
        said = AssistantMessage(text="x")
        subject.wait(subject.store.inject(KEY, said, "inject", now_ms))
        (summary,) = subject.summaries()
        assert summary.updated_at_ms == expected
    assert summary.messages == 4


def test_nothing_is_injected_into_an_unknown_session(subject: Subject) -> None:
    said = AssistantMessage(text="x")
    assert subject.wait(subject.store.inject(KEY, said, "inject-1", 1000)) is False
    assert subject.summaries() == []


def _compact(subject: Subject, keep: int, session_id: str = "id-2") -> Compacted | None:
    return subject.wait(subject.store.compact(KEY, keep, session_id, 9000))


def test_unknown_session_cannot_be_compacted(subject: Subject) -> None:
    assert _compact(subject, 10) is None
    assert subject.summaries() == []


@pytest.mark.parametrize("keep", [2, 3, 100])
def test_short_session_is_left_as_it_is(keep: int, subject: Subject) -> None:
    subject.turn("run-1")
    assert _compact(subject, keep) == Compacted(kept=2, archived=None)
    assert subject.history().session_id == "id-1"


def test_compacted_session_goes_on_with_its_last_entries(subject: Subject) -> None:
    for n in range(1, 5):
        begun = start(f"run-{n}", messages=(_user(n),), at_ms=n, anonymous=True)
        subject.wait(subject.store.begin_turn(begun))
        state = "aborted" if n == 4 else "done"
        ended = end(f"run-{n}", at_ms=n, usage=_USAGE, state=state)  # type: ignore[arg-type]
        subject.wait(subject.store.end_turn(ended))
    subject.patch(label="mine", at_ms=4)
    (before,) = subject.summaries()
    entries = subject.transcript().entries
    assert _compact(subject, 4) == Compacted(kept=4, archived="id-1")
    told = subject.transcript()
    assert (told.session_id, told.settings.label) == ("id-2", "mine")
    assert [one.seq for one in told.entries] == [1, 2, 3, 4]
    for mine, theirs in zip(told.entries, entries[4:], strict=True):
        assert mine.message == theirs.message
        assert mine.run_id == theirs.run_id
        assert mine.created_at_ms == theirs.created_at_ms
        assert (mine.model, mine.usage, mine.state) == (
            theirs.model,
            theirs.usage,
            theirs.state,
        )
    (after,) = subject.summaries()
    assert (after.updated_at_ms, after.messages) == (9000, 4)
    assert (after.input_tokens, after.output_tokens, after.total_tokens) == (0, 0, 0)
    for name in ("created_at_ms", "agent_id", "anonymous", "aborted_last_run", "model"):
        assert getattr(after, name) == getattr(before, name)
    assert after.settings == before.settings
    subject.turn("run-5", session_id="id-2")
    assert subject.words() == ["3", "hi", "4", "hi", "hello", "hi"]


def test_archived_session_has_all_its_entries(subject: Subject) -> None:
    _store(subject, _user(1), _user(2), _user(3))
    _compact(subject, 1)
    subject.turn("run-2", session_id="id-1")
    assert subject.words() == ["1", "2", "3", "hello", "hi"]


@pytest.mark.parametrize(
    ("messages", "keep", "first"),
    [
        ((_user(1), _CALL, _RESULT, _user(2), _user(3)), 3, _user(2)),
        ((_user(1), _CALL, _RESULT, _user(2), _user(3)), 4, _user(2)),
        ((_user(1), _user(2), _CALL, _RESULT), 3, _user(2)),
        ((_user(1), _CALL, _RESULT), 1, _RESULT),
    ],
)
def test_compacted_session_begins_with_a_user_if_there_is_one(
    messages: tuple[Message, ...], keep: int, first: Message, subject: Subject
) -> None:
    _store(subject, *messages)
    expected = messages[messages.index(first) :]
    assert _compact(subject, keep) == Compacted(kept=len(expected), archived="id-1")
    assert subject.history().messages == expected


def test_compaction_needs_an_id_that_is_not_in_use(subject: Subject) -> None:
    _store(subject, _user(1), _user(2))
    with pytest.raises(StoreFailed):
        _compact(subject, 1, "id-1")
    assert subject.words() == ["1", "2"]


def test_run_ends_in_the_session_that_compaction_has_made(subject: Subject) -> None:
    subject.turn("run-1")
    subject.wait(subject.store.begin_turn(start("run-2", messages=(_user(2),))))
    _compact(subject, 1)
    _compact(subject, 0, "id-3")
    subject.wait(subject.store.end_turn(end("run-2", usage=_USAGE)))
    assert subject.history().session_id == "id-3"
    assert subject.words() == ["hi"]
    assert subject.transcript().entries[0].state == "done"
    (summary,) = subject.summaries()
    assert summary.total_tokens == 10


def test_run_ends_where_compaction_has_taken_it_even_after_a_reset(
    subject: Subject,
) -> None:
    subject.turn("run-1")
    subject.wait(subject.store.begin_turn(start("run-2")))
    _compact(subject, 1, "id-2")
    subject.wait(subject.store.reset(KEY, "id-3", 9500))
    subject.wait(subject.store.end_turn(end("run-2")))
    assert subject.words() == []
    subject.turn("run-3", session_id="id-2")
    assert subject.words() == ["hello", "hi", "hello", "hi"]


def test_run_ends_once_wherever_compaction_has_taken_it(subject: Subject) -> None:
    subject.turn("run-1")
    subject.wait(subject.store.begin_turn(start("run-2")))
    _compact(subject, 1)
    subject.wait(subject.store.end_turn(end("run-2")))
    with pytest.raises(StoreFailed):
        subject.wait(subject.store.end_turn(end("run-2")))
    assert subject.words() == ["hello", "hi"]
