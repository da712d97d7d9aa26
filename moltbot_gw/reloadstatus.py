"""Whether the configuration on the disk is the one in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_ERROR_CHARS = 2000


class ReloadStatus:
    """What became of the last look at the configuration.

    *error* is why it was refused, None while the file is good; *loaded_at_ms* (Unix)
    when the one in force was taken; *waiting* what a restart alone would change.
    """

    def __init__(self, *, unix_time: Callable[[], float]) -> None:
        self._unix_time = unix_time
        self.loaded_at_ms = int(unix_time() * 1000)
        self.error: str | None = None
        self.waiting: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the file, as far as we have seen it, can be used."""
        return self.error is None

    def taken(self, waiting: tuple[str, ...] = ()) -> None:
        """A configuration has been taken, but for what is *waiting*."""
        self.loaded_at_ms = int(self._unix_time() * 1000)
        self.error, self.waiting = None, waiting

    def good(self) -> None:
        """The file is good, and what it says is in force already."""
        self.error = None

    def postponed(self, why: str) -> None:
        """A good configuration waits for a restart."""
        self.error, self.waiting = None, (why,)

    def refused(self, error: str) -> None:
        """The file cannot be used; the configuration before stays in force."""
        self.error = error[:MAX_ERROR_CHARS]

    def to_wire(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "ok": self.ok,
            "error": self.error,
            "loadedAt": self.loaded_at_ms,
            "restartNeeded": list(self.waiting),
        }
