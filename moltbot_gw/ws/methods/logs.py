"""``logs.tail``: the end of the log file, and what has come since.

Source: upstream ``src/gateway/server-methods/logs.ts``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from moltbot_gw.interfaces import RunInThread
from moltbot_gw.ws.calls import Call, Method, Params, Result, unavailable


class TailParams(Params, frozen=True, kw_only=True):
    """*cursor* is that of the last answer; *limit* counts lines."""

    cursor: Annotated[int, Meta(ge=0)] | None = None
    limit: Annotated[int, Meta(ge=1, le=5000)] = 500
    max_bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 250_000


class TailResult(Result, frozen=True, kw_only=True, omit_defaults=False):
    """A stretch of *file*; *cursor* and *size* in bytes.

    *reset* says that it does not follow what the client has, *truncated* that something
    before it was left out.
    """

    file: str
    cursor: int = 0
    size: int = 0
    lines: list[str] = []
    truncated: bool = False
    reset: bool = False


class LogMethods:
    """The handler; *find_file* is asked each time which file it is."""

    def __init__(
        self,
        *,
        find_file: Callable[[], Path | None],
        run_in_thread: RunInThread,
    ) -> None:
        self._find_file = find_file
        self._run_in_thread = run_in_thread

    async def tail(self, call: Call, params: TailParams) -> TailResult:
        """Show the end of the log, or what follows a cursor."""
        try:
            return await self._run_in_thread(lambda: self._read(params))
        except OSError as error:
            raise unavailable(f"log read failed: {error.strerror}") from None

    def _read(self, params: TailParams) -> TailResult:
        """Read the file; in a thread."""
        path = self._find_file()
        if path is None:
            return TailResult(file="")
        try:
            # Opening a pipe must not wait for its writer.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return TailResult(file=str(path))
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "not a file")
            start, reset, truncated = _place(params, found.st_size)
            file.seek(max(0, start - 1))
            data = file.read(found.st_size - max(0, start - 1))
        return TailResult(
            file=str(path),
            cursor=found.st_size,
            size=found.st_size,
            lines=_lines(data, start > 0)[-params.limit :],
            truncated=truncated,
            reset=reset,
        )


def methods(
    *, find_file: Callable[[], Path | None], run_in_thread: RunInThread
) -> list[Method]:
    """Return the methods of this module.

    *find_file* is called in a thread; None if there is no log file at all.
    """
    does = LogMethods(find_file=find_file, run_in_thread=run_in_thread)
    return [Method("logs.tail", "read", TailParams, does.tail)]


def _place(params: TailParams, size: int) -> tuple[int, bool, bool]:
    """Return where to start reading, and whether that is a reset, and truncated."""
    tail = max(0, size - params.max_bytes)
    cursor = params.cursor
    if cursor is None:
        return tail, False, tail > 0
    if cursor > size:
        return tail, True, tail > 0
    if cursor < tail:
        return tail, True, True
    return cursor, False, False


def _lines(data: bytes, has_before: bool) -> list[str]:
    """Return the whole lines in *data*, and the last one as far as it goes.

    With *has_before* the first byte is the one before the stretch: unless it ends a
    line, the first line is only a part of one.
    """
    if has_before:
        _, _, data = data.partition(b"\n")
    lines = data.decode("utf-8", "replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines
