"""A stderr that nobody reads, while the gateway has more and more to say."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from tests.support.daemon import PATIENCE, TWISTD, environment

FLOOD_BYTES = 2_000_000
MOST_GROWTH_KB = 30_000


class Unread:
    """A daemon in the development mode whose stderr is a pipe that is not read."""

    def __init__(self, home: Path) -> None:
        words = [
            str(TWISTD),
            "-n",
            "--pidfile=",
            "moltbot-gateway",
            "--dev",
            "--port=0",
        ]
        self.process = subprocess.Popen(
            words,
            cwd=home,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stderr: IO[bytes] = self.process.stderr
        self._logs = home / ".clawdbot-dev" / "logs"
        for line in self.process.stdout:
            found = re.search(rb"address: +http://127\.0\.0\.1:(\d+)", line)
            if found is not None:
                self.port = int(found[1])
                break

    @property
    def logged(self) -> int:
        """How much is in the log file, which says the same as the console."""
        return sum(file.stat().st_size for file in self._logs.glob("*.log"))

    @property
    def memory_kb(self) -> int:
        """How much memory the process has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def flood(self) -> None:
        """Ask until there was more to log than any pipe holds."""
        headers = {"X-Request-Id": "x" * 128}
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        enough = self.logged + FLOOD_BYTES
        with closing(client):
            while self.logged < enough:
                for _ in range(100):
                    client.request("GET", "/nothing", headers=headers)
                    answer = client.getresponse()
                    answer.read()
                    assert answer.status == 404

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.stderr.close()


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Unread]:
    daemon = Unread(tmp_path)
    yield daemon
    daemon.kill()


def test_a_pipe_that_nobody_reads_stops_nothing(unread: Unread) -> None:
    unread.flood()
    before = unread.memory_kb
    unread.flood()
    assert unread.memory_kb < before + MOST_GROWTH_KB
    unread.process.send_signal(signal.SIGTERM)
    assert unread.process.wait(PATIENCE) == 0


def test_who_reads_again_is_told_what_was_lost(unread: Unread) -> None:
    unread.flood()
    lost = 0
    for line in unread.stderr:
        said = json.loads(line)
        if said["subsystem"] == "logs.console":
            lost = said["dropped"]
            break
    assert lost > 0
    assert f"{lost} log lines were dropped" in said["message"]
    unread.process.send_signal(signal.SIGTERM)
    rest = unread.stderr.read()
    assert unread.process.wait(PATIENCE) == 0
    assert b"the gateway has stopped" in rest
