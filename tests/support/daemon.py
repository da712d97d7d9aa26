"""``twistd moltbot-gateway`` as a process of its own."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from tests.support.init_system import launching

PATIENCE = 20.0
"""Seconds that a daemon may take for anything it is asked for."""

TWISTD = Path(sys.executable).with_name("twistd")


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return a small environment with *home*, and *more* in it."""
    names = ("PATH", "LANG", "PYTHONPATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "HOME": str(home), **more}


class Daemon:
    """A gateway in the foreground of a process, under umask 022.

    *options* follow ``moltbot-gateway``; *sock* and its *names* are handed to it as by
    an init system.  Output is read as it comes: ``wait_for``
    waits for a line, ``output`` is all there is, of both streams.
    """

    command: tuple[str, ...] = (str(TWISTD),)

    def __init__(
        self,
        home: Path,
        *options: str,
        environ: Mapping[str, str] | None = None,
        before: tuple[str, ...] = ("-n", "--pidfile="),
        sock: socket.socket | None = None,
        names: str = "gateway",
    ) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self._lines: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors: list[str] = []
        self.process = subprocess.Popen(
            [
                *launching(sock, names),
                *self.command,
                *before,
                "moltbot-gateway",
                *options,
            ],
            cwd=home,
            env=environment(home, **(environ or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=0o022,
            pass_fds=() if sock is None else (sock.fileno(),),
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            self._reader(self.process.stdout, self._lines),
            self._reader(self.process.stderr, self._errors),
        ]

    @property
    def output(self) -> str:
        """What was written so far, the log included."""
        return "".join(self._lines) + "".join(self._errors)

    @property
    def errors(self) -> str:
        """What was written to stderr so far."""
        return "".join(self._errors)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match in the first line that *pattern* is found in.

        Lines that were waited for before are not looked at again.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            left = max(deadline - time.monotonic(), 0)
            try:
                line = self._new.get(timeout=left)
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line with {pattern!r} in:\n{self.output}")
            match = re.search(pattern, line)
            if match is not None:
                return match

    def listening(self) -> int:
        """Return the port, once the daemon listens on it."""
        return int(self.wait_for(r'listening on [^\s"]+?:(\d+)(?:"|$)')[1])

    def signal(self, number: int) -> None:
        """Send a signal; the process has not ended yet."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status (negative: the signal that killed it) at the end."""
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    def stop(self) -> int:
        """Stop it as init systems do; return the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kill it (harmless when it has ended), and close its pipes."""
        self.process.kill()
        self.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _reader(self, pipe: IO[str], lines: list[str]) -> threading.Thread:
        def read() -> None:
            for line in pipe:
                lines.append(line)
                self._new.put(line.rstrip("\n"))
            if pipe is self.process.stdout:
                self._new.put(None)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread
