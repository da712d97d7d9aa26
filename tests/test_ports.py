"""Ports that take the place of others, on loopback."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from moltbot_gw.listening import Listener
from moltbot_gw.ports import OpenPort, Ports
from moltbot_gw.refusal import StartRefused
from tests.integration.waiting import in_thread, reactor, socket_test


class _Hello(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class _Site(Factory):  # type: ignore[type-arg]
    noisy = False
    protocol = _Hello
    starts = stops = 0

    def startFactory(self) -> None:
        self.starts += 1

    def stopFactory(self) -> None:
        self.stops += 1


def listener(host: str, port: int) -> Listener:
    return Listener(
        endpoint=TCP4ServerEndpoint(reactor, port, 5, host),
        address=f"http://{host}:{port}",
        local=True,
        key=(host, port),
        probe=(host, port),
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def ask(port: int, host: str = "127.0.0.1") -> bytes:
    with socket.create_connection((host, port), timeout=10) as client:
        return b"".join(iter(lambda: client.recv(100), b""))


async def change(ports: Ports, listeners: Sequence[Listener]) -> list[OpenPort]:
    opened = await ports.prepare(listeners)
    closing = ports.switch(listeners, opened, None)
    await ports.discard(closing)
    return closing


@socket_test
async def test_new_port_is_open_before_the_old_one_closes() -> None:
    site = _Site()
    ports = Ports(site, reactor)
    one, two = listener("127.0.0.1", free_port()), listener("127.0.0.1", free_port())
    await change(ports, [one])
    opened = await ports.prepare([two])
    for each in (one, two):
        assert each.probe is not None
        assert await in_thread(ask, each.probe[1]) == b"hello"
    closing = ports.switch([two], opened, None)
    await ports.discard(closing)
    assert [each.address for each in ports.open] == [two.address]
    assert (site.starts, site.stops) == (1, 0)
    await ports.close()
    assert (site.starts, site.stops, ports.open) == (1, 1, [])


@socket_test
async def test_connection_that_waits_is_taken_before_its_port_closes() -> None:
    ports = Ports(_Site(), reactor)
    port = free_port()
    await change(ports, [listener("127.0.0.1", port)])
    # The reactor does not turn between the two.
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        await ports.discard(ports.switch([], [], None))
        assert await in_thread(client.recv, 100) == b"hello"


@socket_test
async def test_address_that_stays_keeps_its_socket() -> None:
    ports = Ports(_Site(), reactor)
    number = free_port()
    await change(ports, [listener("127.0.0.1", number)])
    [before] = ports.open
    await change(ports, [listener("127.0.0.1", number)])
    [after] = ports.open
    assert after.port is before.port
    await ports.close()


@socket_test
async def test_all_addresses_and_one_of_them_take_each_other_s_place() -> None:
    ports = Ports(_Site(), reactor)
    number = free_port()
    for host in ("127.0.0.1", "0.0.0.0", "127.0.0.1"):
        await change(ports, [listener(host, number)])
        assert await in_thread(ask, number) == b"hello"
    await ports.close()


@socket_test
async def test_what_cannot_be_opened_leaves_all_as_it_was() -> None:
    ports = Ports(_Site(), reactor)
    number = free_port()
    await change(ports, [listener("127.0.0.1", number)])
    fresh = listener("127.0.0.1", free_port())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bad = listener("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(StartRefused, match="cannot listen on http://127"):
            await ports.prepare([fresh, bad])
    assert [one.address for one in ports.open] == [f"http://127.0.0.1:{number}"]
    assert fresh.probe is not None
    with pytest.raises(ConnectionRefusedError):
        await in_thread(ask, fresh.probe[1])
    await ports.close()


@socket_test
async def test_port_of_the_system_s_choice_is_shown() -> None:
    ports = Ports(_Site(), reactor)
    await change(ports, [listener("127.0.0.1", 0)])
    [one] = ports.open
    host: Any = one.port.getHost()
    assert one.address == f"http://127.0.0.1:{host.port}"
    await ports.close()


@socket_test
async def test_endpoint_without_a_number_that_fails_is_told(tmp_path: Path) -> None:
    class Broken:
        def listen(self, factory: object) -> Any:
            raise OSError(13, "Permission denied")

    odd = Listener(endpoint=Broken(), address="unix:x", local=True, key="x")  # type: ignore[arg-type]
    with pytest.raises(StartRefused, match="Permission denied"):
        await Ports(_Site(), reactor).prepare([odd])
