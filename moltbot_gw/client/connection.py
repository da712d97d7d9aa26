"""A connection to a gateway that has said hello."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from moltbot_gw.client.channel import Channel, Closed, Handler
from moltbot_gw.client.frames import Hello

TICK_TIMEOUT = 4000
"""Close code for a gateway that has fallen silent."""


class GatewayConnection:
    """What a client may do with a gateway.

    *hello* is the welcome: who the gateway is and how things stood.  The connection
    closes itself with 4000 ``tick timeout`` when nothing at all was heard for two tick
    intervals; it never connects again by itself.
    """

    def __init__(self, channel: Channel, hello: Hello, clock: IReactorTime) -> None:
        self.hello = hello
        self._channel = channel
        channel.max_payload = hello.policy.max_payload
        self._watch = _TickWatch(channel, hello.policy.tick_interval_ms / 500, clock)
        channel.when_closed().addCallback(self._watch.stop)

    async def request(
        self,
        method: str,
        params: Any = None,
        *,
        timeout: float = 10.0,
        expect_final: bool = False,
    ) -> Any:
        """Return the payload of the answer to *method*; *timeout* is in seconds.

        With *expect_final* an answer whose status is ``accepted`` is passed over, and
        the next one counts.  Raises ``RequestFailed``, ``TimedOut``, ``GatewayClosed``,
        or ``NotSent`` when a bound would be broken.  Cancelling gives up the answer;
        what was asked for goes on.
        """
        return await self._channel.request(
            method,
            {} if params is None else params,
            seconds=timeout,
            expect_final=expect_final,
        )

    def events(self, handler: Handler) -> Callable[[], None]:
        """Call *handler* with each event, at once and in order, while connected.

        Nothing is kept for a handler, so it must not wait; what it raises is logged.
        Returns a function that ends the subscription.  At most 64 may subscribe.
        """
        return self._channel.subscribe(handler)

    @property
    def closed(self) -> Closed | None:
        """How the connection ended; None while it lasts."""
        return self._channel.closed

    def when_closed(self) -> Deferred[Closed]:
        """Return a fresh Deferred that fires with how the connection ended."""
        return self._channel.when_closed()

    def close(self, code: int = 1000, reason: str = "") -> Deferred[Closed]:
        """Say good-bye; the Deferred fires when the socket is gone, in 3 s at most.

        *code* is 1000 or from 3000 to 4999.
        """
        self._channel.close(code, reason)
        return self._channel.when_closed()


class _TickWatch:
    """Close *channel* when nothing came for *seconds*.

    The timer is looked at when it rings, and not moved for each frame.
    """

    def __init__(self, channel: Channel, seconds: float, clock: IReactorTime) -> None:
        self._channel = channel
        self._seconds = seconds
        self._clock = clock
        self._call: IDelayedCall | None = clock.callLater(seconds, self._look)

    def _look(self) -> None:
        left = self._channel.last_heard + self._seconds - self._clock.seconds()
        if left > 0:
            self._call = self._clock.callLater(left, self._look)
        else:
            self._call = None
            self._channel.close(TICK_TIMEOUT, "tick timeout")

    def stop(self, end: Closed) -> Closed:
        """Look no more; passes *end* on."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        return end
