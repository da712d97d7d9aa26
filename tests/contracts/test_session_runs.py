"""What every session store knows of runs: their usage and their idempotency keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import msgspec
import pytest

from moltbot_gw.events import Usage
from moltbot_gw.messages import ToolCall
from moltbot_gw.stored import KeptOutcome, KeptRun, UsageLine
from tests.contracts.support import Subject
from tests.sessions.support import DONE, FAILED, KEY, end, start

_USAGE = Usage(prompt_tokens=7, completion_tokens=3, total_tokens=10, cached_tokens=2)


def _begin(subject: Subject, run_id: str = "run-1", key: str = "k") -> None:
    begun = start(run_id, idempotency_key=key, at_ms=1000)
    subject.wait(subject.store.begin_turn(begun))


def _end(
    subject: Subject, run_id: str = "run-1", kept: KeptOutcome | None = None
) -> None:
    subject.wait(subject.store.end_turn(end(run_id, kept=kept)))


def _find(subject: Subject, key: str = "k", after_ms: int = 0) -> KeptRun | None:
    return subject.wait(subject.store.find_kept(key, after_ms))


def _outcome(subject: Subject, key: str = "k") -> KeptOutcome | None:
    found = _find(subject, key)
    assert found is not None
    return found.outcome


def test_key_stands_for_its_running_run(subject: Subject) -> None:
    _begin(subject)
    assert _find(subject) == KeptRun(
        run_id="run-1",
        agent_id="main",
        session_key=KEY,
        fingerprint=b"\x00print",
        created_at_ms=1000,
        outcome=None,
    )
    assert _find(subject, "another") is None


CALLED = msgspec.structs.replace(
    DONE, finish_reason="tool_calls", tool_calls=(ToolCall("c1", "f", '{"a":"é"}'),)
)


@pytest.mark.parametrize("outcome", [DONE, FAILED, CALLED])
def test_outcome_is_kept_as_it_was(outcome: KeptOutcome, subject: Subject) -> None:
    _begin(subject)
    _end(subject, kept=outcome)
    assert _outcome(subject) == outcome


def test_run_that_keeps_no_outcome_forgets_its_key(subject: Subject) -> None:
    _begin(subject)
    _end(subject)
    assert _find(subject) is None


def test_run_without_a_key_keeps_nothing(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    subject.wait(subject.store.end_turn(end(kept=DONE)))
    assert _find(subject, "run-1") is None


def test_key_too_old_is_not_found(subject: Subject) -> None:
    _begin(subject)
    assert _find(subject, after_ms=1000) is not None
    assert _find(subject, after_ms=1001) is None


def test_key_stands_for_its_last_run(subject: Subject) -> None:
    _begin(subject, "run-1")
    _begin(subject, "run-2")
    _end(subject, "run-1", kept=DONE)
    assert _outcome(subject) is None
    _end(subject, "run-2", kept=FAILED)
    assert _outcome(subject) == FAILED


def test_forgetting_leaves_a_later_run_of_the_key(subject: Subject) -> None:
    _begin(subject, "run-1")
    _begin(subject, "run-2")
    _end(subject, "run-1")
    assert _find(subject) is not None


def test_keys_outlive_their_session(subject: Subject) -> None:
    _begin(subject)
    _end(subject, kept=DONE)
    subject.wait(subject.store.delete(KEY))
    assert _outcome(subject) == DONE


@pytest.mark.parametrize("outcome", [DONE, None])
def test_run_whose_session_is_gone_still_has_an_outcome(
    outcome: KeptOutcome | None, subject: Subject
) -> None:
    _begin(subject, "run-1", "k1")
    _begin(subject, "run-2", "k2")
    subject.wait(subject.store.delete(KEY))
    _end(subject, "run-1", kept=outcome)
    found = _find(subject, "k1")
    assert (found and found.outcome) == outcome
    assert _outcome(subject, "k2") is None


def test_outcome_is_kept_after_a_compaction(subject: Subject) -> None:
    subject.turn("run-0")
    _begin(subject)
    subject.wait(subject.store.compact(KEY, 1, "id-2", 9000))
    _end(subject, kept=DONE)
    assert _outcome(subject) == DONE


def test_old_keys_are_pruned(subject: Subject) -> None:
    for n in range(3):
        begun = start(f"run-{n}", at_ms=n, idempotency_key=f"k{n}")
        subject.wait(subject.store.begin_turn(begun))
    assert subject.wait(subject.store.prune_kept(2)) == 2
    assert [_find(subject, f"k{n}") is None for n in range(3)] == [True, True, False]
    assert subject.wait(subject.store.prune_kept(2)) == 0
    _end(subject, "run-0", kept=DONE)
    assert _find(subject, "k0") is None


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be where the day begins twelve hours before that of UTC."""
    monkeypatch.setenv("TZ", "EAST-12")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _noon_ms(day: int) -> int:
    return int(datetime(2026, 1, day, 12, tzinfo=timezone.utc).timestamp()) * 1000


def _use(
    subject: Subject,
    run_id: str,
    at_ms: int,
    model: str = "m1",
    usage: Usage = _USAGE,
) -> None:
    begun = start(run_id, model=model, at_ms=at_ms - 50_000)
    subject.wait(subject.store.begin_turn(begun))
    subject.wait(subject.store.end_turn(end(run_id, at_ms=at_ms, usage=usage)))


@pytest.mark.usefixtures("far_east")
def test_usage_is_told_by_the_local_day_of_the_end_and_by_model(
    subject: Subject,
) -> None:
    _use(subject, "run-1", _noon_ms(2) - 1)
    _use(subject, "run-2", _noon_ms(2))
    _use(subject, "run-3", _noon_ms(2) + 5, usage=Usage(total_tokens=1))
    _use(subject, "run-4", _noon_ms(2), model="m0")
    lines = subject.wait(subject.store.usage(0))
    told = [(one.day, one.model, one.runs, one.total_tokens) for one in lines]
    assert told == [
        ("2026-01-02", "m1", 1, 10),
        ("2026-01-03", "m0", 1, 10),
        ("2026-01-03", "m1", 2, 11),
    ]
    assert lines[2] == UsageLine(
        day="2026-01-03",
        provider="local",
        model="m1",
        runs=2,
        prompt_tokens=7,
        completion_tokens=3,
        cached_tokens=2,
        total_tokens=11,
    )


def test_usage_of_all_sessions_counts_from_the_time_asked_for(subject: Subject) -> None:
    _use(subject, "run-1", _noon_ms(1))
    _use(subject, "run-2", _noon_ms(2))
    subject.wait(subject.store.reset(KEY, "id-2", _noon_ms(2)))
    subject.turn("run-3", key="agent:main:other", at_ms=_noon_ms(3))
    lines = subject.wait(subject.store.usage(_noon_ms(2)))
    assert sum(one.runs for one in lines) == 2


def test_compaction_changes_no_sums(subject: Subject) -> None:
    for n in range(4):
        _use(subject, f"run-{n}", _noon_ms(1))
    before = subject.wait(subject.store.usage(0))
    subject.wait(subject.store.compact(KEY, 3, "id-2", _noon_ms(2)))
    assert subject.wait(subject.store.usage(0)) == before


def test_only_finished_runs_are_counted(subject: Subject) -> None:
    subject.wait(subject.store.begin_turn(start()))
    assert subject.wait(subject.store.usage(0)) == []
    subject.wait(subject.store.end_turn(end(state="failed")))
    (line,) = subject.wait(subject.store.usage(0))
    assert (line.runs, line.total_tokens) == (1, 0)
