"""The HTTP clients that wait for runs, and what becomes of a run without any."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from moltbot_gw.agents.run import Run
from moltbot_gw.errors import ClientGone
from moltbot_gw.events import RunOutcome

MOST_IN_GRACE = 256
"""Runs without a client that are let go on; the one that has waited longest is cut."""


class _Grace(NamedTuple):
    timer: IDelayedCall
    ended: Deferred[RunOutcome]


class Audience:
    """Whoever reads a run for a client joins it and leaves it.

    When the last one has left, the run is cancelled at once (*on_disconnect*
    ``"cancel"``), after *grace_seconds* unless somebody comes back (``"grace"``), or
    never (``"finish"``).  A run that no client of HTTP started is none of its business:
    who attaches to that only looks on.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        on_disconnect: Literal["cancel", "grace", "finish"],
        grace_seconds: float,
    ) -> None:
        self._clock = clock
        self._in_grace: OrderedDict[Run, _Grace] = OrderedDict()
        self.change(on_disconnect, grace_seconds)

    def change(
        self, on_disconnect: Literal["cancel", "grace", "finish"], grace_seconds: float
    ) -> None:
        """Do otherwise from now on; who is waited for already keeps his time."""
        self._on_disconnect = on_disconnect
        self._grace_seconds = grace_seconds

    def join(self, run: Run) -> None:
        """A client that started *run*, or repeats what started it, waits for it."""
        run.hold()

    def attach(self, run: Run) -> bool:
        """A client reads *run* by its id; return whether it is to ``leave`` again."""
        if run.is_held:
            run.hold()
        return run.is_held

    def leave(self, run: Run) -> None:
        """A client that has joined is gone, or has all it wanted."""
        if self._on_disconnect == "finish":
            return
        if self._on_disconnect == "cancel" or run.outcome is not None:
            _release(run)
            return
        # The place of this client is kept for a while, and that is all.
        self._end_grace(run)
        if len(self._in_grace) >= MOST_IN_GRACE:
            self._end_grace(next(iter(self._in_grace)))
        ended = run.when_ended()
        ended.addCallbacks(
            lambda _: self._end_grace(run), lambda failure: failure.trap(CancelledError)
        )
        timer = self._clock.callLater(self._grace_seconds, self._end_grace, run)
        self._in_grace[run] = _Grace(timer, ended)

    def _end_grace(self, run: Run) -> None:
        grace = self._in_grace.pop(run, None)
        if grace is None:
            return
        if grace.timer.active():
            grace.timer.cancel()
        grace.ended.cancel()
        _release(run)


def _release(run: Run) -> None:
    if run.release() and run.outcome is None:
        run.cancel(ClientGone("The client closed the connection."))
