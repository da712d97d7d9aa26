"""The commands that agents have started: those that run, and the last that ended.

What is bounded, and by what: the commands of an agent that run (``MAX_RUNNING``),
those that ended and can still be read (``MAX_FINISHED``, and for how long), the output
of each (``process_output``).  Whatever leaves this list has no process any more.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Literal

import attrs
from twisted.internet.interfaces import IDelayedCall

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.process_spawn import Command, Launch, spawn

MAX_RUNNING = 32
MAX_FINISHED = 64
_ID_CHARS = 8

Status = Literal["running", "completed", "failed"]


@attrs.define(kw_only=True, eq=False)
class Session:
    """One command of an agent.

    *text* is the command line as it was asked for; *started* is on the clock.
    *is_backgrounded* says that nobody waits for it, *read* how much of the output has
    been polled, *timed_out* that it was ended because its time was over.
    """

    id: str
    agent_id: str
    session_key: str
    text: str
    folder: str
    timeout: float
    started: float
    started_at_ms: int
    command: Command = attrs.field(repr=False)
    is_backgrounded: bool = False
    read: int = 0
    timed_out: bool = False
    ended: float | None = None
    timer: IDelayedCall | None = attrs.field(default=None, repr=False)

    @property
    def status(self) -> Status:
        """Where it stands; ``completed`` is only what ended well."""
        if not self.command.has_ended:
            return "running"
        return "completed" if self.command.exit_code == 0 else "failed"

    @property
    def ending(self) -> str:
        """How it ended, as words that follow ``Command`` or ``Process``."""
        if self.timed_out:
            return f"timed out after {self.timeout:g} seconds"
        if self.command.signal_number is not None:
            return f"aborted by signal {_name_of(self.command.signal_number)}"
        if self.command.exit_code is None:
            return "could not be ended"
        return f"exited with code {self.command.exit_code}"


class Sessions:
    """Keeps the commands of all agents; no agent finds another's.

    *keep_seconds* is how long the output of a command can be read after its end;
    *on_exit* hears of the end of each that nobody waits for.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        unix_time: Callable[[], float],
        on_exit: Callable[[Session], None],
    ) -> None:
        self._reactor = reactor
        self._unix_time = unix_time
        self._on_exit = on_exit
        self._sessions: dict[str, Session] = {}
        self._closed = False

    def start(
        self,
        launch: Launch,
        *,
        text: str,
        agent_id: str,
        session_key: str,
        timeout: float,
        keep_seconds: float,
    ) -> Session:
        """Start a command; raise ``ToolFailed`` if that cannot be."""
        running = [s for s in self.of_agent(agent_id) if s.status == "running"]
        if self._closed:
            raise ToolFailed("The gateway is stopping; no command is started.")
        if len(running) >= MAX_RUNNING:
            message = f"{MAX_RUNNING} commands run already; end one with process kill."
            raise ToolFailed(message)
        try:
            command = spawn(launch, mark=new_uuid(), reactor=self._reactor)
        except OSError as error:
            raise ToolFailed(f"cannot start the command: {error.strerror}") from None
        session = Session(
            id=self._new_id(),
            agent_id=agent_id,
            session_key=session_key,
            text=text,
            folder=launch.folder,
            timeout=timeout,
            started=self._reactor.seconds(),
            started_at_ms=int(self._unix_time() * 1000),
            command=command,
        )
        self._sessions[session.id] = session
        session.timer = self._reactor.callLater(timeout, self._time_out, session)
        command.when_ended().addCallback(self._ended, session, keep_seconds)
        return session

    def find(self, agent_id: str, session_id: str) -> Session | None:
        """Return the agent's command with this id, if there is one."""
        session = self._sessions.get(session_id)
        return session if session and session.agent_id == agent_id else None

    def of_agent(self, agent_id: str) -> list[Session]:
        """Return the agent's commands, the oldest first."""
        return [s for s in self._sessions.values() if s.agent_id == agent_id]

    def remove(self, session: Session) -> None:
        """Forget a command that has ended."""
        assert session.command.has_ended
        self._stop_timer(session)
        self._sessions.pop(session.id, None)

    async def close(self) -> None:
        """End every command and start none any more; return when all are gone."""
        self._closed = True
        for session in tuple(self._sessions.values()):
            session.command.kill()
        for session in tuple(self._sessions.values()):
            await session.command.when_ended()
        for session in tuple(self._sessions.values()):
            self.remove(session)

    def seconds_of(self, session: Session) -> float:
        """Return how long it has run."""
        end: float = self._reactor.seconds() if session.ended is None else session.ended
        return end - session.started

    def _time_out(self, session: Session) -> None:
        session.timed_out = True
        session.command.kill()

    def _ended(self, _: None, session: Session, keep_seconds: float) -> None:
        self._stop_timer(session)
        session.ended = self._reactor.seconds()
        session.timer = self._reactor.callLater(keep_seconds, self.remove, session)
        finished = [s for s in self.of_agent(session.agent_id) if s.ended is not None]
        for oldest in finished[:-MAX_FINISHED]:
            self.remove(oldest)
        if session.is_backgrounded:
            self._on_exit(session)

    def _stop_timer(self, session: Session) -> None:
        if session.timer is not None and session.timer.active():
            session.timer.cancel()
        session.timer = None

    def _new_id(self) -> str:
        while (found := new_uuid()[:_ID_CHARS]) in self._sessions:
            pass  # pragma: no cover  (one in four thousand million)
        return found


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)
