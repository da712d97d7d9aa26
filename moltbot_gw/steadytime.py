"""Timers that do not care what the wall clock says."""

from __future__ import annotations

import time
from typing import Any

from twisted.python import runtime


def keep_steady(reactor: Any) -> None:
    """Let *reactor* count time by a clock that nobody can set.

    Twisted's reactors count by ``time.time``: a wall clock that is set forward rings
    all timers at once and cuts every stream, one that is set back stops them, the
    watchdog's among them.  What is scheduled already keeps its delay.  Reactors that
    have a clock of their own keep it.
    """
    if reactor.seconds is not runtime.seconds:
        return
    now = reactor.seconds()
    waiting = [(call, call.getTime() - now) for call in reactor.getDelayedCalls()]
    reactor.seconds = time.monotonic
    for call, left in waiting:
        call.seconds = time.monotonic
        call.reset(max(left, 0.0))
