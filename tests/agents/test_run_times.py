"""When a run was admitted, had its turn, spoke first and ended; and who waits."""

from __future__ import annotations

from moltbot_gw.agents.lanes import LaneLimits, Lanes, Waiting
from moltbot_gw.agents.log import Cursor, RunLog
from moltbot_gw.agents.run import Run
from moltbot_gw.events import ReasoningDelta, RunOutcome, TextDelta, ToolCallDelta
from tests.support.gateway import Gateway
from tests.support.http_client import chat_request

DONE = RunOutcome(state="done", finish_reason="stop", ended_at_ms=9)


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_each_step_of_a_run_has_its_time() -> None:
    watch = Watch()
    run = Run(run_id="r", agent_id="a", session_key="k", max_bytes=100, now=watch)
    assert run.admitted_at == 100.0
    assert (run.left_lanes_at, run.spoke_at, run.ended_at) == (None, None, None)
    watch.seconds = 101.0
    run.leave_lanes()
    watch.seconds = 103.0
    run.extend([ReasoningDelta("hm")])
    watch.seconds = 104.0
    run.extend([TextDelta("hello")])
    watch.seconds = 107.0
    run.end(DONE)
    assert (run.left_lanes_at, run.spoke_at, run.ended_at) == (101.0, 103.0, 107.0)


def test_a_run_that_was_cancelled_does_not_speak() -> None:
    gateway = Gateway()
    connection, call = gateway.chat()
    (run,) = gateway.agents.active
    connection.hang_up()
    call.say("too late")
    assert run.spoke_at is None
    gateway.close()


def test_the_wait_for_a_turn_ends_when_the_turn_has_come() -> None:
    gateway = Gateway(max_concurrent=1)
    _, first = gateway.chat()
    gateway.send(chat_request())
    gateway.advance(3.0)
    waiting = gateway.agents.active[1]
    assert waiting.left_lanes_at is None
    first.finish()
    assert waiting.left_lanes_at == 3.0
    gateway.close()


def test_lanes_tell_who_waits_for_what() -> None:
    limits = LaneLimits(max_concurrent=1, max_waiting=9, max_waiting_per_session=9)
    lanes = Lanes(limits)
    tickets = [lanes.enter(key) for key in ("a", "a", "b")]
    assert tickets[0].take_free()
    waits = []
    for ticket in tickets[1:]:
        assert not ticket.take_free()
        waits.append(ticket)
    assert lanes.waiting == Waiting(session=0, all=0)
    coroutines = [ticket.ready() for ticket in waits]
    for coroutine in coroutines:
        coroutine.send(None)
    assert lanes.waiting == Waiting(session=1, all=1)
    for coroutine in coroutines:
        coroutine.close()


def test_what_a_reader_has_not_read_is_known() -> None:
    log = RunLog()
    cursor = Cursor(log)
    log.append_text(TextDelta, "hello ")
    log.append_call(ToolCallDelta(index=0, id="c", name="f", arguments="{}"))
    log.append_text(TextDelta, "world")
    assert cursor.unread == 13
    cursor.take(4)
    assert cursor.unread == 9
    while cursor.take() is not None:
        pass
    assert cursor.unread == 0
