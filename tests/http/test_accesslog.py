"""Lines of the access log that wait for each other."""

from __future__ import annotations

import time

from twisted.internet.task import Clock

from moltbot_gw.http.accesslog import AccessLog
from tests.support.gateway import LogTape


def test_lines_of_a_moment_come_together_in_their_order(log: LogTape) -> None:
    clock = Clock()
    access_log = AccessLog(clock, 0.1)
    began = time.time()
    access_log.note("one", status=200)
    clock.advance(0.05)
    access_log.note("two {braces}", status=404)
    assert log.lines == []
    noted = time.time()
    clock.advance(0.05)
    assert log.lines == ["one", "two {braces}"]
    assert [event["status"] for event in log.events] == [200, 404]
    first, second = [event["log_time"] for event in log.events]
    assert began <= first <= second <= noted
    access_log.note("three")
    clock.advance(0.1)
    assert log.lines[2:] == ["three"]


def test_a_flush_leaves_nothing_behind(log: LogTape) -> None:
    clock = Clock()
    access_log = AccessLog(clock, 0.1)
    access_log.note("one")
    access_log.flush()
    access_log.flush()
    assert log.lines == ["one"]
    assert clock.getDelayedCalls() == []


def test_many_lines_do_not_wait(log: LogTape) -> None:
    access_log = AccessLog(Clock(), 0.1)
    for number in range(300):
        access_log.note(str(number))
    assert log.lines == [str(number) for number in range(256)]


def test_no_wait_is_possible(log: LogTape) -> None:
    clock = Clock()
    AccessLog(clock, 0.0).note("one")
    assert log.lines == ["one"]
    assert clock.getDelayedCalls() == []
