"""From an address to a connection that the gateway has welcomed."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.interfaces import IStreamClientEndpoint

from moltbot_gw.client.channel import (
    Channel,
    ClientFactory,
    ClientProtocol,
    GapHandler,
    with_deadline,
)
from moltbot_gw.client.connection import GatewayConnection
from moltbot_gw.client.devicetokens import DeviceTokens
from moltbot_gw.client.errors import ABNORMAL, ConnectFailed, TimedOut
from moltbot_gw.client.frames import Hello
from moltbot_gw.client.handshake import Handshake
from moltbot_gw.client.target import Address, Target, parse_address
from moltbot_gw.client.tls import client_tls
from moltbot_gw.config import Secret


async def connect(
    reactor: Any,
    target: Target,
    *,
    timeout: float = 10.0,
    on_gap: GapHandler | None = None,
    endpoint: IStreamClientEndpoint | None = None,
) -> GatewayConnection:
    """Return a connection to the gateway of *target*, welcomed within *timeout* s.

    *on_gap* is called when events did not arrive, with the number that was expected
    and the one that came.  *endpoint* is another way to the same gateway (a tunnel).

    A device's token that the gateway does not take any more is deleted, and the shared
    secret is tried.  Raises ``ConnectFailed``, ``TimedOut`` or ``BadTarget``; nothing
    is left open then.
    """
    address = parse_address(target.url)
    way = endpoint or find_way(reactor, address, target.tls_fingerprint)
    dialer = _Dialer(reactor, target, way, timeout, on_gap)
    tokens = _device_tokens(target)
    kept = tokens.find(target.role) if tokens is not None else None
    try:
        connection = await dialer.attempt(kept or target.token)
    except ConnectFailed as failure:
        if tokens is None or kept is None or not failure.is_unauthorized:
            raise
        tokens.forget(target.role)
        if target.token is None and target.password is None:
            raise
        connection = await dialer.attempt(target.token)
    auth = connection.hello.auth
    if tokens is not None and auth is not None:
        at_ms = int(reactor.seconds() * 1000)
        tokens.keep(auth.role, auth.device_token, auth.scopes, at_ms)
    return connection


class _Dialer:
    """Tries that share one deadline."""

    def __init__(
        self,
        reactor: Any,
        target: Target,
        way: IStreamClientEndpoint,
        timeout: float,
        on_gap: GapHandler | None,
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._url = parse_address(target.url).url
        self._way = way
        self._timeout = timeout
        self._deadline = reactor.seconds() + timeout
        self._on_gap = on_gap

    async def attempt(self, token: Secret | None) -> GatewayConnection:
        """Return a connection made with *token*; nothing is left open on errors."""
        channel = Channel(self._reactor, self._on_gap)
        work = Deferred.fromCoroutine(self._greet(channel, token))
        left = max(self._deadline - self._reactor.seconds(), 0)
        try:
            hello = await with_deadline(work, left, self._reactor)
        except BaseException as error:
            # Whatever it is, a cancelled caller included: the socket goes with it.
            channel.abort()
            if isinstance(error, TimedOut):
                raise TimedOut(self._timeout) from None
            raise
        return GatewayConnection(channel, hello, self._reactor)

    async def _greet(self, channel: Channel, token: Secret | None) -> Hello:
        factory = ClientFactory(self._url, channel, self._reactor)
        try:
            channel.attach(cast(ClientProtocol, await self._way.connect(factory)))
        except (DNSLookupError, ValueError):
            raise ConnectFailed(ABNORMAL, "the host name is unknown") from None
        except ConnectError as error:
            raise ConnectFailed(ABNORMAL, _words(error)) from None
        handshake = Handshake(channel, self._target, token, self._reactor)
        return await handshake.run(self._timeout)


def find_way(
    reactor: Any, address: Address, fingerprint: str | None
) -> IStreamClientEndpoint:
    """Return the endpoint for *address*; the deadline is the caller's."""
    if address.socket is not None:
        return UNIXClientEndpoint(reactor, address.socket)
    way = _tcp(reactor, address)
    if not address.secure:
        return way
    return wrapClientTLS(client_tls(address.host, fingerprint), way)


def _tcp(reactor: Any, address: Address) -> IStreamClientEndpoint:
    # The endpoint for names takes 0.3 s to see that the only address refuses.
    if isIPAddress(address.host):
        return TCP4ClientEndpoint(reactor, address.host, address.port)
    if isIPv6Address(address.host):
        return TCP6ClientEndpoint(reactor, address.host, address.port)
    return HostnameEndpoint(reactor, address.host, address.port)


def _device_tokens(target: Target) -> DeviceTokens | None:
    if target.identity is None or target.device_token_file is None:
        return None
    return DeviceTokens(target.device_token_file, target.identity.id)


def _words(error: ConnectError) -> str:
    """Return why there is no connection, without numbers and addresses."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return error.MESSAGE.lower()
