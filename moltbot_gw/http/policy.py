"""What a configuration says of the HTTP edge as a whole."""

from __future__ import annotations

from collections.abc import Container

import attrs

from moltbot_gw.http.gate import Gatekeeper
from moltbot_gw.http.timeouts import Timeouts


@attrs.frozen(kw_only=True, eq=False)
class SitePolicy:
    """Who gets in and how long things may take; a reload brings another.

    A request is judged by the one that is in force when its head is complete.
    *trusted_proxies* are the addresses whose word on their clients counts, and
    *user_header* is where they name a user.
    """

    gate: Gatekeeper
    timeouts: Timeouts
    trusted_proxies: Container[str] = ()
    user_header: str | None = None
    max_connections_per_address: int = 2**31
