"""How long the phases of a connection may take."""

from __future__ import annotations

import msgspec


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: for a whole head, a whole body, between requests, without reading."""

    header: float
    body: float
    idle: float
    stall: float

    def idle_of(self, is_stranger: bool) -> float:
        """Return how long a connection may wait for its next request.

        One that has never brought a secret gets no more than for a head, or strangers
        could take all connections by asking for nothing, now and then.
        """
        return min(self.idle, self.header) if is_stranger else self.idle
