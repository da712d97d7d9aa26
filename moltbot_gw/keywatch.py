"""Keys that are made and taken back while the gateway runs.

A key that somebody has revoked must not go on until the next start, so the files of the
configuration are looked at each second, and of a changed one the keys count at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from moltbot_gw.config import ConfigError, LoadedConfig
from moltbot_gw.keyring import KeyRing

_log = Logger()

LOOK_SECONDS = 1.0

Stamp = tuple[tuple[int, int, int] | None, ...]


class KeyWatch:
    """Keeps *keys* at what the configuration says.

    *load* reads it, in a thread; *path* is its file, whether it exists or not, and what
    that one includes is learned by the first reading.  What is not valid changes
    nothing and is told once.
    """

    def __init__(
        self,
        *,
        keys: KeyRing,
        path: Path,
        load: Callable[[], LoadedConfig],
        run_in_thread: Callable[[Callable[[], LoadedConfig]], Deferred[LoadedConfig]],
        clock: IReactorTime,
    ) -> None:
        self._keys = keys
        self._files: tuple[Path, ...] = (path,)
        self._load = load
        self._run_in_thread = run_in_thread
        self._loading: Deferred[None] | None = None
        self._known: Stamp = ()
        self._seen: Stamp = ()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Look from now on."""
        self._looking.start(LOOK_SECONDS, now=False)

    def stop(self) -> None:
        """Look no more; harmless when it does not."""
        if self._looking.running:
            self._looking.stop()
        if self._loading is not None:
            self._loading.cancel()

    def _look(self) -> None:
        """Read files that have changed, once nobody is writing them any more."""
        before, self._seen = self._seen, self._stamp()
        if self._seen == self._known or self._seen != before:
            return
        if self._loading is None:
            self._known = self._seen
            self._loading = Deferred.fromCoroutine(self._read())
            self._loading.addErrback(lambda failure: failure.trap(CancelledError))
            self._loading.addCallback(self._done)

    async def _read(self) -> None:
        try:
            loaded = await self._run_in_thread(self._load)
        except ConfigError as error:
            _log.error("the keys stay as they were: {error}", error=error)
            return
        keys = loaded.config.gateway.auth.keys
        if self._keys.replace(keys):
            names = ", ".join(key.name for key in keys) or "none"
            _log.info("the keys are now: {names}", names=names)
        if loaded.files and loaded.files != self._files:
            # What is included may have changed since it was read, so read it again.
            self._files = loaded.files
            self._known = ()

    def _done(self, _: object) -> None:
        self._loading = None

    def _stamp(self) -> Stamp:
        return tuple(_stamp_of(path) for path in self._files)


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
