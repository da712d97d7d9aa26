"""Runs whose answer is ``NO_REPLY``: nobody sees it, and the session remembers it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.agents.run import Run
from moltbot_gw.agents.silence import TOKEN
from moltbot_gw.errors import ProviderFailed, RunAborted
from moltbot_gw.events import (
    ReasoningDelta,
    RunEnded,
    RunEvent,
    RunOutcome,
    RunStarted,
    TextDelta,
    ToolCallDelta,
)
from moltbot_gw.messages import AssistantMessage, UserMessage
from moltbot_gw.stored import IdempotencyKey

from .support import START_MS, GatedStore, House, Reader, ended, succeeded

HELLO = UserMessage("hello")
DONE = RunOutcome(state="done", finish_reason="stop", ended_at_ms=2)


@pytest.fixture
def house() -> Iterator[House]:
    house = House(GatedStore())
    yield house
    house.close()


def read(run: Run) -> list[RunEvent]:
    reader = Reader(run)
    reader.wake()
    return reader.events


def test_silent_answer_is_not_shown_but_kept(house: House) -> None:
    run = house.start()
    reader = Reader(run)
    reader.wake()
    for piece in ("NO", "_REP", "LY", "\n"):
        house.call.say(piece)
    house.call.finish()
    assert reader.events == [RunStarted(START_MS), RunEnded(ended(run))]
    assert (run.text(), run.said()) == ("", f"{TOKEN}\n")
    assert ended(run).finish_reason == "stop"
    said = AssistantMessage(f"{TOKEN}\n", stop_reason="stop")
    assert house.history() == (HELLO, said)


def test_reasoning_of_a_silent_answer_is_shown(house: House) -> None:
    run = house.start()
    house.call.think("nothing to do")
    house.call.say(TOKEN)
    house.call.finish()
    assert read(run)[1:-1] == [ReasoningDelta("nothing to do")]


def test_token_at_the_end_is_kept_but_not_shown(house: House) -> None:
    run = house.start()
    house.call.say("Done. ")
    house.call.say(TOKEN)
    house.call.finish()
    assert run.text() == "Done. "
    said = AssistantMessage(f"Done. {TOKEN}", stop_reason="stop")
    assert house.history() == (HELLO, said)


def test_short_no_is_an_answer(house: House) -> None:
    run = house.start()
    reader = Reader(run)
    reader.wake()
    house.call.say("NO")
    assert reader.text == ""
    house.call.finish()
    assert reader.events[-2:] == [TextDelta("NO"), RunEnded(ended(run))]
    assert house.history() == (HELLO, AssistantMessage("NO", stop_reason="stop"))


@pytest.mark.parametrize(
    "error", [RunAborted("stop"), ProviderFailed("gone")], ids=["aborted", "failed"]
)
def test_half_a_token_is_not_shown_when_the_run_is_cut_off(
    house: House, error: Exception
) -> None:
    run = house.start()
    house.call.say("NO_R")
    if isinstance(error, RunAborted):
        run.cancel(error)
    else:
        house.call.fail(error)
    assert run.text() == ""
    [_, kept] = house.history()
    assert isinstance(kept, AssistantMessage)
    assert kept.text == "NO_R"


def test_held_words_come_though_a_tool_is_called_meanwhile() -> None:
    run = Run(run_id="r", agent_id="a", session_key="k", max_bytes=1000)
    call = ToolCallDelta(index=0, id="c", name="read", arguments="{}")
    run.extend([TextDelta("plan N"), call])
    run.end(DONE)
    assert run.text() == run.said() == "plan N"


@pytest.mark.parametrize("text", [TOKEN, "NO", f"Done. {TOKEN}"])
def test_replay_shows_what_was_shown(house: House, text: str) -> None:
    key = IdempotencyKey(value="k", fingerprint=b"f")
    request = house.request(idempotency_key=key)
    run = succeeded(Deferred.fromCoroutine(house.service.start_or_join(request)))
    house.call.say(text)
    house.call.finish()
    again = succeeded(Deferred.fromCoroutine(house.service.start_or_join(request)))
    assert again is not run
    assert (again.text(), again.said()) == (run.text(), run.said())
    assert read(again) == read(run)


def test_long_silent_answer_is_still_bounded() -> None:
    run = Run(run_id="r", agent_id="a", session_key="k", max_bytes=100)
    run.extend([TextDelta(f"{TOKEN} ")])
    run.extend([TextDelta("x" * 100)])
    assert isinstance(run.cancelled, ProviderFailed)
    assert run.said() == f"{TOKEN} "
