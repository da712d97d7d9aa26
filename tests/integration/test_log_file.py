"""The daemon's own log, as ``logs.tail`` shows it and as it lies on the disk."""

from __future__ import annotations

import json
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import StartDaemon
from tests.integration.gateway import (
    PROVIDER_KEY,
    TOKEN,
    ask,
    configuration,
    parse,
    request_bytes,
)
from tests.support.control import connect_params
from tests.support.ws_frames import TEXT, close, frame, handshake, take_frames

PATIENCE = 10.0
WRONG_TOKEN = "a-wrong-token-0123456789"


class Caller:
    """A WebSocket client that waits for each of its answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.sendall(handshake())
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            self._read()
        self._data = self._data.partition(b"\r\n\r\n")[2]

    def call(self, method: str, params: Any) -> Any:
        request = {"type": "req", "id": method, "method": method, "params": params}
        self._socket.sendall(frame(TEXT, json.dumps(request).encode()))
        while True:
            frames, self._data = take_frames(self._data)
            for one in frames:
                answer = json.loads(one.payload) if one.opcode == TEXT else {}
                if answer.get("id") == method:
                    return answer
            self._read()

    def hang_up(self) -> None:
        self._socket.sendall(close())
        self._socket.close()

    def _read(self) -> None:
        data = self._socket.recv(65536)
        assert data
        self._data += data


def complete(port: int, token: str) -> int:
    """Ask for a completion over HTTP; return the status."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(request_bytes(ask("words nobody logs"), token))
        return parse(b"".join(iter(lambda: client.recv(65536), b""))).status


def tail(caller: Caller, wanted: str) -> list[Any]:
    """Return the lines, once *wanted* is in one of them."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        told = caller.call("logs.tail", {})["payload"]
        if any(wanted in line for line in told["lines"]):
            return [json.loads(line) for line in told["lines"]]
    raise AssertionError(f"{wanted!r} is not in the log")


@pytest.fixture
def config() -> dict[str, Any]:
    config = configuration(None, logging={"level": "debug"})
    config["agents"]["defaults"]["model"] = {"primary": "echo/echo"}
    return config


def test_logs_tail_shows_the_daemons_lines_and_no_secret(
    start_daemon: StartDaemon, tmp_path: Path, config: dict[str, Any]
) -> None:
    (tmp_path / "moltbot.json").write_text(json.dumps(config))
    path = tmp_path / "moltbot.json"
    daemon = start_daemon(f"--config={path}", "--port=0")
    port = daemon.listening()
    assert complete(port, TOKEN) == 200
    assert complete(port, WRONG_TOKEN) == 401
    refused = Caller(port)
    wrong = connect_params(auth={"token": WRONG_TOKEN})
    assert not refused.call("connect", wrong)["ok"]
    refused.hang_up()
    caller = Caller(port)
    assert caller.call("connect", connect_params(auth={"token": TOKEN}))["ok"]
    lines = tail(caller, " 401 ")
    caller.hang_up()
    assert daemon.stop() == 0

    subsystems = {json.loads(line["0"])["subsystem"] for line in lines}
    assert {"http.accesslog", "sessions.connection"} <= subsystems, subsystems
    assert any("POST" in line["1"] and " 200 " in line["1"] for line in lines)
    assert all(line["time"] == line["_meta"]["date"] for line in lines)
    (file,) = (tmp_path / ".clawdbot" / "logs").glob("moltbot-*.log")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.read_text()
    assert "the gateway has stopped" in written.splitlines()[-1]
    for secret in (TOKEN, WRONG_TOKEN, PROVIDER_KEY, "words nobody logs"):
        assert secret not in written
        assert secret not in daemon.output
