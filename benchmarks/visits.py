"""The load of the soak: visits of all kinds, chosen by chance.

``python -m benchmarks.visits PORT SECONDS RATE SEED`` begins RATE visits a second for
SECONDS, one of each kind first, waits until the last one is over, and prints JSON: by
the name of the visit, how many there were, and the first problems.  There are at most
``MOST_AT_ONCE``; those that would be more are put off and counted.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from benchmarks.people import VISITS, Person, Visit

reactor: Any = _reactor

MOST_AT_ONCE = 150
MOST_PROBLEMS = 20


class Load:
    """Begins visits by *visitor* until *end*, a time of ``time.monotonic``."""

    def __init__(self, visitor: Person, end: float) -> None:
        self._visitor = visitor
        self._end = end
        self._going: set[Deferred[Any]] = set()
        self.counts: dict[str, int] = {}
        self.problems: list[str] = []
        self.put_off = 0
        self._never_yet = list(VISITS)
        self.over: Deferred[Any] = Deferred()

    def begin(self, due: int) -> None:
        """Begin *due* visits; a ``LoopingCall`` tells how many."""
        if time.monotonic() > self._end:
            if not self.over.called:
                self.over.callback(None)
            return
        for _ in range(due):
            if len(self._going) >= MOST_AT_ONCE:
                self.put_off += 1
                continue
            visit = self._choose()
            name = visit.__name__
            self.counts[name] = self.counts.get(name, 0) + 1
            going: Deferred[Any] = Deferred.fromCoroutine(visit(self._visitor))
            self._going.add(going)
            going.addErrback(self._note, name)
            going.addCallback(self._forget, going)

    def _choose(self) -> Visit:
        if self._never_yet:
            return self._never_yet.pop()
        (visit,) = self._visitor.chance.choices(list(VISITS), list(VISITS.values()))
        return visit

    def _forget(self, _: None, visit: Deferred[Any]) -> None:
        self._going.discard(visit)

    def _note(self, failure: Failure, name: str) -> None:
        self.problems.append(f"{name}: {failure.value!r}"[:500])

    async def drain(self) -> None:
        """Return when the last visit is over."""
        await self.over
        await DeferredList(list(self._going))


async def _run(port: int, seconds: float, rate: float, seed: int) -> None:
    load = Load(Person(port, seed), time.monotonic() + seconds)
    looping = LoopingCall.withCount(load.begin)
    failed = looping.start(1.0 / rate, now=False)
    failed.addErrback(load.over.errback)
    await load.drain()
    looping.stop()
    result = {
        "visits": load.counts,
        "put_off": load.put_off,
        "problems": len(load.problems),
        "first_problems": load.problems[:MOST_PROBLEMS],
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    """Put the load on; arguments: port, seconds, rate, seed."""
    port, seed = int(sys.argv[1]), int(sys.argv[4])
    seconds, rate = float(sys.argv[2]), float(sys.argv[3])

    def begin() -> None:
        running = Deferred.fromCoroutine(_run(port, seconds, rate, seed))
        running.addErrback(lambda failure: failure.printTraceback())
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
