from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from moltbot_gw.agents.sharedwork import SharedWork
from tests.agents.support import failed, succeeded


class Work:
    """Begins pieces that the test ends."""

    def __init__(self) -> None:
        self.begun: list[Deferred[None]] = []
        self.shared: SharedWork[str] = SharedWork()

    def join(self, key: str = "a") -> Deferred[None]:
        return self.shared.join(key, self._begin)

    def _begin(self) -> Deferred[None]:
        self.begun.append(Deferred())
        return self.begun[-1]


def test_many_wait_for_one_piece_of_work() -> None:
    work = Work()
    waiting = [work.join() for _ in range(3)]
    assert (len(work.begun), [one.called for one in waiting]) == (1, [False] * 3)
    work.begun[0].callback(None)
    assert [succeeded(one) for one in waiting] == [None] * 3


def test_work_that_is_over_is_begun_anew_and_each_key_has_its_own() -> None:
    work = Work()
    work.join()
    work.join("b")
    work.begun[0].callback(None)
    later = work.join()
    assert (len(work.begun), later.called) == (3, False)


def test_who_waits_no_more_is_forgotten_and_the_work_goes_on() -> None:
    work = Work()
    first, second = work.join(), work.join()
    first.addCallback(lambda _: second.cancel())
    third = work.join()
    third.cancel()
    assert isinstance(failed(third), CancelledError)
    work.begun[0].callback(None)
    assert isinstance(failed(second), CancelledError)
    assert succeeded(first) is None


def test_work_that_is_done_at_once() -> None:
    shared: SharedWork[str] = SharedWork()
    done: Deferred[None] = Deferred()
    done.callback(None)
    assert succeeded(shared.join("a", lambda: done)) is None
