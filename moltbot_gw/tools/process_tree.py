"""All processes of one command, and how to reach them.

What must hold: a signal reaches whatever the command has started and is still there,
and never a stranger's process.  A command is the leader of its own session, so its
session is its processes, whatever groups they have made.  Those that began a session of
their own are found by a variable in their environment, where the system shows it
(``/proc``).  A process that does both, leaving the session and dropping its
environment, is out of reach; only a sandbox holds that one.

A process group's number alone was rejected: it misses background jobs of a shell with
job control, and once the leader is gone the number may be somebody else's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MARK = "MOLTBOT_EXEC_ID"
"""The variable that all processes of one command have in common."""

_PROC = Path("/proc")
_ROUNDS = 5


class ProcessTree:
    """The processes of the command whose first one is *leader*.

    *mark* is the value of ``MARK`` in their environment.  Set *leader_is_gone* once it
    has been waited for: from then on its number means nothing by itself.
    """

    def __init__(self, leader: int, mark: str, proc: Path = _PROC) -> None:
        self._leader = leader
        self._mark = f"{MARK}={mark}\0".encode()
        self._proc = proc
        self.leader_is_gone = False

    def signal(self, number: int) -> None:
        """Send the signal to every process that is found, also to those just born."""
        told: set[int] = set()
        if not self.leader_is_gone:
            # Alone at first: it may be so young that it has no session yet.
            _kill(self._leader, number)
            with suppress(OSError):
                os.killpg(self._leader, number)
        for _ in range(_ROUNDS):
            found = self.pids() - told
            if not found:
                return
            for pid in found:
                _kill(pid, number)
            told |= found

    def pids(self) -> set[int]:
        """Return the processes that can be seen, some of which may be zombies."""
        # A number is not given away while a session has it.  So if somebody is called
        # like our late leader, nobody of our session is left.
        by_session = not (self.leader_is_gone and _session_of(self._leader) is not None)
        return {
            pid
            for pid in self._all_pids()
            if (by_session and _session_of(pid) == self._leader) or self._is_marked(pid)
        }

    def _all_pids(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        except OSError:  # a system without /proc
            return []

    def _is_marked(self, pid: int) -> bool:
        try:
            environ = (self._proc / str(pid) / "environ").read_bytes()
        except OSError:  # gone, or somebody else's
            return False
        return environ.startswith(self._mark) or b"\0" + self._mark in environ


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _kill(pid: int, number: int) -> None:
    # It may have gone by itself, or have changed its user.
    with suppress(OSError):
        os.kill(pid, number)
