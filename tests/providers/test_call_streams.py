"""Recordings of tool calls, cut at every byte, from the socket to the run's log."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.web.client import ResponseDone

from moltbot_gw.agents.run import Run
from moltbot_gw.messages import ToolCall
from moltbot_gw.providers.streaming import StreamCut
from moltbot_gw.wire.providererror import ProviderError
from tests.providers.test_streaming import Reading
from tests.support.fake_provider import DONE, call_piece, delta, finish, usage

CALLS = (ToolCall("c1", "f", '{"a":"é"}'), ToolCall("c2", "g", "{}"))
WORDS = delta("Well.") + call_piece(0, id="c1", name="f")
RECORDED = (
    WORDS
    + call_piece(0, '{"a"')
    + call_piece(0, ':"é"}')
    + call_piece(1, id="c2", name="g")
    + finish("tool_calls")
    + usage(7, 3)
    + DONE
)


class Recording(Reading):
    """A body that is read into a run."""

    def __init__(self) -> None:
        self.run = Run(run_id="r", agent_id="main", session_key="k", max_bytes=10**6)
        super().__init__(self.run)  # type: ignore[arg-type]

    def check_whole(self) -> None:
        assert self.failure is None
        assert self.completion is not None
        assert self.completion.finish_reason == "tool_calls"
        assert self.run.tool_calls() == CALLS
        assert self.run.text() == "Well."


@pytest.mark.parametrize("reason", [ResponseDone, ConnectionDone])
def test_recording_that_breaks_off_is_whole_or_a_failure(
    reason: type[Exception],
) -> None:
    for cut in range(len(RECORDED) + 1):
        recording = Recording()
        recording.body.send(RECORDED[:cut])
        recording.body.close(reason)
        if recording.failure is None:
            assert cut > RECORDED.index(b'"finish_reason"')
            recording.check_whole()
        else:
            assert isinstance(recording.failure, (StreamCut, ProviderError))
            assert recording.completion is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(RECORDED)), max_size=20))
def test_recording_in_pieces_gives_the_same_calls(cuts: list[int]) -> None:
    recording = Recording()
    for start, end in pairwise([0, *sorted(cuts), len(RECORDED)]):
        recording.body.send(RECORDED[start:end])
    recording.check_whole()


def test_recording_byte_by_byte_gives_the_same_calls() -> None:
    recording = Recording()
    for place in range(len(RECORDED)):
        recording.body.send(RECORDED[place : place + 1])
    recording.check_whole()


def test_pieces_reach_the_run_as_they_come() -> None:
    recording = Recording()
    recording.body.send(WORDS)
    assert recording.run.tool_calls() == (ToolCall("c1", "f", ""),)
    recording.body.send(call_piece(0, '{"a"'))
    assert recording.run.tool_calls() == (ToolCall("c1", "f", '{"a"'),)
    recording.done.cancel()
