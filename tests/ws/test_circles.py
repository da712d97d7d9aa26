"""A connection that is over is freed at once, as those of the HTTP edge are."""

from __future__ import annotations

from tests.support.control import Control
from tests.support.garbage import collected


def come_and_go(control: Control) -> None:
    client = control.member()
    client.call("health")
    client.connection.hang_up()
    control.advance(0)


def test_a_websocket_leaves_no_circles(control: Control) -> None:
    come_and_go(control)
    with collected() as found:
        for _ in range(3):
            come_and_go(control)
    assert not found
