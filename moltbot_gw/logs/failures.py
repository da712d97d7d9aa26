"""Tell of a failure without what it was busy with."""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import PurePath
from types import TracebackType
from typing import Any

from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.python.failure import Failure

from moltbot_gw.errors import GatewayError

MAX_CHAIN = 5
"""How many causes of an exception are told."""

MAX_FRAMES = 40
_WITHHELD = "[what it says is not logged; see logging.conversation]"
_BETWEEN = "which was caused by:"

# Interpreter and libraries word these from names and types; others quote values, which
# may be somebody's words: KeyError, ValueError, UnicodeError, what decoders raise.
_HARMLESS = (
    ArithmeticError,
    AttributeError,
    ConnectError,
    ConnectionClosed,
    DNSLookupError,
    ImportError,
    IndexError,
    MemoryError,
    NameError,
    OSError,
    RecursionError,
    TypeError,
    sqlite3.Error,
)


def lines_of(failure: Failure, *, whole: bool) -> Iterator[str]:
    """Yield the traceback of *failure*, and those of its causes, as lines.

    Variables are never shown; the exceptions' own messages only where they cannot quote
    anybody, or if *whole*.
    """
    error: BaseException | None = failure.value
    trace: Any = failure.getTracebackObject()
    for number in range(MAX_CHAIN):
        if error is None:
            return
        if number:
            yield _BETWEEN
            trace = error.__traceback__
        yield from _frames(trace)
        yield f"{type(error).__qualname__}: {_message(error, whole=whole)}"
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def _frames(trace: TracebackType | None) -> Iterator[str]:
    for frame in traceback.extract_tb(trace)[-MAX_FRAMES:]:
        if not _is_framework(frame.filename):
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
            if frame.line:
                yield f"    {frame.line}"


def _is_framework(filename: str) -> bool:
    return "twisted" in PurePath(filename).parts


def _message(error: BaseException, *, whole: bool) -> str:
    if isinstance(error, GatewayError) and not whole:
        return error.code
    if not whole and not isinstance(error, _HARMLESS):
        return _WITHHELD if error.args else ""
    try:
        return str(error)
    except Exception:
        return "[it cannot be told]"
