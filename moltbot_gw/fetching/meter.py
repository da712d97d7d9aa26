"""What stands between the HTTP client and its socket: counts, watches, cuts off.

Twisted's client bounds a header line, and nothing else: not the number of lines, not
that of interim answers (each a line of the log), not what chunks are wrapped in, not
silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from moltbot_gw.fetching.addresses import IPAddress
from moltbot_gw.fetching.values import FetchFailed

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADS = 8
"""Of one answer: all but the last are interim ones (1xx)."""

IDLE_SECONDS = 15.0
CONNECT_SECONDS = 5.0
MAX_ADDRESSES = 4
"""Of one name; tried one after the other until one takes the connection."""

_BLANK_LINE = re.compile(rb"\n\r?\n")


class Meter(ProtocolWrapper):
    """Passes on what comes, until there is too much or too little of it.

    *trouble* says why it has cut the connection, None if it has not.
    """

    transport: Any  # TCP or TLS

    def __init__(
        self,
        factory: WrappingFactory[Any],
        wrapped: IProtocol,
        clock: IReactorTime,
        max_bytes: int,
    ) -> None:
        super().__init__(factory, wrapped)
        self._clock = clock
        self._max = MAX_HEAD_BYTES + 2 * max_bytes
        self._bytes = 0
        self._heads = 0
        self._head_bytes = 0
        self._tail = b""
        self._in_head = True
        self._heard = clock.seconds()
        self._over = False
        self._watching: IDelayedCall = clock.callLater(IDLE_SECONDS, self._watch)
        self.trouble: FetchFailed | None = None

    def head_is_over(self) -> None:
        """From now on the body comes."""
        self._in_head = False

    def abort(self) -> None:
        """Close at once, whatever is under way; harmless when it is closed."""
        if not self._over:
            self._end()
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._heard = self._clock.seconds()
        self._bytes += len(data)
        if self._in_head:
            data = self._pass_heads(data)
        elif self._bytes > self._max:
            self._cut("The answer is packed in too many small pieces.")
        if data and not self._over:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._end()
        super().connectionLost(reason)

    def _pass_heads(self, data: bytes) -> bytes:
        """Pass on head after head, and return what follows the last one."""
        while data and self._in_head and not self._over:
            blank = _BLANK_LINE.search(self._tail + data)
            end = len(data) if blank is None else blank.end() - len(self._tail)
            piece, data = data[:end], data[end:]
            self._heads += blank is not None
            self._head_bytes += end
            self._tail = b"" if blank else (self._tail + piece)[-2:]
            if self._heads > MAX_HEADS or self._head_bytes > MAX_HEAD_BYTES:
                self._cut("The head of the answer is too long.")
            else:
                super().dataReceived(piece)  # which may tell us that this was the last
        return data

    def _end(self) -> None:
        self._over = True
        if self._watching.active():
            self._watching.cancel()

    def _cut(self, message: str) -> None:
        self.trouble = FetchFailed(message)
        self.abort()

    def _watch(self) -> None:
        silent = self._clock.seconds() - self._heard
        if silent < IDLE_SECONDS:
            self._watching = self._clock.callLater(IDLE_SECONDS - silent, self._watch)
        else:
            self._cut(f"The server was silent for {IDLE_SECONDS:g} seconds.")


class _Metering(WrappingFactory[Meter]):
    """Makes the one meter of an exchange."""

    noisy = False

    def __init__(
        self, wrapped: IProtocolFactory, clock: IReactorTime, max_bytes: int
    ) -> None:
        super().__init__(wrapped)
        self._clock = clock
        self._max_bytes = max_bytes

    def buildProtocol(self, addr: Any) -> Meter:
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return Meter(self, wrapped, self._clock, self._max_bytes)


@implementer(IStreamClientEndpoint)
class CheckedEndpoint:
    """Connects to addresses that were found good, and knows no name to ask for others.

    *secure* puts TLS on an endpoint.  *meter* is there once it has connected.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        addresses: Sequence[IPAddress],
        port: int,
        max_bytes: int,
        secure: Callable[[IStreamClientEndpoint], IStreamClientEndpoint],
    ) -> None:
        self._reactor = reactor
        self._addresses = addresses[:MAX_ADDRESSES]
        self._port = port
        self._max_bytes = max_bytes
        self._secure = secure
        self.meter: Meter | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the first address that takes us; errback with ``ConnectError``."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        metering = _Metering(factory, self._reactor, self._max_bytes)
        *others, last = self._addresses
        for address in others:
            try:
                return await self._try(address, metering)
            except ConnectError:
                continue
        return await self._try(last, metering)

    async def _try(self, address: IPAddress, metering: _Metering) -> IProtocol:
        made = TCP4ClientEndpoint if address.version == 4 else TCP6ClientEndpoint
        plain = made(self._reactor, str(address), self._port, timeout=CONNECT_SECONDS)
        meter = await self._secure(plain).connect(metering)
        assert isinstance(meter, Meter)
        self.meter = meter
        return meter.wrappedProtocol
