"""How the daemon stops: once in peace, twice in a hurry, and never in silence."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.messages import AssistantMessage
from moltbot_gw.sessions import SqliteSessionStore
from tests.integration.conftest import StartDaemon
from tests.integration.gateway import TOKEN, ask, configuration, parse, request_bytes
from tests.sessions.support import Pump
from tests.support.daemon import Daemon

LONG = "word " * 400
"""More than ``echo`` says while a test looks on."""

STOPS = (signal.SIGTERM, signal.SIGINT)


def start(start_daemon: StartDaemon, home: Path, **gateway: Any) -> tuple[Daemon, int]:
    """Start a daemon that does one run at a time; return it and its port."""
    config = configuration(None, gateway=gateway)
    config["agents"]["defaults"]["maxConcurrent"] = 1
    path = home / "moltbot.json"
    path.write_text(json.dumps(config))
    environ = {"MOLTBOT_STATE_DIR": str(home / "state")}
    daemon = start_daemon(f"--config={path}", "--port=0", environ=environ)
    return daemon, daemon.listening()


@contextmanager
def streaming(port: int, user: str) -> Iterator[Any]:
    """A long stream of which the first words have come; gives the response."""
    body = json.dumps(ask(LONG, stream=True, user=user))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        client.request("POST", "/v1/chat/completions", body, headers)
        response = client.getresponse()
        while b"word" not in response.readline():
            pass
        yield response


def stored(state: Path, user: str) -> Any:
    """Return the last message of a user's session."""
    pump = Pump()
    store = SqliteSessionStore(state / "sessions.sqlite3", pump)
    pump.wait(store.open())
    history = pump.wait(store.history(f"agent:main:openai-user:{user}", 0))
    pump.wait(store.close())
    return history.messages[-1]


@pytest.mark.parametrize("first", STOPS)
@pytest.mark.parametrize("second", STOPS)
def test_second_signal_waits_no_longer(
    start_daemon: StartDaemon,
    tmp_path: Path,
    first: signal.Signals,
    second: signal.Signals,
) -> None:
    daemon, port = start(start_daemon, tmp_path, drainSeconds=600)
    with streaming(port, "kim") as response:
        daemon.signal(first)
        daemon.wait_for("waiting for what still runs: 1")
        daemon.signal(second)
        rest = response.read().decode()
    assert '"code":"draining"' in rest
    assert rest.endswith("data: [DONE]\n\n")
    assert daemon.wait() == 0
    assert "the gateway has stopped" in daemon.output
    kept = stored(tmp_path / "state", "kim")
    assert isinstance(kept, AssistantMessage)
    assert kept.stop_reason == "aborted"
    assert kept.text
    assert LONG.startswith(kept.text)


def test_two_signals_at_once_are_two(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon, port = start(start_daemon, tmp_path, drainSeconds=600)
    with streaming(port, "kim") as response:
        for number in STOPS:  # of two equal ones the kernel may make one
            daemon.signal(number)
        rest = response.read().decode()
    assert '"code":"draining"' in rest
    assert daemon.wait() == 0


def test_waiting_request_is_asked_to_come_again(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon, port = start(start_daemon, tmp_path, drainSeconds=0.5)
    with ExitStack() as stack:
        response = stack.enter_context(streaming(port, "kim"))
        waiting = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        waiting.sendall(request_bytes(ask("hello", user="lee")))
        late = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        late.sendall(b"POST /v1/chat/completions HTTP/1.1\r\n")
        # One more answer, so that those before it have been read.
        with socket.create_connection(("127.0.0.1", port), 20) as other:
            other.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert other.recv(1)
        daemon.signal(signal.SIGTERM)
        for connection in (waiting, late):
            reply = parse(b"".join(iter(lambda c=connection: c.recv(65536), b"")))
            assert reply.status == 503
            assert reply.headers["retry-after"] == "5"
            assert reply.json()["error"]["code"] == "draining"
        response.read()
    assert daemon.wait() == 0


def test_port_is_closed_while_runs_end(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon, port = start(start_daemon, tmp_path, drainSeconds=600)
    with streaming(port, "kim"):
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("waiting for what still runs: 1")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 20)
        daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
