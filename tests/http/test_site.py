"""What all connections share."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from moltbot_gw.agents.service import gateway_stops
from tests.support.gateway import Gateway
from tests.support.http_client import http_request


def close(gateway: Gateway, seconds: float = 2.0) -> list[bool]:
    """Start to close the site; the list is filled once it has."""
    closed: list[bool] = []
    closing = Deferred.fromCoroutine(gateway.site.close(seconds, gateway_stops()))
    closing.addCallback(lambda _: closed.append(True))
    gateway.advance(0)
    return closed


def test_connections_are_counted(gateway: Gateway) -> None:
    connections = [gateway.connect() for _ in range(3)]
    assert gateway.site.connections == 3
    connections[0].hang_up()
    assert gateway.site.connections == 2


def test_a_site_without_connections_closes_at_once(gateway: Gateway) -> None:
    assert close(gateway) == [True]


def test_a_site_closes_idle_connections(gateway: Gateway) -> None:
    connection = gateway.send(http_request())
    assert close(gateway) == [True]
    assert connection.closed
    assert not connection.aborted


def test_a_site_sends_what_is_left_before_it_closes(gateway: Gateway) -> None:
    connection = gateway.connect()
    connection.socket.full = True
    connection.send(http_request())
    closed = close(gateway)
    connection.socket.drain()
    gateway.advance(0)
    assert closed == [True]
    assert connection.answer().status == 200


def test_a_site_does_not_wait_for_ever(gateway: Gateway) -> None:
    connection = gateway.connect()
    connection.socket.full = True
    connection.send(http_request())
    closed = close(gateway)
    gateway.advance(1.9)
    assert closed == []
    gateway.advance(0.1)
    assert closed == [True]
    assert connection.aborted


def test_only_http_1_1_is_offered_over_tls(gateway: Gateway) -> None:
    assert gateway.site.acceptableProtocols() == [b"http/1.1"]


def test_starting_and_stopping_leaves_no_timer(gateway: Gateway) -> None:
    site: Any = gateway.site
    site.doStart()
    assert gateway.clock.getDelayedCalls() == []
    site.doStop()
