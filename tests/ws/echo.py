"""A WebSocket server that echoes, on the stack of the product.

Everything below the handler is what the gateway uses: channel, gate, root, upgrade,
socket.  As a server for a public test suite::

    python -m tests.ws.echo 9001

listens on 127.0.0.1 at that port (0: any; it is printed) until it is interrupted.  The
fuzzing client of the Autobahn TestSuite (``wstest -m fuzzingclient``) is then given
``ws://127.0.0.1:9001`` as the URL of its server.  Cases 12 and 13 come out as
unimplemented: compression is declined.
"""

from __future__ import annotations

import sys
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react
from twisted.web.pages import notFound
from twisted.web.resource import IResource

from moltbot_gw.auth import AuthLimiter, SharedSecret
from moltbot_gw.http.accesslog import AccessLog
from moltbot_gw.http.gate import CorsPolicy, Gate
from moltbot_gw.http.hosts import HostPolicy
from moltbot_gw.http.policy import SitePolicy
from moltbot_gw.http.root import Root
from moltbot_gw.http.site import GatewaySite
from moltbot_gw.http.timeouts import Timeouts
from moltbot_gw.keyring import KeyRing
from moltbot_gw.metering import Meters
from moltbot_gw.peers import Peer
from moltbot_gw.ws.resource import UpgradeResource
from moltbot_gw.ws.socket import Socket, SocketFactory
from tests.support.gateway import Connection, Gateway, Options
from tests.support.ws_frames import (
    Frame,
    accept_of,
    handshake,
    split_handshake,
    take_frames,
)

MAX_BYTES = 32 * 1024 * 1024
STALL_SECONDS = 30.0


@attrs.define(eq=False, slots=False)
class Echo:
    """Sends back what comes, and remembers what it was told."""

    socket: Socket
    peer: Peer
    opened_times: int = 0
    writable_times: int = 0
    messages: list[tuple[bytes, bool]] = attrs.field(factory=list)
    ends: list[tuple[int | None, str]] = attrs.field(factory=list)

    def opened(self) -> None:
        self.opened_times += 1

    def received(self, payload: bytes, is_binary: bool) -> None:
        self.messages.append((payload, is_binary))
        self.socket.send(payload, is_binary=is_binary)

    def writable(self) -> None:
        self.writable_times += 1

    def closed(self, code: int | None, reason: str) -> None:
        self.ends.append((code, reason))


class Forgetful(Echo):
    """An echo that may run for days."""

    def received(self, payload: bytes, is_binary: bool) -> None:
        self.socket.send(payload, is_binary=is_binary)


def echo_root(
    clock: IReactorTime,
    pages: IResource,
    build_handler: Any = Forgetful,
    max_bytes: int = MAX_BYTES,
) -> Root:
    """Return a root whose WebSockets echo."""
    factory = SocketFactory(
        clock=clock, max_bytes=max_bytes, stall_seconds=STALL_SECONDS
    )
    return Root(pages, UpgradeResource(factory, build_handler))


def echo_site(
    clock: IReactorTime, build_handler: Any = Forgetful, max_bytes: int = MAX_BYTES
) -> GatewaySite:
    """Return a site whose WebSockets echo and whose pages are not there."""
    return GatewaySite(
        echo_root(clock, notFound(), build_handler, max_bytes),
        policy=SitePolicy(
            gate=Gate(
                secret=SharedSecret("nobody is asked for it"),
                keys=(keys := KeyRing((), clock.seconds)),
                meters=Meters(clock, keys.limits_of),
                limiter=AuthLimiter(clock, 10),
                hosts=HostPolicy(),
                enabled=False,
                max_body_bytes=0,
                cors=CorsPolicy(()),
            ),
            timeouts=Timeouts(header=10.0, body=30.0, idle=75.0, stall=STALL_SECONDS),
        ),
        clock=clock,
        access_log=AccessLog(clock, 0.0),
    )


class EchoGateway(Gateway):
    """The echoing site on a fake clock and in-memory sockets."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.handlers: list[Echo] = []
        super().__init__()

    def _build_site(self, chosen: Options) -> GatewaySite:
        return echo_site(self.clock, self._build_handler, self.max_bytes)

    def _build_handler(self, socket: Socket, peer: Peer) -> Echo:
        self.handlers.append(Echo(socket, peer))
        return self.handlers[-1]

    def open(self, **headers: str) -> Client:
        """Open a WebSocket."""
        return Client(self, self.connect(), headers)


class Client:
    """A client that has opened a WebSocket on a fake socket."""

    def __init__(
        self, gateway: EchoGateway, connection: Connection, headers: dict[str, str]
    ) -> None:
        self._gateway = gateway
        self.connection = connection
        self.wire = connection.socket
        connection.send(handshake(**headers))
        self.headers, _ = split_handshake(connection.received)
        assert self.headers["sec-websocket-accept"] == accept_of()
        self._start = len(connection.received)
        (self.handler,) = gateway.handlers[-1:]

    def send(self, data: bytes, by: int | None = None) -> Client:
        self.connection.send(data, by=by)
        return self

    @property
    def bytes_received(self) -> bytes:
        """What has come after the handshake."""
        return self.connection.received[self._start :]

    @property
    def frames(self) -> list[Frame]:
        """The frames so far, all whole."""
        frames, rest = take_frames(self.bytes_received)
        assert rest == b""
        return frames

    @property
    def has_end(self) -> bool:
        """Whether the server has said that nothing follows."""
        return self.connection.closed

    @property
    def is_gone(self) -> bool:
        """Whether the server has let go of the connection."""
        self._gateway.advance(0)
        return self.wire.closed is not None


async def _serve(reactor: Any, port: str) -> None:
    site = echo_site(reactor)
    listening = reactor.listenTCP(int(port), site, interface="127.0.0.1")
    sys.stdout.write(f"ws://127.0.0.1:{listening.getHost().port}\n")
    sys.stdout.flush()
    await Deferred()  # until it is interrupted


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(_serve(reactor, sys.argv[1])))
