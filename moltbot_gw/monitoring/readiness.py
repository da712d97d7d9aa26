"""Whether the gateway should be given work: the store takes it, and nothing stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from moltbot_gw.errors import StoreFailed
from moltbot_gw.interfaces import ISessionStore

_log = Logger()

KEEP_SECONDS = 1.0
"""How long an answer of the store is good: probes must cost nobody anything."""

ANSWER_SECONDS = 2.0
"""How long the store may take to answer; a probe's own patience is often short."""

STOPPING = "The gateway is stopping."
SILENT = f"The session store has not answered for {ANSWER_SECONDS:g} seconds."
BROKEN = "The check failed; the gateway's log knows more."


class Report(msgspec.Struct, frozen=True):
    """What was found: each check by its name, with its problem or None."""

    checks: Mapping[str, str | None]

    @property
    def is_ready(self) -> bool:
        """Whether there is no problem."""
        return not any(self.checks.values())


class ReadinessCheck:
    """Looks whether the gateway is ready.

    *config_problem* tells what is wrong with the configuration as it is on the disk
    now, None for nothing.  The store is asked to write, by one at a time.
    """

    def __init__(
        self,
        *,
        store: ISessionStore,
        is_draining: Callable[[], bool],
        config_problem: Callable[[], str | None],
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._is_draining = is_draining
        self._config_problem = config_problem
        self._clock = clock
        self._asked_at: float | None = None
        self._is_asking = False
        self._found: str | None = None
        self._waiters: list[Deferred[str | None]] = []

    async def report(self) -> Report:
        """Return how it is; cancelling only stops the waiting."""
        checks = {"config": self._config_problem()}
        if self._is_draining():
            # The store may be closed already, and what it says does not matter.
            return Report({"accepting": STOPPING, **checks})
        return Report({"accepting": None, **checks, "store": await self._ask_store()})

    async def _ask_store(self) -> str | None:
        """Return the store's problem, or None, not older than ``KEEP_SECONDS``."""
        if not self._is_asking and self._age() >= KEEP_SECONDS:
            self._asked_at, self._is_asking = self._clock.seconds(), True
            self._store.check().addCallbacks(self._answered, self._failed)
        if not self._is_asking:
            return self._found
        left = ANSWER_SECONDS - self._age()
        if left <= 0:
            return SILENT
        waiter: Deferred[str | None] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        try:
            return await waiter.addTimeout(left, self._clock)
        except TimeoutError:
            return SILENT

    def _age(self) -> float:
        """Return how long ago the store was asked; long, if the clock was set back."""
        if self._asked_at is None:
            return KEEP_SECONDS
        age = self._clock.seconds() - self._asked_at
        return age if age >= 0 else KEEP_SECONDS

    def _answered(self, _: object) -> None:
        self._tell(None)

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreFailed):
            self._tell(failure.value.message)
        else:
            _log.failure("the store's check failed", failure)
            self._tell(BROKEN)

    def _tell(self, found: str | None) -> None:
        self._is_asking, self._found = False, found
        while self._waiters:
            # One by one: what a waiter does may cancel another.
            self._waiters.pop(0).callback(found)
