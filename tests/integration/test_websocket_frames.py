"""WebSocket frames over real sockets: what fake ones cannot show."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from pytest_twisted import async_yield_fixture

from moltbot_gw.http.site import GatewaySite
from tests.integration.waiting import in_thread, reactor, socket_test, until
from tests.support.tls import Authority
from tests.support.ws_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    Frame,
    close,
    frame,
    handshake,
    split_handshake,
    take_frames,
    text,
)
from tests.ws.conformance import Case, EchoTarget, all_cases
from tests.ws.echo import echo_site

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

PATIENCE = 10.0
MIB = 1024 * 1024

# A reset after the end is no fault where the client goes on talking behind it.
CASES = [one for one in all_cases() if not (one.client_closes and one.rest)]
SELECTED = [*CASES[::7], *(one for one in CASES if one.size > 256 * 1024)]


@attrs.frozen
class Server:
    """An echoing server on a port of loopback, or on a UNIX socket at that path.

    *context* is for clients, None without TLS.
    """

    address: int | str
    context: ssl.SSLContext | None = None

    def open(self) -> socket.socket:
        """Return a socket whose handshake is done; blocks."""
        if isinstance(self.address, str):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(PATIENCE)
            client.connect(self.address)
        else:
            client = socket.create_connection(("127.0.0.1", self.address), PATIENCE)
        if self.context is not None:
            client = self.context.wrap_socket(client, server_hostname="127.0.0.1")
        client.sendall(handshake())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        split_handshake(head)
        return client


async def _close(site: GatewaySite, port: Any) -> None:
    """Wait until the clients' connections are gone on our side too."""
    await until(lambda: site.connections == 0)
    await port.stopListening()


async def _plain_server(clean: None) -> AsyncIterator[Server]:
    site = echo_site(reactor)
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    yield Server(port.getHost().port)
    await _close(site, port)


async def _tls_server(clean: None, tmp_path: Path) -> AsyncIterator[Server]:
    site, authority = echo_site(reactor), Authority(tmp_path)
    options = authority.server_options("127.0.0.1")
    port = reactor.listenSSL(0, site, options, interface="127.0.0.1")
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    yield Server(port.getHost().port, context)
    await _close(site, port)


async def _unix_server(clean: None, tmp_path: Path) -> AsyncIterator[Server]:
    site, path = echo_site(reactor), tmp_path / "echo"
    port = reactor.listenUNIX(str(path), site)
    yield Server(str(path))
    await _close(site, port)


unix_server = async_yield_fixture(name="unix_server")(_unix_server)
server = async_yield_fixture(name="server")(_plain_server)
tls_server = async_yield_fixture(name="tls_server")(_tls_server)


def read_to_end(client: socket.socket) -> list[Frame]:
    """Return what comes before the server says that nothing follows."""
    data = bytearray()
    while piece := client.recv(65536):
        data += piece
    frames, rest = take_frames(bytes(data))
    assert rest == b""
    return frames


def converse(server: Server, data: bytes) -> list[Frame]:
    """Send *data* in one go; return everything that comes back."""
    with server.open() as client:
        client.sendall(data)
        return read_to_end(client)


def check(case: Case, frames: list[Frame]) -> None:
    case.check_close(frames[-1])
    EchoTarget().check(case, frames[:-1])


@pytest.mark.parametrize("case", SELECTED, ids=lambda case: case.name)
@socket_test
async def test_the_table_holds_on_real_sockets(server: Server, case: Case) -> None:
    data = case.sound + case.fault + case.rest
    check(case, await in_thread(converse, server, data))


@pytest.mark.parametrize("case", CASES[::23], ids=lambda case: case.name)
@socket_test
async def test_the_table_holds_over_tls(tls_server: Server, case: Case) -> None:
    data = case.sound + case.fault + case.rest
    check(case, await in_thread(converse, tls_server, data))


@socket_test
async def test_a_flood_behind_a_fault_does_not_drown_the_reason(
    server: Server,
) -> None:
    flood = frame(3) + frame(BINARY, b"*" * MIB) * 4
    frames = await in_thread(converse, server, flood)
    assert [one.code for one in frames] == [1002]


def cut_a_frame(server: Server) -> list[Frame]:
    """Stop inside a frame, so that no answer to the close frame can be seen."""
    with server.open() as client:
        client.sendall(b"\x81\xfe\x10\x00" + bytes(4) + b"so far good \xff")
        return read_to_end(client)


@socket_test
async def test_the_server_closes_first_where_it_cannot_be_answered(
    server: Server, tls_server: Server, unix_server: Server
) -> None:
    for one in (server, tls_server, unix_server):
        frames = await in_thread(cut_a_frame, one)
        assert [one.code for one in frames] == [1007]


@socket_test
async def test_a_unix_socket_serves_too(unix_server: Server) -> None:
    frames = await in_thread(converse, unix_server, text("hi") + close(4000))
    assert frames == [Frame(1, b"hi"), Frame(CLOSE, b"\x0f\xa0")]


def vanish_while_deaf(server: Server) -> None:
    with server.open() as client:
        push(client, frame(BINARY, b"*" * 65536), 64 * MIB)


@socket_test
async def test_a_client_that_vanishes_without_reading_is_noticed(
    server: Server, tls_server: Server
) -> None:
    for one in (server, tls_server):
        await in_thread(vanish_while_deaf, one)


def push(client: socket.socket, data: bytes, most: int) -> int:
    """Send *data* again and again, unmindful of answers, until nothing is taken."""
    client.settimeout(0.5)
    sent = 0
    try:
        while sent < most:
            sent += client.send(data[sent % len(data) :])
    except TimeoutError:
        pass
    return sent


def deaf_then_all_ears(server: Server) -> tuple[int, int]:
    """Send without reading; then read.  Return both numbers of messages."""
    message = frame(BINARY, b"*" * 65536)
    with server.open() as client:
        sent = push(client, message, 64 * MIB)
        whole, part = divmod(sent, len(message))
        client.settimeout(PATIENCE)
        heard = read_messages(client, whole)
        client.sendall((message[part:] if part else b"") + close())
        rest = read_to_end(client)
    assert rest[-1].opcode == CLOSE
    return whole + (part > 0), heard + len(rest) - 1


def read_messages(client: socket.socket, number: int) -> int:
    """Read *number* echoes of 64 KiB."""
    length = len(frame(BINARY, b"*" * 65536, mask=None))
    left = number * length
    while left:
        left -= len(client.recv(min(left, MIB)))
    return number


@socket_test
async def test_who_does_not_read_is_not_read_and_loses_nothing(
    server: Server,
) -> None:
    sent, heard = await in_thread(deaf_then_all_ears, server)
    assert sent * 65536 < 48 * MIB
    assert heard == sent


def speak_by_bytes(server: Server) -> list[Frame]:
    with server.open() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in text("\u20ac") + frame(PING, b"x") + close(4001, "done"):
            client.sendall(bytes([byte]))
        return read_to_end(client)


@socket_test
async def test_segments_of_one_byte_are_understood(server: Server) -> None:
    assert await in_thread(speak_by_bytes, server) == [
        Frame(1, "\u20ac".encode()),
        Frame(PONG, b"x"),
        Frame(CLOSE, b"\x0f\xa1done"),
    ]
