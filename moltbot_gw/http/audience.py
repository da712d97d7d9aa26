"""The HTTP clients that wait for runs, and what becomes of a run without any."""

from __future__ import annotations

from typing import Literal

from moltbot_gw.agents.run import Run
from moltbot_gw.errors import ClientGone


class Audience:
    """Whoever reads a run for a client joins it and leaves it.

    When the last one has left, the run is cancelled (*on_disconnect* ``"cancel"``) or
    not (``"finish"``).  A run that no client of HTTP started is none of its business:
    who attaches to that only looks on.
    """

    def __init__(self, *, on_disconnect: Literal["cancel", "finish"]) -> None:
        self._on_disconnect = on_disconnect

    def join(self, run: Run) -> None:
        """A client that started *run*, or repeats what started it, waits for it."""
        run.hold()

    def attach(self, run: Run) -> bool:
        """A client reads *run* by its id; return whether it is to ``leave`` again."""
        if run.is_held:
            run.hold()
        return run.is_held

    def leave(self, run: Run) -> None:
        """A client that has joined is gone, or has all it wanted."""
        if self._on_disconnect == "cancel":
            run.release(ClientGone("The client closed the connection."))
