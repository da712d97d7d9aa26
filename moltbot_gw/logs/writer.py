"""Lines to what may stop taking them at any time: a pipe, a terminal, a busy disk.

A thread does the writing, because nothing else works for every kind of stderr: making
it non-blocking would do so for every process that shares it, and asking first whether
it takes something is no promise.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread

MAX_WAITING_BYTES = 1024 * 1024
"""Lines that wait for a reader; those that come beyond it are dropped and counted."""

MAX_WRITE_BYTES = 64 * 1024


class LineWriter:
    """Writes lines to *sink*, and never lets who gives them wait.

    *sink* is called in the writer's thread, with whole lines, and may block.  *dropped*
    makes, of a number, the line that tells how many were lost.  What cannot be written
    is given up: the log must stop nothing.
    """

    def __init__(
        self,
        sink: Callable[[bytes], object],
        *,
        dropped: Callable[[int], bytes],
        max_waiting: int = MAX_WAITING_BYTES,
    ) -> None:
        self._sink = sink
        self._tell_dropped = dropped
        self._max_waiting = max_waiting
        # Its lock may be taken again by the same thread: the collector can run a
        # __del__ that logs at any point in here.
        self._changed = Condition()
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._dropped = 0
        self._idle = False
        self._closed = False
        self._thread: Thread | None = None

    def write(self, line: bytes) -> None:
        """Take *line*, from any thread; it ends with a line break."""
        with self._changed:
            if self._closed or self._waiting + len(line) > self._max_waiting:
                self._dropped += 1
                return
            self._lines.append(line)
            self._waiting += len(line)
            if self._thread is None:
                # Not before the first line: a thread does not survive a fork.
                self._thread = Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            elif self._idle:
                self._idle = False  # one call wakes it, however many lines follow
                self._changed.notify()

    def close(self, seconds: float) -> None:
        """Take no more; return when all is written, or after *seconds*."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _run(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                return
            with suppress(OSError):
                self._sink(b"".join(batch))

    def _take(self) -> list[bytes]:
        """Return the next lines, none at the end; wait for them."""
        with self._changed:
            while not self._lines and not self._dropped and not self._closed:
                self._idle = True
                self._changed.wait()
                self._idle = False
            batch, size = [], 0
            while self._lines and size < MAX_WRITE_BYTES:
                batch.append(self._lines.popleft())
                size += len(batch[-1])
            self._waiting -= size
            dropped, self._dropped = self._dropped, 0
        if dropped:
            batch.append(self._tell_dropped(dropped))
        return batch


def write_all(descriptor: int, data: bytes) -> None:
    """Write *data*; wait as long as it takes.  Raises ``OSError``."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            _wait(descriptor)


def _wait(descriptor: int) -> None:
    """Wait for room in a pipe that somebody else has made non-blocking."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()
