"""A command that the system does not end: waited for, but not for ever."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import attrs
import pytest
from twisted.internet.task import Clock

from moltbot_gw.tools.process_sessions import Sessions
from moltbot_gw.tools.process_spawn import Command, Launch, spawn
from tests.support.gateway import LogTape

LAUNCH = Launch(program="/bin/x", argv=("x",), environ={}, folder="/", pty=False)


class Undead(Clock):
    """A system whose processes never end: those here are gone, and not waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.was_closed = False
        self.producer: Any = None
        process = subprocess.Popen(["true"])
        process.wait()
        self.pid = process.pid

    def spawnProcess(self, protocol: Command, *args: Any, **kwargs: Any) -> None:
        for descriptor in kwargs.get("usePTY", ())[:2]:
            os.close(descriptor)
        protocol.makeConnection(self)  # type: ignore[arg-type]

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.was_closed = True


@pytest.mark.parametrize("pty", [False, True])
def test_what_cannot_be_ended_is_given_up(pty: bool) -> None:
    clock = Undead()
    command = spawn(attrs.evolve(LAUNCH, pty=pty), mark="m", reactor=clock)
    assert command.has_input is pty
    ended = command.when_ended()
    command.kill()
    command.kill()
    with LogTape() as tape:
        clock.pump([0.4] + [0.5] * 10)
        assert not ended.called
        clock.pump([0.5])
        assert ended.called
        [problem] = tape.take_problems()
    assert f"process {clock.pid} cannot be ended" in problem
    assert clock.was_closed
    assert clock.producer is None
    assert command.exit_code is None
    assert clock.getDelayedCalls() == []
    assert command.when_ended().called
    command.kill()
    assert clock.getDelayedCalls() == []


def test_it_is_told_as_such() -> None:
    clock = Undead()
    sessions = Sessions(reactor=clock, unix_time=clock.seconds, on_exit=print)
    session = sessions.start(
        LAUNCH,
        text="x",
        agent_id="main",
        session_key="agent:main:main",
        timeout=60.0,
        keep_seconds=1.0,
    )
    session.command.kill()
    with LogTape() as tape:
        clock.pump([0.4] + [0.5] * 11)
        assert len(tape.take_problems()) == 1
    assert (session.status, session.ending) == ("failed", "could not be ended")
    clock.advance(1)
    assert sessions.of_agent("main") == []
