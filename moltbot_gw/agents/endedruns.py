"""Runs that ended lately, whole, for clients that lost their connection meanwhile."""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.packedlog import PackedLog, footprint, pack, unpack
from moltbot_gw.agents.run import Run
from moltbot_gw.events import RunOutcome
from moltbot_gw.principals import Principal

KEPT_SECONDS = 600.0
MOST_KEPT = 1000
MOST_KEPT_BYTES = 64 * 1024 * 1024
"""All kept runs together; one that is larger by itself is not kept."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run, and since when it is kept; *size* is that of its words, in bytes."""

    run_id: str
    agent_id: str
    session_key: str
    store_key: str
    caller: Principal
    created: int
    started_at_ms: int | None
    session_id: str | None
    model: str | None
    echo: str | None
    wants_usage: bool
    log: PackedLog
    outcome: RunOutcome
    at: float
    size: int


class EndedRuns:
    """Keeps what runs have said for a while: the newest, within three bounds.

    What is kept is a copy: the run itself holds on to its model call and whoever read
    it, and is made of two dozen objects more for the garbage collector to look at.
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
        kept = _kept(run, outcome, self._clock.seconds())
        if kept.size > MOST_KEPT_BYTES:
            return
        self._kept[run.run_id] = kept
        self._bytes += kept.size
        self.forget_old()

    def find(self, run_id: str) -> Run | None:
        """Return a run that says again what that one said, if it ended lately."""
        self.forget_old()
        kept = self._kept.get(run_id)
        return None if kept is None else _run(kept)

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


def _kept(run: Run, outcome: RunOutcome, at: float) -> _Kept:
    log = pack(run.log)
    return _Kept(
        run_id=run.run_id,
        agent_id=run.agent_id,
        session_key=run.session_key,
        store_key=run.store_key,
        caller=run.caller,
        created=run.created,
        started_at_ms=run.started_at_ms,
        session_id=run.session_id,
        model=run.model,
        echo=run.echo,
        wants_usage=run.wants_usage,
        log=log,
        outcome=outcome,
        at=at,
        size=footprint(log),
    )


def _run(kept: _Kept) -> Run:
    run = Run(
        run_id=kept.run_id,
        agent_id=kept.agent_id,
        session_key=kept.session_key,
        max_bytes=0,
        store_key=kept.store_key,
        caller=kept.caller,
    )
    run.created, run.started_at_ms = kept.created, kept.started_at_ms
    run.session_id, run.model = kept.session_id, kept.model
    run.echo, run.wants_usage = kept.echo, kept.wants_usage
    run.log, run.outcome = unpack(kept.log, kept.outcome), kept.outcome
    return run
