"""A thread with a connection of its own, fed by the reactor thread.

What must hold: each Deferred fires exactly once, in the reactor thread; the thread
outlives every failure of a job or of the storage; nothing here blocks the reactor.
When the thread gets its jobs is decided in ``gathering``.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar, Union

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from moltbot_gw.errors import StoreFailed
from moltbot_gw.sessions import faults
from moltbot_gw.sessions.batches import Job, Perform
from moltbot_gw.sessions.connection import Identity, identity
from moltbot_gw.sessions.faults import Unusable
from moltbot_gw.sessions.gathering import Gathering

_log = Logger()

_A = TypeVar("_A")
_R = TypeVar("_R")


class _Signal(Enum):
    DROP = "close the file; the next job opens it again"
    STOP = "there is no next job"


class IWorkerReactor(IReactorFromThreads, IReactorTime):
    """What a worker needs of a reactor."""


class Worker:
    """Runs jobs on one SQLite connection, many at a time if many wait.

    The file is opened for the first job, and again for a later one after it could not
    be opened or was lost to a fault, at most once in *reopen_interval* seconds.  With
    *waits_for_company*, jobs that come together are gathered (see ``gathering``).
    *opener*, *perform* and *on_lost* are called in the worker's thread.

    *faults* counts what went wrong since the start.
    """

    def __init__(
        self,
        *,
        name: str,
        path: Path,
        opener: Callable[[Path], sqlite3.Connection],
        perform: Perform,
        reactor: IWorkerReactor,
        reopen_interval: float,
        on_lost: Callable[[], None],
        waits_for_company: bool = False,
    ) -> None:
        self._path = path
        self._opener = opener
        self._perform = perform
        self._reactor = reactor
        self._reopen_interval = reopen_interval
        self._on_lost = on_lost
        self._gathering = Gathering(
            reactor, self._hand_over, for_company=waits_for_company
        )
        self._queue: SimpleQueue[Union[list[Job], _Signal]] = SimpleQueue()
        self._name = name
        # Made for the first job: twistd forks before, and Python 3.13 cannot start a
        # thread in a child that was made in its parent.
        self._thread: Thread | None = None
        self._closers: list[Deferred[None]] | None = None
        # These belong to the thread.
        self.faults = 0
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._refusal = StoreFailed("The session store is not open.")
        self._refused_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection; a hint, outside the thread."""
        return self._connection is not None

    @property
    def waiting(self) -> int:
        """How many jobs nobody has begun yet."""
        return len(self._gathering)

    def ask(
        self, work: Callable[[sqlite3.Connection, _A], _R], argument: _A
    ) -> Deferred[_R]:
        """Do *work* in the thread; fire with what it returns, once that is committed.

        Errbacks with ``StoreFailed``.  Cancelling stops only the waiting.
        """
        if self._closers is not None:
            return fail(StoreFailed("The session store is closed."))
        done: Deferred[_R] = Deferred()
        self._gathering.add(Job(work, argument, done))
        return done

    def drop(self) -> None:
        """Close the file soon; the next job opens it again.  Any thread may call."""
        self._queue.put(_Signal.DROP)

    def close(self) -> Deferred[None]:
        """Do the jobs asked for before, then close the file and end the thread."""
        if self._closers is None:
            self._closers = []
            self._gathering.flush()
            self._queue.put(_Signal.STOP)
        if self._thread is None or not self._thread.is_alive():
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closers.append(closed)
        return closed

    def _hand_over(self, jobs: list[Job]) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._queue.put(jobs)

    def _work(self) -> None:
        """Be the thread."""
        while (item := self._queue.get()) is not _Signal.STOP:
            if isinstance(item, _Signal):
                self._disconnect()
            else:
                self._do(item)
                self._reactor.callFromThread(self._acknowledge, item)
        self._disconnect()
        self._reactor.callFromThread(self._ended)

    def _do(self, jobs: list[Job]) -> None:
        if self._connection is None:
            self._open()
        elif identity(self._path) != self._identity:
            moved = Unusable("its file was moved or replaced", str(self._path))
            self._report(moved)
            self._lose(moved)
        if self._connection is None:
            for job in jobs:
                job.error = self._refusal
            return
        try:
            self._perform(self._connection, jobs)
        except Exception as error:  # BEGIN or COMMIT: it belongs to the whole batch
            for job in jobs:
                job.error = job.error or error
        # Neighbours that failed with one transaction share one error.
        for fault in {id(job.error): job.error for job in jobs if job.error}.values():
            self._report(fault)
            if faults.loses_connection(fault):
                self._lose(fault)

    def _open(self) -> None:
        """Open the file, unless it was refused a moment ago."""
        if time.monotonic() < self._refused_until:
            return
        try:
            self._connection = self._opener(self._path)
        except Exception as error:  # a store that cannot be opened stops nothing else
            self._report(error)
            self._refuse(faults.for_client(error, opening=True))
        self._identity = identity(self._path)

    def _lose(self, error: Exception) -> None:
        self._disconnect()
        self._refuse(faults.for_client(error))
        self._on_lost()

    def _refuse(self, refusal: StoreFailed) -> None:
        self._refusal = refusal
        self._refused_until = time.monotonic() + self._reopen_interval

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _report(self, error: Exception) -> None:
        """Tell the operator, from the reactor thread."""
        self.faults += 1
        tell = self._reactor.callFromThread
        if faults.is_foreseen(error):
            tell(_log.error, "session store: {detail}", detail=faults.for_log(error))
        else:
            tell(_log.failure, "session store: a job failed", Failure(error))

    def _acknowledge(self, jobs: list[Job]) -> None:
        try:
            for job in jobs:
                if job.error is None:
                    job.done.callback(job.result)
                else:
                    job.done.errback(faults.for_client(job.error))
        finally:
            self._gathering.batch_done()

    def _ended(self) -> None:
        assert self._thread is not None
        self._thread.join()  # it has nothing left to do
        closers, self._closers = self._closers, []
        for closed in closers or ():
            closed.callback(None)
