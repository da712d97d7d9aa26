"""Connections have a bound, as a whole and from one address."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import http_request

MakeGateway = Callable[..., Gateway]


def address(host: str) -> IAddress:
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, 40000)


def come(gateway: Gateway, *hosts: str) -> list[bool]:
    """Connect from each of *hosts*; return who was let in."""
    return [gateway.connect(peer=address(host)).admitted for host in hosts]


def test_connections_have_a_bound(make_gateway: MakeGateway, log: LogTape) -> None:
    gateway = make_gateway(max_connections=2)
    hosts = ["192.0.2.1", "127.0.0.1", "192.0.2.2", "127.0.0.1"]
    assert come(gateway, *hosts) == [True, True, False, False]
    (problem,) = log.take_problems()
    assert "there are 2 connections" in problem


def test_an_address_has_a_bound_of_its_own(
    make_gateway: MakeGateway, log: LogTape
) -> None:
    gateway = make_gateway(max_connections_per_address=2)
    assert come(gateway, *["192.0.2.1"] * 3, "192.0.2.2") == [True, True, False, True]
    (problem,) = log.take_problems()
    assert "192.0.2.1 has 2 connections" in problem
    assert "maxConnectionsPerAddress" in problem


def test_a_refused_client_is_closed_without_an_answer(
    make_gateway: MakeGateway, log: LogTape
) -> None:
    gateway = make_gateway(max_connections_per_address=1)
    come(gateway, "192.0.2.1")
    refused = gateway.connect(peer=address("192.0.2.1"))
    assert refused.closed
    assert refused.send(http_request()).received == b""
    assert log.take_problems()


def test_who_leaves_makes_room(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_connections_per_address=1)
    for _ in range(3):
        connection = gateway.connect(peer=address("192.0.2.1"))
        assert connection.admitted
        connection.hang_up()


def test_the_households_of_ipv6_count_as_one(
    make_gateway: MakeGateway, log: LogTape
) -> None:
    gateway = make_gateway(max_connections_per_address=1)
    hosts = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
    assert come(gateway, *hosts) == [True, False, True]
    assert log.take_problems()


def test_an_ipv4_address_in_ipv6_is_the_same(
    make_gateway: MakeGateway, log: LogTape
) -> None:
    gateway = make_gateway(max_connections_per_address=1)
    assert come(gateway, "192.0.2.1", "::ffff:192.0.2.1") == [True, False]
    assert log.take_problems()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "192.0.2.9"])
def test_who_speaks_for_many_has_no_bound(make_gateway: MakeGateway, host: str) -> None:
    gateway = make_gateway(
        max_connections_per_address=1, trusted_proxies=("192.0.2.9",)
    )
    assert come(gateway, *[host] * 3) == [True] * 3


def test_unix_sockets_have_no_addresses(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_connections_per_address=1)
    peers = [UNIXAddress(None), UNIXAddress(b"gw.sock"), None]
    assert all(gateway.connect(peer=peer).admitted for peer in peers)


def test_the_operator_is_told_once_a_minute(
    make_gateway: MakeGateway, log: LogTape
) -> None:
    gateway = make_gateway(max_connections=0)
    for _ in range(5):
        come(gateway, "192.0.2.1")
        gateway.advance(20.0)
    assert len(log.take_problems()) == 2
