"""Taking over a changed configuration while everything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from moltbot_gw.refusal import StartRefused
from moltbot_gw.reloadstatus import ReloadStatus
from moltbot_gw.settings import Current, Settings
from moltbot_gw.supervision import Supervision
from moltbot_gw.tlsfiles import tls_files
from moltbot_gw.watching import FileWatcher

_log = Logger()

WAITS_FOR_RESTART = "gateway.reload.mode is restart"


class Draft(Protocol):
    """A configuration that is built and checked, and not in force yet."""

    @property
    def changes(self) -> bool:
        """Whether it differs from the one in force."""

    async def open(self) -> None:
        """Open what it needs of the system; raise ``StartRefused``."""

    async def discard(self) -> None:
        """Close that again."""

    def install(self) -> tuple[str, ...]:
        """Put it in force, all at once; return what only a restart would change."""

    async def finish(self) -> None:
        """Close what the one before needed."""


class Reloader:
    """Reads the configuration anew, and puts it in force whole or not at all.

    *reread* returns the settings or raises ``StartRefused``; it runs in a thread.
    *draft* builds what they say, and raises the same.  *told* is called when the status
    has changed.  Nothing is done before ``start``.
    """

    def __init__(
        self,
        *,
        current: Current,
        status: ReloadStatus,
        reread: Callable[[], Settings],
        draft: Callable[[Settings], Draft],
        told: Callable[[], None],
        supervision: Supervision,
        run_in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        clock: Any,
    ) -> None:
        self._current = current
        self._status = status
        self._reread = reread
        self._draft = draft
        self._told = told
        self._supervision = supervision
        self._run_in_thread = run_in_thread
        self._last_error: str | None = None
        self._working: Deferred[None] | None = None
        self._next: bool | None = None
        self._stopped = True
        self._watcher = FileWatcher(
            changed=self._files_changed,
            quiet=lambda: current.settings.config.gateway.reload.debounce_ms / 1000,
            run_in_thread=run_in_thread,
            clock=clock,
        )

    def start(self) -> None:
        """Watch the files; their mode of reload is looked at when they change."""
        self._stopped = False
        self._watcher.watch(watched_files(self._current.settings))
        self._watcher.start()

    def stop(self) -> None:
        """Watch no more; what is being reloaded is dropped."""
        self._stopped = True
        self._watcher.stop()
        if self._working is not None:
            self._working.cancel()

    def reload(self) -> None:
        """Somebody says that it is time: reload in any mode, and tell in any case."""
        if not self._stopped:
            _log.info("asked to reload the configuration")
            self._last_error = None
            self._begin(by_hand=True)

    async def _files_changed(self) -> None:
        if self._current.settings.config.gateway.reload.mode != "off":
            await self._begin(by_hand=False)

    def _begin(self, *, by_hand: bool) -> Deferred[None]:
        """Reload, or once more after the reload that is under way."""
        if self._working is not None:
            # What has been read so far may be older than what is there now.
            self._next = bool(self._next) or by_hand
            return self._working
        working = self._working = Deferred.fromCoroutine(self._reload(by_hand))
        working.addErrback(self._failed)
        working.addCallback(self._done)
        return working

    def _done(self, _: object) -> None:
        self._working = None
        by_hand, self._next = self._next, None
        if by_hand is not None and not self._stopped:
            self._begin(by_hand=by_hand)

    async def _reload(self, by_hand: bool) -> None:
        self._supervision.reloading()
        files = watched_files(self._current.settings)
        try:
            settings: Settings = await self._run_in_thread(self._reread)
            files = watched_files(settings)
            await self._take(settings, by_hand)
            self._last_error = None
        except StartRefused as refusal:
            # Whichever of these is mended, it may be what was wrong.
            old = watched_files(self._current.settings)
            files = tuple(dict.fromkeys((*old, *files, *refusal.files)))
            self._refused(str(refusal))
        finally:
            if not self._stopped:
                self._watcher.watch(files)
                self._supervision.reloaded()

    async def _take(self, settings: Settings, by_hand: bool) -> None:
        mode = self._current.settings.config.gateway.reload.mode
        draft = self._draft(settings)
        if not draft.changes:
            self._good()
            return
        if mode == "restart" and not by_hand:
            self._postpone()
            return
        try:
            await draft.open()
        except CancelledError:
            await draft.discard()
            raise
        waiting = draft.install()
        self._status.taken(waiting)
        for what in waiting:
            _log.warn("a restart is needed for a change of {what}", what=what)
        for notice in settings.notices:
            _log.warn("{notice}", notice=notice)
        _log.info("the configuration was reloaded")
        self._told()
        await draft.finish()

    def _good(self) -> None:
        if not self._status.ok:
            _log.info("the configuration is the one in force again")
            self._status.good()
            self._told()

    def _postpone(self) -> None:
        if self._status.waiting != (WAITS_FOR_RESTART,) or not self._status.ok:
            _log.warn(
                "the configuration has changed and is good; it waits for a restart,"
                " because gateway.reload.mode is restart"
            )
            self._status.postponed(WAITS_FOR_RESTART)
            self._told()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("the configuration was not reloaded", failure)
            self._status.refused("the gateway failed; its log knows more")
            self._told()

    def _refused(self, error: str) -> None:
        if error == self._last_error:
            return
        self._last_error = error
        _log.error(
            "the configuration was not reloaded, the one before stays in force:"
            " {error}",
            error=error,
        )
        self._status.refused(error)
        self._told()


def watched_files(settings: Settings) -> tuple[Path, ...]:
    """Return the files whose content counts for *settings*."""
    tls = settings.config.gateway.tls
    keys = tls_files(tls, settings.state) if tls.enabled else ()
    return (*settings.files, *keys)
