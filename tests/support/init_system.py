"""An init system in small: hears what a service says, and holds its sockets."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

PATIENCE = 20.0


class NotifySocket:
    """The socket that ``NOTIFY_SOCKET`` names; each message is a dict, in order."""

    def __init__(self, address: str | Path) -> None:
        self.name = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind("\0" + self.name[1:] if self.name[0] == "@" else self.name)
        self.heard: list[dict[str, str]] = []

    def close(self) -> None:
        """Be gone, as an init system that was killed."""
        self._socket.close()

    def next(self) -> dict[str, str]:
        """Wait for a message and return it."""
        lines = self._socket.recv(4096).decode().split("\n")
        message = dict(line.split("=", 1) for line in lines)
        self.heard.append(message)
        return message

    def wait_for(self, name: str) -> dict[str, str]:
        """Return the next message that has *name* in it."""
        while True:
            message = self.next()
            if name in message:
                return message

    def rest(self) -> list[dict[str, str]]:
        """Return what has come and was not waited for."""
        before = len(self.heard)
        self._socket.setblocking(False)
        try:
            while True:
                self.next()
        except BlockingIOError:
            pass
        self._socket.settimeout(PATIENCE)
        return self.heard[before:]


LAUNCHER = (
    "import os, sys\n"
    "sock, names, command = sys.argv[1], sys.argv[2], sys.argv[3:]\n"
    "pid = str(os.getpid())\n"
    "if sock != '-':\n"
    "    os.dup2(int(sock), 3)\n"
    "    os.environ.update(LISTEN_FDS='1', LISTEN_PID=pid)\n"
    "    if names != '-':\n"
    "        os.environ['LISTEN_FDNAMES'] = names\n"
    "if 'WATCHDOG_USEC' in os.environ:\n"
    "    os.environ.setdefault('WATCHDOG_PID', pid)\n"
    "os.execv(command[0], command)\n"
)
"""What an init system does between fork and exec: sockets from 3 on, and our pid."""


def launching(sock: socket.socket | None = None, names: str = "gateway") -> list[str]:
    """Return the words before a command that start it as an init system would."""
    number = "-" if sock is None else str(sock.fileno())
    return [sys.executable, "-c", LAUNCHER, number, names or "-"]
