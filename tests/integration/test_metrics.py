"""Probes and figures of a whole gateway, over its sockets."""

from __future__ import annotations

import re
import socket
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import msgspec
import pytest
from twisted.internet.defer import Deferred

from tests.integration.conftest import StartDaemon
from tests.integration.gateway import TOKEN, Gateway, ask, configuration, post, send
from tests.integration.waiting import in_thread, socket_test, start, until, until_true
from tests.monitoring.support import Figures, read_figures
from tests.support.fake_provider import (
    DONE,
    FakeProvider,
    delta,
    finish,
    streamed,
)

OWN = {"gateway": {"metrics": {"endpoint": "tcp:0:interface=127.0.0.1"}}}


def port_of(gateway: Gateway) -> int:
    """Return the port of the listener for metrics, as the log tells it."""
    (line,) = [line for line in gateway.log if line.startswith("metrics are at")]
    return int(line.rpartition(":")[2])


def fetch(port: int, path: str, token: str | None = None) -> tuple[int, str]:
    """Return status and body; blocks."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def get(port: int, path: str, token: str | None = None) -> tuple[int, str]:
    return await in_thread(fetch, port, path, token)


async def figures(port: int, token: str | None = None) -> Figures:
    status, text = await get(port, "/metrics", token)
    assert status == 200
    return read_figures(text)


@socket_test
async def test_a_turn_is_seen_at_the_own_listener(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> None:
    gateway = await Gateway(tmp_path, configuration(provider, **OWN)).start()
    assert (await post(gateway, ask("hello"))).status == 200
    found = await figures(port_of(gateway))
    main = {"agent": "main", "provider": "local"}
    assert found.value("moltbot_runs_total", outcome="done", **main) == 1
    assert found.value("moltbot_run_first_token_seconds_count", **main) == 1
    assert found.value("moltbot_store_commit_seconds_count") >= 2
    assert found.value("moltbot_reactor_tick_late_seconds_count") > 0
    assert (await get(gateway.port, "/metrics", TOKEN))[0] == 404
    await gateway.stop()


@socket_test
async def test_the_gateways_port_tells_who_brings_the_secret(
    clean: None, tmp_path: Path
) -> None:
    config = configuration(None, gateway={"metrics": {"enabled": True}})
    gateway = await Gateway(tmp_path, config).start()
    assert (await get(gateway.port, "/metrics"))[0] == 401
    found = await figures(gateway.port, TOKEN)
    route = {"route": "metrics", "status": "401"}
    assert found.value("moltbot_http_requests_total", **route) == 1
    assert not any(line.startswith("metrics are at") for line in gateway.log)
    await gateway.stop()


@socket_test
async def test_a_stop_can_be_watched_to_its_end(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> None:
    gateway = await Gateway(tmp_path, configuration(provider, **OWN)).start()
    port = port_of(gateway)
    assert (await get(port, "/readyz"))[0] == 200
    gate: Deferred[None] = Deferred()
    provider.scripts.append(streamed(delta("hello"), gate, finish(), DONE))
    client = await send(gateway, ask("hello"))
    await provider.when_asked()
    stopping = start(gateway.stop_now())
    await until(lambda: gateway.agents.draining)
    status, body = await get(port, "/readyz")
    assert status == 503
    assert "stopping" in msgspec.json.decode(body)["checks"]["accepting"]
    assert (await get(port, "/healthz"))[0] == 200
    found = await figures(port)
    assert found.value("moltbot_runs_active", agent="main") == 1
    gate.callback(None)
    assert (await client.reply()).status == 200
    await stopping
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()


@socket_test
async def test_a_store_that_is_mended_makes_it_ready_again(
    clean: None, tmp_path: Path
) -> None:
    file = tmp_path / "state" / "sessions.sqlite3"
    file.mkdir(parents=True)
    gateway = await Gateway(tmp_path, configuration(None)).start()
    status, body = await get(gateway.port, "/readyz")
    assert status == 503
    assert "cannot be opened" in msgspec.json.decode(body)["checks"]["store"]
    file.rmdir()

    async def is_ready() -> bool:
        return (await get(gateway.port, "/readyz"))[0] == 200

    await until_true(is_ready)
    await gateway.stop()


def test_the_daemon_serves_them(start_daemon: StartDaemon, tmp_path: Path) -> None:
    config: Any = configuration(None, **OWN)
    path = tmp_path / "moltbot.json"
    path.write_bytes(msgspec.json.encode(config))
    daemon = start_daemon(f"--config={path}", "--port=0")
    port = int(daemon.wait_for(r"metrics are at tcp:(\d+)")[1])
    status, text = fetch(port, "/metrics")
    assert status == 200
    assert re.search(r"^process_open_fds [0-9]", text, re.M)
    assert TOKEN not in text
    assert daemon.stop() == 0


def test_a_port_in_use_is_named(start_daemon: StartDaemon, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        metrics = {"port": taken.getsockname()[1]}
        config = configuration(None, gateway={"metrics": metrics})
        path = tmp_path / "moltbot.json"
        path.write_bytes(msgspec.json.encode(config))
        daemon = start_daemon(f"--config={path}", "--port=0")
        assert daemon.wait() == 78
    assert "gateway.metrics.port" in daemon.errors
