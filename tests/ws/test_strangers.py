"""A connection that has not brought a secret lasts in no state for long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from tests.support.control import Control, connect_params
from tests.support.gateway import Connection, Socket
from tests.support.http_client import chat_body, http_request
from tests.support.tls import Authority
from tests.support.ws_frames import TEXT, frame, handshake
from tests.ws.connecting import connect_frame

LONGEST = 12.1
"""Ten seconds for whatever is to come, two for the end of the connection."""

OPTIONS = (
    b"OPTIONS /v1/models HTTP/1.1\r\nHost: gateway.test\r\n"
    b"Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n\r\n"
)
STATES: dict[str, bytes] = {
    "nothing was sent": b"",
    "a head has begun": b"GET / HTT",
    "a head has no end": http_request(token=None)[:-2],
    "a secret was missing": http_request(token=None),
    "a secret was wrong": http_request(token="wrong"),
    "the path was wrong": http_request("GET", "/nowhere", token=None),
    "a page has asked what it may": OPTIONS,
    "a body of a refused request comes": http_request(
        "POST", "/v1/chat/completions", token=None, Content_Length="1000000"
    )
    + b"x" * 100,
    "a refused request was whole": http_request(
        "POST", "/v1/chat/completions", chat_body(), token=None
    ),
    "a refused request waits for an invitation": http_request(
        "POST",
        "/v1/chat/completions",
        token=None,
        Content_Length="10",
        Expect="100-continue",
    ),
    "a second head has begun": http_request(token=None) + b"GET",
    "a WebSocket says nothing": handshake(),
    "a WebSocket says half a frame": handshake() + frame(TEXT, b"{" * 100)[:50],
}


@pytest.fixture
def control(make_control: Callable[..., Control]) -> Control:
    return make_control(cors=("https://app.example",))


@pytest.mark.parametrize("sent", STATES.values(), ids=STATES)
def test_no_state_lasts(control: Control, sent: bytes) -> None:
    connection = control.send(sent)
    control.advance(LONGEST)
    assert connection.closed


@pytest.mark.parametrize("sent", STATES.values(), ids=STATES)
def test_a_byte_now_and_then_helps_nobody(control: Control, sent: bytes) -> None:
    connection = control.send(sent)
    for _ in range(24):
        if connection.closed:
            return
        connection.send(b"x")
        control.advance(1)
    raise AssertionError("still open")


def test_a_decision_that_takes_long_is_not_waited_for(control: Control) -> None:
    control.hold_threads()
    client = control.client()
    token = {"token": "a device's"}
    client.send(connect_frame(connect_params(auth=token)))
    control.advance(LONGEST)
    assert client.connection.closed
    control.release_threads()


class TLSEnd(Connection):
    """A client's end of a connection that is to be encrypted."""

    def __init__(self, control: Control, factory: Any) -> None:
        self._gateway = control
        self._channel = factory.buildProtocol(None)
        self.socket = Socket(control.clock, self._lost)
        self._channel.makeConnection(self.socket)

    def _lost(self, reason: Exception) -> None:
        self._channel.connectionLost(Failure(reason))


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_no_handshake_of_tls_lasts(
    control: Control, tmp_path: Path, sent: bytes
) -> None:
    options = Authority(tmp_path).server_options("localhost")
    clock: Clock = control.clock
    factory = TLSMemoryBIOFactory(options, False, control.site, clock=clock)
    connection = TLSEnd(control, factory)
    control.connections.append(connection)
    if sent:
        connection.send(sent)
    control.advance(LONGEST)
    assert connection.socket.closed is not None
