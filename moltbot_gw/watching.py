"""Watching files by looking at them, whoever replaces them and however."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Union

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater

POLL_SECONDS = 1.0
STABLE_SECONDS = 0.2
"""The least time that files must stay as they are before they count as written."""

FRESH_SECONDS = 2.0
"""A file that has changed so shortly before it was read may have changed again since,
and look the same: clocks of file systems are coarse."""

Look = Union[tuple[int, ...], str, None]
_Looks = dict[Path, Look]
_UNSURE: Look = "unsure"


class FileWatcher:
    """Calls *changed* when files have changed and then stayed so for a while.

    *quiet* returns how long (seconds) that is; *run_in_thread* does the looking, as a
    disk may hang.  While *changed* is awaited nobody looks.
    """

    def __init__(
        self,
        *,
        changed: Callable[[], Awaitable[None]],
        quiet: Callable[[], float],
        run_in_thread: Callable[[Callable[[], _Looks]], Deferred[_Looks]],
        clock: Any,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._changed = changed
        self._quiet = quiet
        self._run_in_thread = run_in_thread
        self._clock = clock
        self._unix_time = unix_time
        self._known: _Looks = {}
        self._looking: Deferred[None] | None = None
        self._loop = LoopingCall(self._begin)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to look, once a second."""
        self._loop.start(POLL_SECONDS, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()
        if self._looking is not None:
            self._looking.cancel()

    def watch(self, files: Iterable[Path]) -> None:
        """Look at these *files* from now on; they were read a moment ago.

        One that is new here, and has just changed, is taken for changed once more.
        """
        known = self._known
        since = self._unix_time() - FRESH_SECONDS
        self._known = {
            file: known[file] if file in known else _settled(file, since)
            for file in files
        }

    def _begin(self) -> Deferred[None]:
        looking = self._looking = Deferred.fromCoroutine(self.look())
        looking.addErrback(lambda failure: failure.trap(CancelledError))
        return looking.addCallback(lambda _: None)

    async def look(self) -> None:
        """Look now, and wait until files that change are done with it."""
        found = await self._find()
        while found != self._known:
            quiet = max(self._quiet(), STABLE_SECONDS)
            await deferLater(self._clock, quiet, lambda: None)
            again = await self._find()
            if again == found:
                self._known = found
                await self._changed()
                return
            found = again

    def _find(self) -> Deferred[_Looks]:
        files = tuple(self._known)
        return self._run_in_thread(lambda: {file: look_at(file) for file in files})


def look_at(file: Path) -> Look:
    """Return what changes whenever *file* does; None if it is not there."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return type(error).__name__
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (*times, found.st_size, found.st_ino, found.st_dev)


def _settled(file: Path, since: float) -> Look:
    look = look_at(file)
    if isinstance(look, tuple) and look[1] / 1e9 >= since:
        return _UNSURE
    return look
