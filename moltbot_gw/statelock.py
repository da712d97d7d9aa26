"""One gateway for each state folder, made sure of by a lock of the kernel."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from moltbot_gw.refusal import StartRefused

FILE_NAME = "gateway.lock"


class StateLock:
    """The lock on a state folder, held until the process ends or ``release``.

    A kernel lock dies with its holder, so a crash leaves nothing to clean up.  It
    passes to the child when twistd goes into the background.
    """

    def __init__(self, folder: Path) -> None:
        """Take the lock, making *folder* (0700) if needed; raise ``StartRefused``."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartRefused(
                f"cannot use the state folder {folder}: {error.strerror}"
            ) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise StartRefused(
                f"another gateway already runs on the state folder {folder}"
            ) from None

    def release(self) -> None:
        """Let another gateway have the folder; harmless when done before."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
