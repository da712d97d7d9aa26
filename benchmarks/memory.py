"""Memory of the gateway: at rest, for quiet streams, for clients that stop reading."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks import processes
from benchmarks.load import request

QUIET_STREAMS = 1000
STALLED_CLIENTS = 64
FLOOD_BYTES = 30_000_000
SETTLE_SECONDS = 60.0
_CONTENT = re.compile(rb'"content":"(x*)')


def measure() -> Iterator[dict[str, Any]]:
    """Give the results one by one; *kib_each* is the growth per client."""
    with (
        processes.provider(32, 0.0) as provider_port,
        processes.gateway(provider_port) as (pid, port),
        ExitStack() as sockets,
    ):
        processes.load(port, 4, 100, stream=True)
        rest = processes.resident_kib(pid)
        yield {"name": "at rest, after 100 requests", "mib": round(rest / 1024, 1)}
        for _ in range(QUIET_STREAMS):
            _open(sockets, port, "bench:quiet", head_only=True)
        yield _growth(pid, rest, QUIET_STREAMS, "quiet streams")
    with (
        processes.provider(32, 0.0) as provider_port,
        processes.gateway(provider_port) as (pid, port),
        ExitStack() as sockets,
    ):
        processes.load(port, 4, 100, stream=True)
        rest = processes.resident_kib(pid)
        flood = f"bench:flood {FLOOD_BYTES}"
        clients = [_open(sockets, port, flood) for _ in range(STALLED_CLIENTS)]
        _settle(lambda: processes.cpu_seconds(pid))
        yield _growth(pid, rest, STALLED_CLIENTS, "clients that stopped reading")
        got = _read_text(clients[0])
        name = f"one of them reads on: {FLOOD_BYTES - got} bytes of text missing"
        yield {"name": name, "mib": round(processes.resident_kib(pid) / 1024, 1)}


def _open(
    sockets: ExitStack, port: int, text: str, *, head_only: bool = False
) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    sockets.enter_context(client)
    client.sendall(request(processes.TOKEN, stream=True, text=text))
    if head_only:
        client.recv(65536)
    return client


def _settle(cost: Callable[[], float]) -> None:
    """Wait until the gateway has nothing more to do."""
    end = time.monotonic() + SETTLE_SECONDS
    before = -1.0
    while time.monotonic() < end and cost() != before:
        before = cost()
        time.sleep(1.0)


def _growth(pid: int, rest: int, count: int, what: str) -> dict[str, Any]:
    now = processes.resident_kib(pid)
    return {
        "name": f"{count} {what}",
        "mib": round(now / 1024, 1),
        "kib_each": round((now - rest) / count),
    }


def _read_text(client: socket.socket) -> int:
    """Read the stream to its end; return how many characters of text it carried."""
    text, buffer = 0, b""
    while True:
        data = client.recv(1 << 20)
        *records, buffer = (buffer + data).split(b"\n\n")
        text += sum(len(match) for r in records for match in _CONTENT.findall(r))
        if not data or any(b"data: [DONE]" in record for record in records):
            return text
