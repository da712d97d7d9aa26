"""Names to addresses, a few at a time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.python.failure import Failure

from moltbot_gw.fetching.addresses import IPAddress
from moltbot_gw.fetching.values import FetchFailed

MAX_LOOKUPS = 4
"""Each holds one of the process's ten threads until the resolver answers, and nobody
can end it sooner; who gives up waiting leaves it behind, and it counts still."""

Resolve = Callable[[str], Deferred[Sequence[str]]]
"""From a name to its addresses; fails with ``OSError``."""


class Lookups:
    """Asks *resolve*, for as many as may ask at once."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._places = DeferredSemaphore(MAX_LOOKUPS)

    async def find(self, host: str) -> list[IPAddress]:
        """Return all addresses of *host*; raise ``FetchFailed`` if it has none.

        Cancelling ends the wait; the look-up itself goes on.
        """
        await self._places.acquire()
        answer: Deferred[Sequence[str]] = Deferred()

        def answered(result: Sequence[str] | Failure) -> None:
            self._places.release()
            if not answer.called:
                answer.callback(result)

        self._resolve(host).addBoth(answered)
        try:
            found = [ip_address(text) for text in await answer]
        except OSError:
            found = []
        if not found:
            raise FetchFailed(f"The name {host} has no address.")
        return found


def look_up(host: str) -> Sequence[str]:
    """Ask the system's resolver, blocking."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
