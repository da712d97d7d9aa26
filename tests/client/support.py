"""A client and a fake gateway in memory, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, IOPump
from zope.interface import implementer

from moltbot_gw.client import GatewayConnection, Target, connect
from moltbot_gw.config import Secret
from tests.support.fake_gateway import TOKEN, FakeGateway

T = TypeVar("T")


@implementer(IStreamClientEndpoint)
class MemoryWay:
    """Connects straight to the fake gateway; ``flush`` moves the bytes."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway
        self.pumps: list[IOPump] = []

    def connect(self, protocolFactory: Factory) -> Deferred[IProtocol]:
        client: Any = protocolFactory.buildProtocol(None)
        server: Any = self._gateway.factory().buildProtocol(None)
        ours = FakeTransport(client, isServer=False)
        theirs = FakeTransport(server, isServer=True)
        self.pumps.append(IOPump(client, server, ours, theirs, False))
        server.makeConnection(theirs)
        client.makeConnection(ours)
        return succeed(client)

    def flush(self) -> None:
        """Move bytes until there are none."""
        for pump in self.pumps:
            pump.flush()


class World:
    """A gateway, a way to it, and the time."""

    def __init__(self, **replies: Any) -> None:
        self.clock = Clock()
        self.gateway = FakeGateway(self.clock, **replies)
        self.way = MemoryWay(self.gateway)
        self.gaps: list[tuple[int, int]] = []

    def start(self, **members: Any) -> Deferred[GatewayConnection]:
        """Begin to connect; bytes move until nothing more happens."""
        given: dict[str, Any] = {"url": "ws://localhost:1", "token": Secret(TOKEN)}
        target = Target(**(given | members))
        waiting = start(
            connect(
                self.clock,
                target,
                endpoint=self.way,
                on_gap=lambda expected, got: self.gaps.append((expected, got)),
            )
        )
        self.way.flush()
        return waiting

    def connected(self, **members: Any) -> GatewayConnection:
        """Return a connection that was welcomed."""
        return now(self.start(**members))

    def ask(self, *args: Any, **more: Any) -> Deferred[Any]:
        """Send a request on the one connection there is, and let it arrive."""
        connection: GatewayConnection = args[0]
        waiting = start(connection.request(*args[1:], **more))
        self.way.flush()
        return waiting

    def pass_time(self, seconds: float) -> None:
        """Let *seconds* pass, and what is sent meanwhile arrive."""
        self.clock.advance(seconds)
        self.way.flush()


def start(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run a coroutine as far as it goes."""
    return Deferred.fromCoroutine(work)


def now(waiting: Deferred[T]) -> T:
    """Return the result that must be there, or raise the error that must be."""
    found: list[Any] = []
    waiting.addBoth(found.append)
    assert found, "nothing has come yet"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]  # type: ignore[no-any-return]
