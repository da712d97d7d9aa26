"""The ports that are open, and how others take their place without a gap."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from moltbot_gw.listening import BACKLOG, Listener, in_use
from moltbot_gw.refusal import StartRefused

_log = Logger()

LAST_ACCEPTS = 8
"""How often a port that closes looks for connections that wait to be accepted."""


class Doorway(Factory):
    """Stands before the site, with TLS or without; that can change at any time.

    A connection keeps what it began with.
    """

    noisy = False

    def __init__(self, site: Any, reactor: Any) -> None:
        self._site = site
        self._reactor = reactor
        self._tls: TLSMemoryBIOFactory | None = None

    def secure(self, certificate: CertificateOptions | None) -> None:
        """Speak TLS with *certificate* from now on; None: speak plainly."""
        self._tls = None
        if certificate is not None:
            self._tls = TLSMemoryBIOFactory(
                certificate, False, self._site, self._reactor
            )

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return (self._tls or self._site).buildProtocol(addr)

    def startFactory(self) -> None:
        """A first port is open."""
        self._site.doStart()

    def stopFactory(self) -> None:
        """The last port is closed."""
        self._site.doStop()


@attrs.frozen(eq=False)
class OpenPort:
    """A listener and its port; *address* as clients see it."""

    listener: Listener
    port: IListeningPort

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system has chosen."""
        return self.listener.address_of(self.port)


class Ports:
    """All ports of the gateway, by the keys of their listeners."""

    def __init__(self, site: Any, reactor: Any) -> None:
        self._plain = Doorway(site, reactor)
        self._own = Doorway(site, reactor)
        self._reactor = reactor
        self._open: dict[object, OpenPort] = {}

    @property
    def open(self) -> list[OpenPort]:
        """The ports that are open, in the order in which they were opened."""
        return list(self._open.values())

    async def prepare(self, listeners: Sequence[Listener]) -> list[OpenPort]:
        """Open what is not open yet; nobody is served differently until ``switch``.

        Raises ``StartRefused``, and nothing has changed.
        """
        opened: list[OpenPort] = []
        for listener in listeners:
            if listener.key in self._open:
                continue
            try:
                opened.append(OpenPort(listener, await self._listen(listener)))
            except (CannotListenError, OSError) as error:
                await self.discard(opened)
                raise StartRefused(in_use(listener, _cause(error))) from None
        return opened

    async def discard(self, opened: Sequence[OpenPort]) -> None:
        """Close what ``prepare`` has opened, after all."""
        for one in opened:
            await _close(one.port)

    def switch(
        self,
        listeners: Sequence[Listener],
        opened: Sequence[OpenPort],
        certificate: CertificateOptions | None,
    ) -> list[OpenPort]:
        """Serve at *listeners*; return what is still to be closed, by ``discard``.

        *certificate* is for those that are ``secured``.
        """
        before = self._open
        fresh = {one.listener.key: one for one in opened}
        self._open = {
            listener.key: attrs.evolve(before[listener.key], listener=listener)
            if listener.key in before
            else fresh[listener.key]
            for listener in listeners
        }
        self._own.secure(certificate)
        closing = [one for key, one in before.items() if key not in self._open]
        for one in closing:
            _accept_waiting(one.port)
        return closing

    async def close(self) -> None:
        """Close all."""
        ports, self._open = self.open, {}
        await self.discard(ports)

    async def _listen(self, listener: Listener) -> IListeningPort:
        door = self._own if listener.probe is not None else self._plain
        try:
            port: IListeningPort = await listener.endpoint.listen(door)
        except CannotListenError as error:
            taken = getattr(error.socketError, "errno", None) == errno.EADDRINUSE
            rivals = self._rivals(listener)
            if not taken or not rivals:
                raise
            return self._listen_beside(listener, rivals, door)
        return port

    def _rivals(self, listener: Listener) -> list[Any]:
        """Return our own ports that *listener* cannot stand beside.

        The same number at every address, or at one of them, is in the other's way.
        """
        if listener.probe is None:
            return []
        number = listener.probe[1]
        return [
            one.port
            for one in self._open.values()
            if one.listener.probe is not None and one.listener.probe[1] == number
        ]

    def _listen_beside(
        self, listener: Listener, rivals: Sequence[Any], door: Doorway
    ) -> IListeningPort:
        """Listen although ports of ours that are to be closed have the number."""
        assert listener.probe is not None
        family = socket.AF_INET6 if ":" in listener.probe[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # For processes of our own user alone, whom we have to trust anyway.
            for one in (made, *(rival.socket for rival in rivals)):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(listener.probe)
            made.listen(BACKLOG)
            made.setblocking(False)
            port: IListeningPort = self._reactor.adoptStreamPort(
                made.fileno(), family, door
            )
        return port


async def open_port(listener: Listener, site: Any) -> IListeningPort:
    """Open one port that is not among those of ``Ports``; raise ``StartRefused``."""
    try:
        port: IListeningPort = await listener.endpoint.listen(site)
    except (CannotListenError, OSError) as error:
        raise StartRefused(in_use(listener, _cause(error))) from None
    return port


async def _close(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


def _accept_waiting(port: Any) -> None:
    """Take the connections that wait: the system would reset them with the port."""
    if hasattr(port, "doRead"):
        for _ in range(LAST_ACCEPTS):
            port.doRead()


def _cause(error: CannotListenError | OSError) -> OSError:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    return cause if isinstance(cause, OSError) else OSError(0, str(cause))
