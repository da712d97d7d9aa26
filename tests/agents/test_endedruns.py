from __future__ import annotations

import gc
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from twisted.internet.task import Clock

from moltbot_gw.agents import endedruns
from moltbot_gw.agents.endedruns import KEPT_SECONDS, MOST_KEPT, EndedRuns
from moltbot_gw.agents.log import START, Position
from moltbot_gw.agents.packedlog import footprint, pack
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.text import BLOCK_CHARS
from moltbot_gw.errors import ProviderOverloaded
from moltbot_gw.events import (
    ModelEvent,
    ReasoningDelta,
    RunEvent,
    RunOutcome,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolStarted,
    Usage,
)

from .support import GatedStore, House, Reader, ended

DONE = RunOutcome(state="done", finish_reason="stop", ended_at_ms=9)
SPOKEN: st.SearchStrategy[list[ModelEvent]] = st.lists(
    st.one_of(
        st.builds(TextDelta, st.sampled_from(["a", "é\u2028", "x" * BLOCK_CHARS])),
        st.builds(ReasoningDelta, st.sampled_from(["b", "hm", "y" * 50_000])),
        st.builds(
            ToolCallDelta, index=st.integers(0, 2), arguments=st.sampled_from(["", "{"])
        ),
    ),
    max_size=8,
)


def run_of(run_id: str = "r", *events: ModelEvent) -> Run:
    run = Run(run_id=run_id, agent_id="main", session_key="k", max_bytes=10**9)
    run.begin(3)
    run.extend([ToolCallDelta(index=i, id=f"call-{i}", name="look") for i in range(3)])
    run.extend(events)
    return run


def end(ended_runs: EndedRuns, run: Run, outcome: RunOutcome = DONE) -> None:
    run.end(outcome)
    ended_runs.keep(run, outcome)


def found(ended_runs: EndedRuns, run_id: str = "r") -> Run:
    run = ended_runs.find(run_id)
    assert run is not None
    return run


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ended_runs(clock: Clock) -> EndedRuns:
    return EndedRuns(clock)


def from_place(
    run: Run, start: Position, max_chars: int
) -> list[tuple[RunEvent, Position]]:
    """Return what stands behind *start*, and where each piece ends."""
    cursor = run.subscribe(Reader(run, paused=True), start)
    read = []
    while (event := cursor.take(max_chars)) is not None:
        read.append((event, cursor.position))
    return read


@given(SPOKEN, st.integers(1, 2 * BLOCK_CHARS), st.randoms(use_true_random=False))
def test_kept_run_goes_on_from_any_place(
    events: list[ModelEvent], max_chars: int, chance: random.Random
) -> None:
    ended_runs, run = EndedRuns(Clock()), run_of("r", *events)
    end(ended_runs, run)
    kept = found(ended_runs)
    original = from_place(run, START, max(max_chars, BLOCK_CHARS // 8))
    place = chance.choice([START, *(place for _, place in original)])
    assert run.log.holds(place)
    assert kept.log.holds(place)
    assert from_place(kept, place, BLOCK_CHARS) == from_place(run, place, BLOCK_CHARS)


def test_kept_run_tells_what_it_was(ended_runs: EndedRuns) -> None:
    run = run_of("r", TextDelta("hello"))
    run.created, run.model, run.session_id = 5, "local/m1", "s"
    run.echo, run.wants_usage = "gpt", True
    end(ended_runs, run)
    kept = found(ended_runs)
    assert (kept.run_id, kept.agent_id, kept.session_key) == ("r", "main", "k")
    assert (kept.created, kept.started_at_ms) == (5, 3)
    assert (kept.model, kept.session_id) == ("local/m1", "s")
    assert (kept.echo, kept.wants_usage) == ("gpt", True)
    assert (kept.text(), kept.outcome) == ("hello", DONE)


def test_places_behind_the_agents_tools_stay_right(ended_runs: EndedRuns) -> None:
    run = run_of("r", TextDelta("one"))
    run.tell(ToolStarted(call_id="c", name="read", arguments="{}"))
    run.tell(ToolFinished(call_id="c", name="read", text="secret" * 1000))
    run.extend([TextDelta("two")])
    end(ended_runs, run)
    kept = found(ended_runs)
    assert len(kept.log) == len(run.log)
    assert footprint(pack(kept.log)) < 5000
    texts = [event for event, _ in from_place(kept, START, 100)]
    assert [e.text for e in texts if isinstance(e, TextDelta)] == ["one", "two"]


def test_failure_is_kept_as_it_is(ended_runs: EndedRuns) -> None:
    error = ProviderOverloaded("Later.", retry_after=7)
    end(ended_runs, run_of(), RunOutcome(state="failed", error=error, ended_at_ms=1))
    outcome = ended(found(ended_runs))
    assert outcome.error is error


def test_runs_are_kept_for_a_while(ended_runs: EndedRuns, clock: Clock) -> None:
    end(ended_runs, run_of("old"))
    clock.advance(KEPT_SECONDS - 1)
    end(ended_runs, run_of("new"))
    assert found(ended_runs, "old").run_id == "old"
    clock.advance(1)
    assert ended_runs.find("old") is None
    assert found(ended_runs, "new").run_id == "new"
    clock.advance(KEPT_SECONDS)
    ended_runs.forget_old()
    assert len(ended_runs) == 0


def test_so_many_runs_are_kept(ended_runs: EndedRuns) -> None:
    for number in range(MOST_KEPT + 2):
        end(ended_runs, run_of(str(number)))
    assert len(ended_runs) == MOST_KEPT
    assert ended_runs.find("1") is None
    assert ended_runs.find("2") is not None


def test_garbage_collector_passes_by_what_is_kept(ended_runs: EndedRuns) -> None:
    def keep(numbers: range) -> int:
        for number in numbers:
            usage = Usage(prompt_tokens=number)
            outcome = structs.replace(DONE, usage=usage)
            words = TextDelta("hello"), ReasoningDelta("hm"), TextDelta("again")
            end(ended_runs, run_of(str(number), *words), outcome)
        # It finds out in one pass, or two, which tuples it can leave alone.
        gc.collect()
        gc.collect()
        return len(gc.get_objects())

    before = keep(range(100))
    # The outcome of each is known: it may hold an error.
    assert keep(range(100, 600)) - before < 500 * 1.1


def noise(seed: int) -> TextDelta:
    """Return 64 KiB of words that cannot be made smaller."""
    return TextDelta(random.Random(seed).randbytes(32 * 1024).hex())


def test_so_many_bytes_are_kept(
    ended_runs: EndedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endedruns, "MOST_KEPT_BYTES", 200 * 1024)
    for seed in range(6):
        end(ended_runs, run_of(str(seed), noise(seed)))
    sizes = [footprint(pack(found(ended_runs, one).log)) for one in ("4", "5")]
    assert ended_runs.find("1") is None
    assert sum(sizes) < 200 * 1024


def test_what_is_too_large_by_itself_pushes_nothing_out(
    ended_runs: EndedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endedruns, "MOST_KEPT_BYTES", 50 * 1024)
    end(ended_runs, run_of("small"))
    end(ended_runs, run_of("large", *map(noise, range(3))))
    assert ended_runs.find("large") is None
    assert ended_runs.find("small") is not None


def test_newer_run_takes_the_place_of_one_with_its_id(
    ended_runs: EndedRuns, clock: Clock
) -> None:
    end(ended_runs, run_of("r", TextDelta("first")))
    clock.advance(KEPT_SECONDS / 2)
    end(ended_runs, run_of("r", TextDelta("second")))
    assert len(ended_runs) == 1
    clock.advance(KEPT_SECONDS / 2)
    assert found(ended_runs).text() == "second"


@pytest.mark.parametrize(
    "place", [(0, 1), (1, 3), (4, 6), (5, 1), (6, 1), (7, 0), (99, 0)]
)
def test_log_knows_what_is_no_place_of_its(place: Position) -> None:
    run = run_of("r", TextDelta("hello"))
    run.end(DONE)
    assert not run.log.holds(place)


@pytest.fixture
def house() -> Iterator[House]:
    house = House(GatedStore())
    yield house
    house.close()


def test_service_recalls_running_and_ended_runs(house: House) -> None:
    run = house.start()
    assert house.service.recall_run(run.run_id) is run
    house.call.say("hello")
    house.call.finish()
    recalled = house.service.recall_run(run.run_id)
    assert recalled is not None
    assert (recalled.text(), recalled.outcome) == ("hello", run.outcome)
    assert house.service.find_run(run.run_id) is None
    assert house.service.recall_run("another") is None


def test_service_forgets_in_time_though_nobody_asks(house: House) -> None:
    house.start()
    house.call.finish()
    house.clock.advance(KEPT_SECONDS)
    house.service.forget_ended()
    house.clock.rightNow = 0.0  # what is gone does not come back
    assert house.service.recall_run("run-1") is None
