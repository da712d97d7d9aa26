"""Runs that ended lately, whole, for clients that lost their connection meanwhile."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.run import Run
from moltbot_gw.events import RunOutcome

KEPT_SECONDS = 600.0
MOST_KEPT = 1000
MOST_KEPT_BYTES = 64 * 1024 * 1024
"""All kept runs together; one that is larger by itself is not kept."""


class _Kept(NamedTuple):
    run: Run
    at: float
    size: int


class EndedRuns:
    """Keeps what runs have said for a while: the newest, within three bounds.

    What is kept is a copy: the run itself holds on to its model call and whoever read
    it.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many runs are kept."""
        return len(self._kept)

    def keep(self, run: Run, outcome: RunOutcome) -> None:
        """Keep *run*, which has ended with *outcome*, under its id."""
        self._drop(run.run_id)
        copy = _copy(run, outcome)
        kept = _Kept(copy, self._clock.seconds(), copy.log.footprint)
        if kept.size > MOST_KEPT_BYTES:
            return
        self._kept[run.run_id] = kept
        self._bytes += kept.size
        self.forget_old()

    def find(self, run_id: str) -> Run | None:
        """Return the run if it ended lately enough."""
        self.forget_old()
        kept = self._kept.get(run_id)
        return None if kept is None else kept.run

    def forget_old(self) -> None:
        """Let go of all that is beyond a bound; also called when nobody asks."""
        oldest_at = self._clock.seconds() - KEPT_SECONDS
        while self._kept:
            run_id, kept = next(iter(self._kept.items()))
            is_crowd = len(self._kept) > MOST_KEPT or self._bytes > MOST_KEPT_BYTES
            if kept.at > oldest_at and not is_crowd:
                break
            self._drop(run_id)

    def _drop(self, run_id: str) -> None:
        kept = self._kept.pop(run_id, None)
        if kept is not None:
            self._bytes -= kept.size


def _copy(run: Run, outcome: RunOutcome) -> Run:
    copy = Run(
        run_id=run.run_id,
        agent_id=run.agent_id,
        session_key=run.session_key,
        max_bytes=0,
        store_key=run.store_key,
        caller=run.caller,
    )
    copy.created, copy.started_at_ms = run.created, run.started_at_ms
    copy.session_id, copy.model = run.session_id, run.model
    copy.echo, copy.wants_usage = run.echo, run.wants_usage
    copy.log, copy.outcome = run.log.packed(), outcome
    return copy
