"""The guarded fetch: the one way to an address that a stranger has named.

A model, a page or a client may name anything; what may be asked is the public web.  A
name is resolved here, each of its addresses must be public, and the connection goes to
one of those same addresses: there is no second look-up that could answer otherwise.
Each redirect is a new address, with all of this over again.  Nothing of ours goes
along: no cookie, no secret, no ``Referer``.  The environment's proxies are not used:
they would resolve the name anew.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.iweb import IPolicyForHTTPS

from moltbot_gw.fetching.addresses import IPAddress, is_our_own, is_public
from moltbot_gw.fetching.exchange import Exchange, find_location
from moltbot_gw.fetching.lookups import Lookups, Resolve, look_up
from moltbot_gw.fetching.urls import Target, follow, read_url
from moltbot_gw.fetching.values import (
    Fetched,
    FetchFailed,
    FetchLimits,
    FetchRefused,
)

MAX_FETCHES = 8
MAX_WAITING = 64


class GuardedFetch:
    """Fetches from the public web.

    At most ``MAX_FETCHES`` at once; ``MAX_WAITING`` more may wait for their turn.
    Which addresses are public is no setting.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        resolve: Resolve | None = None,
        tls_policy: IPolicyForHTTPS | None = None,
    ) -> None:
        """*resolve* and *tls_policy* are the system's resolver and authorities if None.

        Whatever *resolve* answers is checked.
        """
        self._reactor = reactor
        self._lookups = Lookups(resolve or partial(_resolve, reactor))
        self._tls_policy = tls_policy or BrowserLikePolicyForHTTPS()
        self._places = DeferredSemaphore(MAX_FETCHES)

    async def fetch(self, url: str, limits: FetchLimits) -> Fetched:
        """Return what is at *url*.

        Raises ``FetchRefused`` for what is not asked, ``FetchFailed`` for what was
        asked and brought nothing.  Cancelling closes the connection at once.
        """
        target = read_url(url)
        if len(self._places.waiting) >= MAX_WAITING:
            raise FetchFailed("Too much is being fetched; try again later.")
        work = Deferred.fromCoroutine(self._wait_and_follow(target, limits))
        work.addTimeout(limits.timeout, self._reactor, _too_slow)
        return await work

    async def _wait_and_follow(self, target: Target, limits: FetchLimits) -> Fetched:
        await self._places.acquire()
        try:
            return await self._follow(target, limits)
        finally:
            self._places.release()

    async def _follow(self, target: Target, limits: FetchLimits) -> Fetched:
        for _ in range(limits.max_redirects + 1):
            exchange = Exchange(
                reactor=self._reactor,
                target=target,
                addresses=await self._find(target),
                tls_policy=self._tls_policy,
                limits=limits,
            )
            try:
                response = await exchange.ask()
                location = find_location(response)
                if location is None:
                    return await exchange.read(response)
            finally:
                exchange.close()
            target = follow(target, location)
        raise FetchRefused(f"There are more than {limits.max_redirects} redirects.")

    async def _find(self, target: Target) -> list[IPAddress]:
        """Return the addresses of *target*, all public; or raise ``FetchRefused``.

        One that is not makes the others suspicious: no honest name mixes them.
        """
        if target.address is not None:
            addresses = [target.address]
        else:
            addresses = await self._lookups.find(target.host)
        if not all(is_public(one) and not is_our_own(one) for one in addresses):
            raise FetchRefused(f"{target.netloc} is not on the public web.")
        return addresses


def _resolve(reactor: Any, host: str) -> Deferred[Any]:
    return deferToThreadPool(reactor, reactor.getThreadPool(), look_up, host)


def _too_slow(result: object, seconds: float) -> None:
    raise FetchFailed(f"There was no whole answer within {seconds:g} seconds.")
