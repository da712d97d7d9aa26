"""What an init system hears of us."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from moltbot_gw.sdnotify import Notifier
from moltbot_gw.supervision import STATUS_SECONDS, Supervision
from tests.support.gateway import LogTape
from tests.support.init_system import NotifySocket

PID = 4711


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[NotifySocket]:
    ear = NotifySocket(tmp_path / "notify")
    yield ear
    ear.close()


def notifier(ear: NotifySocket, **environ: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": ear.name, **environ}, PID)


class House:
    """A watched service on a clock that tests move; *text* is its status."""

    def __init__(self, ear: NotifySocket, **environ: str) -> None:
        self.clock = Clock()
        self.text = "quiet"
        self.ear = ear
        self.supervision = Supervision(
            notifier(ear, **environ), clock=self.clock, describe=lambda: self.text
        )


def test_each_message_is_told_in_its_own_words(ear: NotifySocket) -> None:
    one = notifier(ear)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    one.ready()
    one.reloading()
    one.stopping(2.5)
    one.alive()
    one.status("two runs = fine")
    heard = ear.rest()
    now = int(heard[1].pop("MONOTONIC_USEC"))
    assert before <= now <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert heard == [
        {"READY": "1"},
        {"RELOADING": "1"},
        {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "2500000"},
        {"WATCHDOG": "1"},
        {"STATUS": "two runs = fine"},
    ]


def test_abstract_socket_is_reached() -> None:
    ear = NotifySocket(f"@moltbot-gw-test-{os.getpid()}")
    notifier(ear).ready()
    assert ear.rest() == [{"READY": "1"}]
    ear.close()


@pytest.mark.parametrize("name", ["", "relative/path", "vsock:2:1234"])
def test_without_a_socket_nothing_is_told(name: str) -> None:
    one = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"}, PID)
    one.ready()
    assert not one.is_heard
    assert one.watchdog is None


def test_init_system_that_is_gone_is_complained_about_once(ear: NotifySocket) -> None:
    one = notifier(ear)
    ear.close()
    with LogTape() as log:
        one.ready()
        one.alive()
    assert len(log.take_problems()) == 1


def test_init_system_that_does_not_read_holds_nobody(ear: NotifySocket) -> None:
    one = notifier(ear)
    with LogTape() as log:
        for _ in range(5000):  # more than the kernel keeps
            one.alive()
    (line,) = log.take_problems()
    assert "is not told" in line


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(PID)}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_ours_or_not(
    ear: NotifySocket, environ: dict[str, str], watchdog: float | None
) -> None:
    assert notifier(ear, **environ).watchdog == watchdog


def test_signs_of_life_come_twice_in_a_watchdogs_time(ear: NotifySocket) -> None:
    house = House(ear, WATCHDOG_USEC="4000000")
    house.clock.advance(10)
    assert ear.rest() == []  # not before we serve
    house.supervision.ready()
    house.clock.pump([1.0] * 4)
    signs = [one for one in ear.rest() if "WATCHDOG" in one]
    assert len(signs) == 3
    house.supervision.stopping(30.0)
    house.clock.advance(2)
    assert ear.rest()[-1] == {"WATCHDOG": "1"}
    house.supervision.stop()
    assert house.clock.getDelayedCalls() == []


def test_status_is_told_when_it_has_changed(ear: NotifySocket) -> None:
    house = House(ear)
    house.supervision.ready()
    assert ear.rest() == [{"READY": "1"}, {"STATUS": "quiet"}]
    house.clock.advance(STATUS_SECONDS)
    house.text = "busy"
    house.clock.advance(STATUS_SECONDS - 0.1)
    assert ear.rest() == []
    house.clock.advance(0.1)
    assert ear.rest() == [{"STATUS": "busy"}]
    house.supervision.stop()


def test_reload_is_told_from_beginning_to_end(ear: NotifySocket) -> None:
    house = House(ear)
    house.supervision.reloading()
    house.supervision.reloaded()
    assert [set(one) for one in ear.rest()] == [
        {"RELOADING", "MONOTONIC_USEC"},
        {"READY"},
    ]


def test_unwatched_service_has_no_timers() -> None:
    clock = Clock()
    supervision = Supervision(Notifier({}, PID), clock=clock, describe=lambda: "")
    supervision.ready()
    assert clock.getDelayedCalls() == []
    supervision.stop()
