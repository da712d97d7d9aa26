"""Real pipes, read only when the test says so."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from functools import partial

import pytest

from moltbot_gw.logs.writer import LineWriter, write_all

PATIENCE = 20.0


class Pipe:
    """A pipe and its writer."""

    def __init__(self, max_waiting: int) -> None:
        self.theirs, self.ours = os.pipe()
        self.writer = LineWriter(
            partial(write_all, self.ours),
            dropped=lambda n: b"%d lost\n" % n,
            max_waiting=max_waiting,
        )

    def close(self) -> None:
        for descriptor in (self.theirs, self.ours):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(max_waiting=1000)
    yield pipe
    pipe.writer.close(0)
    pipe.close()


def test_lines_come_in_order(pipe: Pipe) -> None:
    for number in range(20):
        pipe.writer.write(b"%d\n" % number)
    pipe.writer.close(PATIENCE)
    os.close(pipe.ours)
    pipe.ours = -1
    expected = b"".join(b"%d\n" % number for number in range(20))
    assert os.read(pipe.theirs, 65536) == expected


def test_nobody_waits_for_a_pipe_that_takes_nothing_and_loss_is_told(
    pipe: Pipe,
) -> None:
    line = b"x" * 99 + b"\n"
    for _ in range(20_000):  # 2 MB, thirty times what a pipe holds
        pipe.writer.write(line)
    lines: list[bytes] = []
    lost = 0
    with os.fdopen(os.dup(pipe.theirs), "rb") as file:
        while len(lines) + lost < 20_000:
            said = file.readline()
            if said.endswith(b" lost\n"):
                lost += int(said.split()[0])
            else:
                lines.append(said)
    assert set(lines) == {line}
    assert lost > 15_000


def test_lines_that_follow_a_loss_are_written(pipe: Pipe) -> None:
    for _ in range(5000):
        pipe.writer.write(b"x" * 99 + b"\n")
    found = b""
    while b" lost\n" not in found:
        found += os.read(pipe.theirs, 65536)
    while not found.endswith(b"end\n"):
        # The first ones may be too many.
        pipe.writer.write(b"end\n")
        found += os.read(pipe.theirs, 65536)


def test_a_reader_that_has_gone_harms_nobody(pipe: Pipe) -> None:
    os.close(pipe.theirs)
    pipe.theirs = -1
    for _ in range(100):
        pipe.writer.write(b"line\n")
    pipe.writer.close(PATIENCE)


def test_a_pipe_that_somebody_made_non_blocking(pipe: Pipe) -> None:
    fcntl.fcntl(pipe.ours, fcntl.F_SETFL, os.O_NONBLOCK)
    fcntl.fcntl(pipe.ours, fcntl.F_SETPIPE_SZ, 4096)
    pipe.writer.write(b"x" * 900 + b"\n")
    found = b""
    for _ in range(50):
        pipe.writer.write(b"x" * 900 + b"\n")
    pipe.writer.close(0)
    while b" lost\n" not in found:
        found += os.read(pipe.theirs, 65536)
    assert found.startswith(b"x" * 900)


def test_nothing_is_taken_after_the_end(pipe: Pipe) -> None:
    pipe.writer.close(0)
    pipe.writer.write(b"late\n")
    os.close(pipe.ours)
    pipe.ours = -1
    assert os.read(pipe.theirs, 100) == b""
