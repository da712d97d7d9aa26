"""Tell the init system how we are: systemd's notification protocol.

Source: sd_notify(3) and sd_watchdog_enabled(3).  The one library for it has had no
release since 2017, blocks, and has no type hints; the protocol is a datagram.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from twisted.logger import Logger

_log = Logger()


class Notifier:
    """Sends to the socket in ``NOTIFY_SOCKET``; without one it does nothing.

    No call blocks or raises: a service must not suffer from who watches over it.  What
    cannot be sent is lost; that is logged once.  *watchdog* is the time (seconds) after
    which we count as hung if nothing is heard from us, None if nobody looks.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        """*pid* is this process, which the watchdog may be meant for or not."""
        self._address = _address_of(environ.get("NOTIFY_SOCKET", ""))
        self._failed = False
        self.watchdog = _watchdog_of(environ, pid) if self._address else None

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to tell."""
        return self._address is not None

    def ready(self) -> None:
        """We serve, for the first time or again after ``reloading``."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is read anew; ``ready`` follows."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, seconds: float) -> None:
        """We stop, which may take *seconds* whatever the unit file says."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show one line of *text* to who asks for our status."""
        self._send(f"STATUS={text}")

    def _send(self, *assignments: str) -> None:
        if self._address is None:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                _log.warn("the init system is not told: {error}", error=error.strerror)


def _address_of(text: str) -> bytes | None:
    """Return the address of a path or, after an ``@``, of an abstract socket."""
    if text.startswith("/"):
        return os.fsencode(text)
    if text.startswith("@"):
        return b"\0" + os.fsencode(text[1:])
    return None


def _watchdog_of(environ: Mapping[str, str], pid: int) -> float | None:
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        return None
    return int(text) / 1_000_000
