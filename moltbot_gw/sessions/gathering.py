"""Jobs on their way to a worker's thread: when it gets them, and with whom.

What must hold: the thread gets all jobs, in the order in which they were asked for; it
has one batch at a time; nobody waits for company longer than ``GATHER_SECONDS`` and a
pause.

Chosen: the reactor gathers, and the thread sleeps until a batch is complete.  Each
change between the two costs a fight for the interpreter and memory that one processor
has to fetch from another.  Rejected: a fixed time to gather (all clients of a small
crowd wait for its end, and who sleeps often pays for cold caches at each waking) and
none (commits of one or two jobs each).  Reads share no commit: they waited for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from moltbot_gw.sessions.batches import Job

MOST_JOBS = 256
"""How many jobs a batch has at most."""

PAUSE_SECONDS = 0.0005
"""A crowd is complete when nobody has come for so long."""

GATHER_SECONDS = 0.008
"""How long a crowd gathers at most, where the reactor is not late."""


class Gathering:
    """The jobs that wait; *hand_over* gives the thread a batch of them.

    Who comes alone goes at once.  If *for_company*, who comes soon after others went
    together waits until nobody has come for a moment, because then there is company
    again, as a rule.  Only the reactor's thread may use it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        hand_over: Callable[[list[Job]], None],
        *,
        for_company: bool,
    ) -> None:
        self._clock = clock
        self._hand_over = hand_over
        self._for_company = for_company
        self._jobs: list[Job] = []
        self._is_thread_busy = False
        self._crowded = False
        self._timer: IDelayedCall | None = None
        self._seen = 0
        self._until = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Let *job* go with the next batch."""
        self._jobs.append(job)
        if not self._is_thread_busy and self._timer is None:
            self._begin()

    def batch_done(self) -> None:
        """The thread has done what it was given."""
        self._is_thread_busy = False
        if self._jobs:
            self._begin()

    def flush(self) -> None:
        """Hand over all there are, though the thread may be busy: no more will come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._jobs:
            self._go()

    def _begin(self) -> None:
        if self._for_company and self._crowded:
            self._until = self._clock.seconds() + GATHER_SECONDS
            self._wait()
        else:
            self._go()

    def _wait(self) -> None:
        self._seen = len(self._jobs)
        self._timer = self._clock.callLater(PAUSE_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        has_grown = len(self._jobs) > self._seen
        if has_grown and self._clock.seconds() < self._until:
            self._wait()
        else:
            self._go()

    def _go(self) -> None:
        batch = self._jobs[:MOST_JOBS]
        del self._jobs[:MOST_JOBS]
        self._crowded = len(batch) > 1
        self._is_thread_busy = True
        self._hand_over(batch)
