"""Work that is done to its end though its caller goes away."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

_T = TypeVar("_T")


def to_the_end(work: Coroutine[Any, Any, _T]) -> Deferred[_T]:
    """Return what *work* returns; cancelling stops the waiting, not the work.

    A client that leaves cancels its calls.  What has begun to change something must
    go on to tell those whom the change concerns.
    """
    answer: Deferred[_T] = Deferred()
    Deferred.fromCoroutine(work).chainDeferred(answer)
    return answer
