"""Faults of the surroundings: told to who asks, survived, and over when they are."""

from __future__ import annotations

import json
import resource
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import StartDaemon
from tests.integration.gateway import (
    Client,
    Gateway,
    Reply,
    ask,
    configuration,
    connect,
    parse,
    post,
    request_bytes,
)
from tests.integration.waiting import in_thread, socket_test, until, until_true, within
from tests.support.daemon import PATIENCE, Daemon
from tests.support.fake_provider import (
    RESET,
    STALL,
    FakeProvider,
    Script,
    delta,
    head,
    said,
    streamed,
)

MEGABYTE = 1 << 20
GIGABYTE = 1 << 30
WORDS = delta("x" * 60_000)


# -- a provider that sends 1 GB


def gigabyte_of(piece: bytes) -> list[bytes]:
    """Return a gigabyte, which is one object in memory."""
    return [piece] * (GIGABYTE // len(piece))


ENDLESS: dict[str, Script] = {
    "words": streamed(*gigabyte_of(WORDS)),
    "one event": streamed(*gigabyte_of(b"x" * 64_000)),
    "one event of many lines": streamed(
        *gigabyte_of(b"data: " + b"x" * 64_000 + b"\n")
    ),
    "an error": [
        head(500, {"Content-Length": str(GIGABYTE)}),
        *gigabyte_of(b"x" * 64_000),
    ],
    "a head": [b"HTTP/1.1 200 OK\r\n", *gigabyte_of(b"X: " + b"y" * 64_000 + b"\r\n")],
    "interim answers": gigabyte_of(b"HTTP/1.1 100 Go on\r\n\r\n" * 3000),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", ENDLESS)
@socket_test
async def test_a_provider_that_sends_a_gigabyte_is_cut(
    clean: None, provider: FakeProvider, tmp_path: Path, kind: str, stream: bool
) -> None:
    limits = {"gateway": {"limits": {"maxRunBytes": MEGABYTE}}}
    gateway = await Gateway(tmp_path, configuration(provider, **limits)).start()
    provider.scripts.append(ENDLESS[kind])
    reply = await post(gateway, ask("go", stream=stream))
    await until(lambda: not provider.open_connections)
    assert is_told(reply, stream)
    provider.scripts.append(said("fine"))
    assert (await post(gateway, ask("again"))).status == 200
    await gateway.stop()


def is_told(reply: Reply, stream: bool) -> bool:
    """Whether the client hears of a failure, and where the provider is one of words."""
    if not stream or reply.status != 200:
        return reply.status in (500, 502) and "error" in reply.json()
    *_, error, end = reply.events()
    return "error" in error and end == "[DONE]"


# -- a provider that resets, stalls, talks nonsense: at any byte in
#    tests/providers/test_recordings.py


@pytest.mark.parametrize("said_first", [(), (delta("hal"),)], ids=["at once", "later"])
@socket_test
async def test_a_provider_that_resets_is_told(
    gateway: Gateway, provider: FakeProvider, said_first: tuple[bytes, ...]
) -> None:
    provider.default = [*streamed(*said_first), RESET] if said_first else [RESET]
    reply = await post(gateway, ask("go"))
    assert reply.status == 502
    assert reply.json()["error"]["code"] == "provider_error"


@socket_test
async def test_a_provider_that_talks_nonsense_is_told(
    gateway: Gateway, provider: FakeProvider
) -> None:
    for nonsense in (b"\0" * 5000, b"SSH-2.0-x", b"HTTP/1.1 200 OK\r\n: "):
        provider.scripts.append([nonsense + b"\r\n\r\n", STALL])
        reply = await post(gateway, ask("go"))
        assert reply.status == 502


# -- a store that another program holds

LOCKED_SECONDS = 10.0


@socket_test
async def test_a_store_that_is_locked_for_long_is_told_and_works_again(
    clean: None, tmp_path: Path
) -> None:
    gateway = await Gateway(tmp_path, configuration(None)).start()
    assert (await post(gateway, ask("before", user="kim"))).status == 200
    with locked(tmp_path / "state" / "sessions.sqlite3"):
        end = time.monotonic() + LOCKED_SECONDS
        while time.monotonic() < end:  # SQLite itself waits for half of that
            reply = await post(gateway, ask("now", user="kim"))
            assert reply.status == 500
            assert reply.json()["error"]["code"] == "session_store_error"

    async def works() -> bool:
        return (await post(gateway, ask("after", user="kim"))).status == 200

    await until_true(works)
    await gateway.stop()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of writers, as a backup that hangs would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# -- no descriptors left


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
@socket_test
async def test_without_descriptors_others_go_on_and_all_is_well_later(
    clean: None, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text(json.dumps(configuration(None)))
    daemon = start_daemon(f"--config={path}", "--port=0")
    port = await in_thread(daemon.listening)
    await in_thread(exhaust, daemon, port)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output


def exhaust(daemon: Daemon, port: int) -> None:
    """Take all descriptors; ask over an old connection, and later over a new one."""
    with dial(port) as old:
        assert status(old) == 200
        used = len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        limits = (used + 8, hard)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
        crowd = [dial(port) for _ in range(40)]
        assert status(old) == 200
        for one in crowd:
            one.close()
    for _ in range(3):
        with dial(port) as new:
            assert status(new) == 200


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def status(connection: socket.socket) -> int:
    """Ask over *connection*, which stays open; return the answer's status."""
    connection.sendall(request_bytes(ask("hi"), Connection="keep-alive"))
    data = b""
    while b"\r\n\r\n" not in data or not data.rstrip().endswith(b"}"):
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    return parse(data).status


# -- a wall clock that jumps

_JUMPING = """
import signal, sys, time
real, jumps = time.time, []
time.time = lambda: real() + sum(jumps)
signal.signal(signal.SIGUSR1, lambda *_: jumps.append(100_000.0))
signal.signal(signal.SIGUSR2, lambda *_: jumps.append(-300_000.0))
from twisted.scripts.twistd import run
run()
"""


class JumpingDaemon(Daemon):
    """A daemon whose wall clock jumps ahead on SIGUSR1, and far back on SIGUSR2."""

    command = (sys.executable, "-c", _JUMPING)


@socket_test
async def test_a_clock_that_jumps_cuts_nobody_and_stops_no_timer(
    clean: None, tmp_path: Path
) -> None:
    timeouts = {"gateway": {"http": {"headerTimeoutSeconds": 1}}}
    path = tmp_path / "moltbot.json"
    path.write_text(json.dumps(configuration(None, **timeouts)))
    daemon = JumpingDaemon(tmp_path, f"--config={path}", "--port=0")
    try:
        port = await in_thread(daemon.listening)
        await in_thread(jump, daemon, port)
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.output
    finally:
        daemon.kill()


def jump(daemon: Daemon, port: int) -> None:
    """Set the clock, while a connection is idle and a head is on its way."""
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1):
        with dial(port) as idle, dial(port) as slow:
            assert status(idle) == 200
            daemon.signal(number)
            assert status(idle) == 200
            slow.sendall(b"GET / HT")
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
            assert status(idle) == 200


@socket_test
async def test_clients_that_come_and_go_leave_no_descriptor(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.default = [STALL]
    clients: list[Client] = [await connect(gateway) for _ in range(50)]
    for client in clients:
        client.transport.write(request_bytes(ask("go", stream=True)))
    await until(lambda: gateway.connections == 50)
    for client in clients:
        client.transport.abortConnection()
        await within(5, client.closed)
    await gateway.when_idle()
    await until(lambda: not provider.open_connections)
