"""Failures that hold nothing.

A traceback holds the frames that an exception went through, each of these its caller's,
and one of Twisted's among them the failure: a circle of several hundred objects, which
waits for the garbage collector.  Clients that leave in the middle of an answer are no
exception: an editor's completion is given up with each key that is pressed.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from moltbot_gw.errors import GatewayError

T = TypeVar("T")


def from_coroutine(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """Begin *work*; what it fails with is ``unheld``.

    To be used for whatever may be cancelled, or fails with a ``GatewayError``.
    """
    return Deferred.fromCoroutine(work).addErrback(unheld)


def unheld(failure: Failure) -> Failure:
    """Return *failure*, without its traceback if it was foreseen: an errback."""
    error: BaseException | None = failure.value
    if isinstance(error, (CancelledError, GatewayError)):
        failure.tb = None
        while error is not None:
            error.__traceback__ = None
            error = error.__context__
    return failure
