"""One command as processes of the system: started, read, written to, ended for good.

Source: ``IReactorProcess``; the session is made by ``exec_launcher``.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from moltbot_gw.tools import exec_launcher
from moltbot_gw.tools.process_output import Output
from moltbot_gw.tools.process_tree import MARK, ProcessTree

_log = Logger()

GRACE_SECONDS = 0.4
"""From the request to end until the end; whoever cancels waits a second at most."""

REAP_SECONDS = 0.5
"""From there until we wait no longer for whoever still holds the output."""

_PATIENCE = 10
"""How many times as long we wait for a process that the system does not end."""

_ROWS, _COLUMNS = 30, 120
_LAUNCHER = str(Path(exec_launcher.__file__))


@attrs.frozen(kw_only=True)
class Launch:
    """What to start: *program* is a path, *argv* begins with the name it is told.

    *environ* is all that it gets; *folder* is where it begins; *pty* gives it a
    terminal, without which it has no input.
    """

    program: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = attrs.field(repr=False)
    folder: str
    pty: bool


@implementer(IPushProducer)
class _Gauge:
    """Knows whether the terminal takes what is typed."""

    def __init__(self) -> None:
        self.is_full = False

    def pauseProducing(self) -> None:
        self.is_full = True

    def resumeProducing(self) -> None:
        self.is_full = False

    def stopProducing(self) -> None:
        self.is_full = True


class Command(ProcessProtocol):
    """A command that runs, or has ended.

    *exit_code* and *signal_number* are None until it has ended; a signal that ended it
    leaves no code.  It has ended when its first process has, and nobody holds its
    output any more; a job that it left in the background keeps it running.
    """

    def __init__(self, *, clock: Any, mark: str, has_input: bool) -> None:
        self._clock = clock
        self._mark = mark
        self._gauge = _Gauge() if has_input else None
        self._waiters: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._killed = False
        self.on_output: Callable[[], None] = lambda: None
        self.output = Output()
        self.pid = 0
        self.has_ended = False
        self.exit_code: int | None = None
        self.signal_number: int | None = None

    def when_ended(self) -> Deferred[None]:
        """Fire when it has ended; cancelling stops the waiting only."""
        waiter: Deferred[None] = Deferred(self._waiters.remove)
        if self.has_ended:
            waiter.callback(None)
        else:
            self._waiters.append(waiter)
        return waiter

    @property
    def has_input(self) -> bool:
        """Whether it has a terminal to type on."""
        return self._gauge is not None

    @property
    def is_full(self) -> bool:
        """Whether it has left too much of what was typed unread."""
        return self._gauge is not None and self._gauge.is_full

    def write(self, data: bytes) -> None:
        """Type *data*; it must have an input, and run."""
        transport: Any = self.transport
        transport.write(data)

    def kill(self) -> None:
        """End all its processes: ask them, and after ``GRACE_SECONDS`` insist."""
        if not self._killed and not self.has_ended:
            self._killed = True
            self._tree.signal(signal.SIGTERM)
            self._timer = self._clock.callLater(GRACE_SECONDS, self._insist)

    # -- for the transport

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.pid = transport.pid
        self._tree = ProcessTree(self.pid, self._mark)
        if self._gauge is not None:
            transport.registerProducer(self._gauge, True)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output.feed(data)
        self.on_output()

    def processExited(self, reason: Failure) -> None:
        self._tree.leader_is_gone = True
        error: Any = reason.value
        self.exit_code, self.signal_number = error.exitCode, error.signal

    def processEnded(self, reason: Failure) -> None:
        self._end()

    # -- the end

    def _insist(self) -> None:
        self._tree.signal(signal.SIGKILL)
        self._wait(_PATIENCE)

    def _wait(self, times: int) -> None:
        self._timer = self._clock.callLater(REAP_SECONDS, self._give_up, times)

    def _give_up(self, times: int) -> None:
        """Wait no longer for somebody who is out of reach, or cannot be ended."""
        if not self._tree.leader_is_gone:
            if times:
                self._wait(times - 1)
                return
            _log.warn("process {pid} cannot be ended", pid=self.pid)
        transport: Any = self.transport
        if self._gauge is not None:
            transport.unregisterProducer()
        transport.loseConnection()
        self._end()

    def _end(self) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._killed:
            # Those that hold no output may still be thinking about the request.
            self._tree.signal(signal.SIGKILL)
        self.output.feed(b"", final=True)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)


def spawn(launch: Launch, *, mark: str, reactor: Any) -> Command:
    """Start a command; raise ``OSError`` if the system does not.

    *mark* is an id that no other command has.
    """
    command = Command(clock=reactor, mark=mark, has_input=launch.pty)
    kind = "pty" if launch.pty else "pipe"
    arguments = (kind, launch.folder, launch.program, *launch.argv)
    start = _spawn_on_terminal if launch.pty else _spawn_on_pipe
    start(
        command,
        # -I and -S: nothing of the user's configuration of Python, and a quick start.
        [sys.executable, "-I", "-S", _LAUNCHER, *arguments],
        {**launch.environ, MARK: mark},
        reactor,
    )
    return command


def _spawn_on_pipe(
    command: Command, argv: list[str], environ: dict[str, str], reactor: Any
) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        reactor.spawnProcess(
            command, argv[0], argv, environ, childFDs={0: nothing, 1: "r"}
        )
    finally:
        os.close(nothing)


def _spawn_on_terminal(
    command: Command, argv: list[str], environ: dict[str, str], reactor: Any
) -> None:
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    try:
        reactor.spawnProcess(command, argv[0], argv, environ, usePTY=(ours, theirs, ""))
    except OSError:
        os.close(ours)
        os.close(theirs)
        raise
