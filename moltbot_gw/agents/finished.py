"""The outcomes of runs that ended lately, for those who ask a little late."""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.run import Run
from moltbot_gw.events import RunOutcome

REMEMBERED_SECONDS = 600.0
MOST_REMEMBERED = 1000


class _Ended(msgspec.Struct, frozen=True, gc=False):
    outcome: RunOutcome
    at: float


class FinishedRuns:
    """Remembers outcomes by run id, for a while, and who waits for one.

    Who waits is told of a run that starts later, too.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._ended: OrderedDict[str, _Ended] = OrderedDict()
        self._waiters: dict[str, list[Deferred[RunOutcome]]] = {}

    def expect(self, run: Run) -> None:
        """Remember how *run* ends."""
        self._ended.pop(run.run_id, None)
        run.on_end(self._remember)

    def when_ended(self, run_id: str) -> Deferred[RunOutcome]:
        """Return a fresh Deferred; cancelling it only stops waiting."""
        ended = self._ended.get(run_id)
        if ended is not None:
            if self._clock.seconds() - ended.at < REMEMBERED_SECONDS:
                return succeed(ended.outcome)
            del self._ended[run_id]
        waiter: Deferred[RunOutcome] = Deferred(lambda _: self._give_up(run_id, waiter))
        self._waiters.setdefault(run_id, []).append(waiter)
        return waiter

    def _remember(self, run: Run, outcome: RunOutcome) -> None:
        run_id = run.run_id
        self._ended[run_id] = _Ended(outcome, self._clock.seconds())
        if len(self._ended) > MOST_REMEMBERED:
            self._ended.popitem(last=False)
        while run_id in self._waiters:
            # One by one: what a waiter does may cancel another.
            waiter = self._waiters[run_id][0]
            self._give_up(run_id, waiter)
            waiter.callback(outcome)

    def _give_up(self, run_id: str, waiter: Deferred[RunOutcome]) -> None:
        waiters = self._waiters[run_id]
        waiters.remove(waiter)
        if not waiters:
            del self._waiters[run_id]
