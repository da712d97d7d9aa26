"""Which processes belong to a command, and which only look like it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moltbot_gw.tools.process_tree import MARK, ProcessTree

SLEEP = ["sleep", "1000"]


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own."""
    with subprocess.Popen(SLEEP, start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture
def marked() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has only the mark."""
    environ = {"A": "b", MARK: "mine", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(SLEEP, env=environ, start_new_session=True) as process:
        yield process
        process.kill()


def test_a_session_is_a_tree(leader: subprocess.Popen[bytes]) -> None:
    assert ProcessTree(leader.pid, "none").pids() == {leader.pid}


def test_a_late_leaders_number_is_somebody_elses(
    leader: subprocess.Popen[bytes],
) -> None:
    tree = ProcessTree(leader.pid, "none")
    tree.leader_is_gone = True
    assert tree.pids() == set()
    tree.signal(signal.SIGKILL)
    assert leader.poll() is None


def test_a_mark_is_compared_as_a_whole(marked: subprocess.Popen[bytes]) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for mark, found in (("mine", {marked.pid}), ("min", set()), ("ine", set())):
        assert ProcessTree(gone.pid, mark).pids() == found


def test_without_proc_the_group_is_reached(
    leader: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    tree = ProcessTree(leader.pid, "none", proc=tmp_path / "none")
    assert tree.pids() == set()
    tree.signal(signal.SIGTERM)
    assert leader.wait(10) == -signal.SIGTERM
