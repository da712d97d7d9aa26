"""How many connections there may be: as a whole, and from one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from ipaddress import ip_address

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moltbot_gw.peers import Peer, plain_address

_log = Logger()

NOTE_SECONDS = 60.0


class Crowd:
    """Counts connections, and says whether one more is too many.

    An IPv6 client counts by its /64, of which each household has one at least.  This
    machine and the proxies of *trusted* speak for many, and UNIX sockets have no
    addresses; for them only *most* holds.
    """

    def __init__(
        self,
        *,
        most: int,
        most_per_address: int,
        trusted: Container[str],
        clock: IReactorTime,
    ) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._trusted = trusted
        self._clock = clock
        self._next_note = 0.0
        self._total = 0
        self._by_address: Counter[str] = Counter()

    def admits(self, host: object) -> bool:
        """Whether a connection from *host* (no string: no address) may come in.

        The operator is told of those that may not, once a minute at most.
        """
        if self._total >= self._most:
            self._note("there are {count} connections", count=self._total)
            return False
        address = self._bucket(host)
        count = 0 if address is None else self._by_address[address]
        if count >= self._most_per_address:
            self._note(
                "{address} has {count} connections"
                " (gateway.limits.maxConnectionsPerAddress)",
                address=address,
                count=count,
            )
            return False
        return True

    def enter(self, host: object) -> None:
        """Count a connection from *host*."""
        self._total += 1
        address = self._bucket(host)
        if address is not None:
            self._by_address[address] += 1

    def leave(self, host: object) -> None:
        """Count a connection from *host* no more; it has been counted."""
        self._total -= 1
        address = self._bucket(host)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _bucket(self, host: object) -> str | None:
        """Return what *host* counts by, None if it has no bound of its own."""
        if not isinstance(host, str):
            return None
        address = plain_address(host)
        if address in self._trusted or _is_loopback(address):
            return None
        return Peer(address, is_local=False).bucket

    def _note(self, fact: str, **fields: object) -> None:
        now = self._clock.seconds()
        if now >= self._next_note:
            self._next_note = now + NOTE_SECONDS
            _log.warn(fact + "; more are refused until some close", **fields)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
