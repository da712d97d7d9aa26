"""How long the phases of a connection may take."""

from __future__ import annotations

import msgspec


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: for a whole head, a whole body, between requests, without reading."""

    header: float
    body: float
    idle: float
    stall: float
