"""Jobs for a connection, and the two ways to do many of them.

What must hold: a job's acknowledgement comes after its commit; a failing job harms
nobody else.  Chosen: the jobs of a batch run bare in one transaction, and only if one
fails is it rolled back and done again with a savepoint around each.  Rejected:
savepoints always (two more statements a job, and SQLite copies every page that a job
touches) and one transaction each (a flush of the disk per turn, 20 times slower with
64 callers).  So a job may run twice; it must do nothing but work on its connection.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from moltbot_gw.tallies import Histogram

COMMIT_BOUNDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


@attrs.define(eq=False)
class Job:
    """One call of the store on its way through a worker's thread.

    ``error`` is None once the job has been done, and ``result`` counts only then.
    """

    work: Callable[[sqlite3.Connection, Any], Any]
    argument: Any
    done: Deferred[Any]
    result: Any = None
    error: Exception | None = None

    def attempt(self, connection: sqlite3.Connection) -> bool:
        """Do the work; say whether it went well."""
        self.error = None
        try:
            self.result = self.work(connection, self.argument)
        except Exception as error:  # whatever it is, it belongs to this job alone
            self.error = error
            return False
        return True


Perform = Callable[[sqlite3.Connection, list[Job]], None]
"""Does a batch; what went wrong is then in the ``error`` of each job."""


def one_by_one(connection: sqlite3.Connection, jobs: list[Job]) -> None:
    """Do jobs of one statement each that only read."""
    for job in jobs:
        job.attempt(connection)


class GroupCommit:
    """Does jobs that write: one commit for all that wait.

    *commit_seconds* counts them since the start of the process: how long each took to
    reach the disk.
    """

    def __init__(self) -> None:
        self.commit_seconds = Histogram(COMMIT_BOUNDS)

    @property
    def commits(self) -> int:
        """How many commits there were."""
        return sum(self.commit_seconds.counts)

    def __call__(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        """Do *jobs*; raise ``sqlite3.Error`` if all of them have failed together."""
        try:
            if not self._bare(connection, jobs) and len(jobs) > 1:
                self._guarded(connection, jobs)
        finally:
            _roll_back(connection)

    def _bare(self, connection: sqlite3.Connection, jobs: list[Job]) -> bool:
        _begin(connection)
        for job in jobs:
            if not job.attempt(connection):
                return False
        self._commit(connection)
        return True

    def _guarded(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        _begin(connection)
        for job in jobs:
            connection.execute("SAVEPOINT job")
            if not job.attempt(connection):
                if job.error is not None and not connection.in_transaction:
                    raise job.error  # so bad that SQLite gave up all of them
                connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
        self._commit(connection)

    def _commit(self, connection: sqlite3.Connection) -> None:
        began = time.monotonic()
        connection.execute("COMMIT")
        self.commit_seconds.observe(time.monotonic() - began)


def _begin(connection: sqlite3.Connection) -> None:
    _roll_back(connection)
    connection.execute("BEGIN IMMEDIATE")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
