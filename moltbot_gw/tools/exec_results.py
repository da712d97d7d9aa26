"""What is told of a command: while it runs, when it has ended, when nobody waited."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from moltbot_gw.tooling import ToolFailed, ToolResult
from moltbot_gw.tools.process_sessions import Session

TAIL_CHARS = 2000
"""How much of the output is shown of a command that still runs."""

_UPDATE_SECONDS = 0.25
_NEWS_CHARS = 400


class Updates:
    """Shows what a command prints, but not each piece of it."""

    def __init__(self, clock: IReactorTime, read: Callable[[], str]) -> None:
        self._clock = clock
        self._read = read
        self._timer: IDelayedCall | None = None

    def due(self, show: Callable[[str], None]) -> None:
        """Show what there is soon."""
        if self._timer is None:
            self._timer = self._clock.callLater(_UPDATE_SECONDS, self._ring, show)

    def stop(self) -> None:
        """Show nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, show: Callable[[str], None]) -> None:
        self._timer = None
        show(self._read())


def finished(session: Session, seconds: float) -> ToolResult:
    """Return the result of a command that has ended; raise unless it ended well."""
    output = session.command.output.text.strip()
    if session.timed_out or session.command.exit_code != 0:
        failure = f"Command {session.ending}"
        raise ToolFailed(f"{output}\n\n{failure}" if output else failure)
    return ToolResult(
        content=output or "(no output)",
        details={
            "status": "completed",
            "exitCode": 0,
            "durationMs": int(seconds * 1000),
            "aggregated": output,
            "cwd": session.folder,
        },
    )


def still_running(session: Session) -> ToolResult:
    tail = session.command.output.tail(TAIL_CHARS)
    text = (
        f"Command still running (session {session.id}, pid {session.command.pid}). Use"
        " process (list/poll/log/write/kill/clear/remove) for follow-up."
    )
    return ToolResult(
        content=f"{text}\n\n{tail}" if tail.strip() else text,
        details={
            "status": "running",
            "sessionId": session.id,
            "pid": session.command.pid,
            "startedAt": session.started_at_ms,
            "cwd": session.folder,
            "tail": tail,
        },
    )


def news(session: Session) -> str:
    """Return one line on a command that ended while nobody waited."""
    tail = " ".join(session.command.output.tail(_NEWS_CHARS).split())
    text = f"Exec {session.status} ({session.id}, {session.ending})"
    return f"{text} :: {tail}" if tail else text
