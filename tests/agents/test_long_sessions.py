"""A session of 2,000 turns: the model reads little of it, the transcript has it all."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltbot_gw.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from moltbot_gw.sessions import SqliteSessionStore
from tests.agents.talking import HEADING, Model, Talk, check_calls_have_results, size_of
from tests.sessions.support import Pump

WINDOW = 32_000


def _turn(talk: Talk, number: int) -> None:
    """Make a turn of some 150 tokens; each tenth looks at something large."""
    context, call = talk.begin(UserMessage(f"Question {number}. " + "why? " * 60))
    call = talk.fit(context, call)
    if number % 10 == 9:
        calls = (ToolCall(f"c{number}", "look", "{}"),)
        seen = ToolMessage("x" * 4000, f"c{number}")
        call = talk.round(context, call, AssistantMessage(tool_calls=calls), seen)
        call = talk.fit(context, call)
    talk.finish(call)


@pytest.mark.parametrize(("turns", "counts"), [(2_000, True), (400, False)])
def test_long_session_stays_within_its_window(turns: int, counts: bool) -> None:
    talk = Talk(Model(window=WINDOW, answer="Because. " * 30, counts=counts))
    for number in range(turns):
        _turn(talk, number)
    calls = talk.model.calls
    assert len(calls) == turns + turns // 10
    # The model has refused nothing, and a good part of its window stays free.
    assert max(map(size_of, calls)) < WINDOW * 5 // 8
    for call in calls:
        check_calls_have_results(call.messages)
    assert str(calls[-1].messages[0].content).startswith(HEADING)  # type: ignore[union-attr]
    # The work of a turn is bounded, and few turns wait for a summary.
    assert talk.longest_history < 200
    assert max(map(size_of, talk.model.summaries)) < WINDOW * 5 // 8
    assert len(talk.model.summaries) < turns // 10
    transcript = talk.transcript()
    assert len(transcript) == 2 * turns + 2 * turns // 10
    asked = [one.content for one in transcript if isinstance(one, UserMessage)]
    assert [int(str(one).split()[1][:-1]) for one in asked] == list(range(turns))


def test_store_on_disk_goes_on_with_the_summary(tmp_path: Path) -> None:
    pump = Pump()
    store = SqliteSessionStore(tmp_path / "sessions.sqlite", pump)
    pump.wait(store.open())
    talk = Talk(
        Model(window=16_000, answer="Because. " * 30), store=store, wait=pump.wait
    )
    for number in range(100):
        _turn(talk, number)
    assert max(map(size_of, talk.model.calls)) < 10_000
    assert talk.longest_history < 100
    assert len(talk.transcript()) == 220
    found = pump.wait(store.find_session("agent:main:main"))
    assert found is not None
    assert found.compactions == len(talk.model.summaries) > 2
    pump.wait(store.close())
