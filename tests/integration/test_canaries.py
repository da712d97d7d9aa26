"""Marked secrets and words, sent through every place: none comes out in a log.

The daemon runs at its most verbose; what it writes anywhere is searched afterwards.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.cli.support import COMMAND
from tests.integration.conftest import StartDaemon
from tests.integration.gateway import ask, configuration
from tests.integration.test_log_file import Caller
from tests.integration.waiting import in_thread, socket_test
from tests.support.control import connect_params
from tests.support.daemon import Daemon, environment
from tests.support.fake_provider import FakeProvider, delta, event, plain, streamed

TOKEN = "canary-token-5b1e0c9f27"
PASSWORD = "canary-password-8d3a6e4410"
KEY = "canary-provider-key-f00dfeed01"
WRONG = "canary-wrong-token-77a1b2c3d4"
PROMPT = "canary-prompt mauve elephants"
ANSWER = "canary-answer plaid giraffes"
CANARIES = (TOKEN, PASSWORD, KEY, WRONG, PROMPT, ANSWER)

# What no request can bring about: an exception of which the message is the request.
BREAKING = """
import moltbot_gw.wire.chat_request as module
parse = module.parse_chat_request

def broken(body, **more):
    if b"break" in body:
        raise RuntimeError(body.decode())
    return parse(body, **more)

module.parse_chat_request = broken
"""


def loud(provider: FakeProvider) -> dict[str, Any]:
    """Return a configuration with the secrets, that logs as much as there is."""
    config = configuration(provider)
    config["gateway"]["auth"] = {"mode": "token", "token": TOKEN, "password": PASSWORD}
    config["gateway"]["metrics"] = {"enabled": True}
    config["models"]["providers"]["local"]["apiKey"] = KEY
    config["logging"] = {
        "level": "trace",
        "consoleLevel": "trace",
        "levels": {"moltbot_gw": "trace", "twisted": "trace", "autobahn": "trace"},
    }
    return config


def echoes() -> list[Any]:
    """Return what a provider answers that repeats all it was told."""
    told = {"error": {"message": f"bad {KEY}, Bearer {KEY}: {PROMPT}", "code": PROMPT}}
    return [
        *(plain(status, told) for status in (401, 400, 429, 500)),
        plain(418, f"{KEY} {PROMPT}".encode()),
        streamed(delta(ANSWER), event(told)),
        streamed(delta(ANSWER), f"data: {{{PROMPT}\n\n".encode()),
    ]


def raw_requests() -> Iterator[tuple[str, str, bytes | str, dict[str, str]]]:
    """Yield requests with a canary in each place that a client can fill."""
    path = "/v1/chat/completions"
    right = {"Authorization": f"Bearer {TOKEN}"}
    body = json.dumps(ask(PROMPT))
    for canary in CANARIES:
        yield "POST", path, body, {"Authorization": f"Bearer {canary}"}
        yield "POST", path, body, {"Authorization": f"Basic {canary}"}
        for name in ("Cookie", "X-Api-Key", "User-Agent", "Referer", "Origin", "Host"):
            yield "POST", path, body, {name: canary}
            yield "GET", "/v1/models", b"", {**right, name: canary}
        for name in ("x-moltbot-session-key", "x-moltbot-agent-id", "x-moltbot-model"):
            yield "POST", path, body, {**right, name: canary}
        yield "GET", f"/v1/models?token={quote(canary)}", b"", right
        yield "GET", f"/v1/models/{quote(canary)}", b"", right
        yield "GET", f"/{quote(canary)}", b"", {}
        yield "POST", path, f"{{{canary}", right
        yield "POST", path, json.dumps({"messages": canary}), right
        yield "POST", path, json.dumps({**ask(PROMPT), "model": canary}), right
        yield "POST", path, json.dumps({**ask(PROMPT), "user": canary}), right
        yield "POST", path, json.dumps({**ask(PROMPT), canary: canary}), right
        yield "POST", path, json.dumps(ask(f"break {canary}")), right
    for canary in (TOKEN, PASSWORD, KEY):
        yield "GET", "/v1/models", b"", {**right, "X-Request-Id": canary}


def send_all(port: int) -> list[bytes]:
    """Send everything over HTTP; return the answers to those without the secret."""
    strangers = []
    for method, path, body, headers in raw_requests():
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as one:
            one.request(method, path, body, headers)
            answer = one.getresponse()
            said = bytes(str(answer.headers), "latin-1") + answer.read()
            if headers.get("Authorization") != f"Bearer {TOKEN}":
                strangers.append(said)
    return strangers


def tell_all(port: int) -> str:
    """Return what the gateway tells of itself, to strangers and to its owner."""
    told = ""
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
        for path in ("/healthz", "/readyz", "/metrics"):
            with closing(http.client.HTTPConnection("127.0.0.1", port)) as one:
                one.request("GET", path, headers=headers)
                told += one.getresponse().read().decode()
    assert "moltbot_run_failures_total{" in told
    return told


def talk(port: int) -> None:
    """Send canaries in frames of the WebSocket."""
    for auth in ({"token": WRONG}, {"password": PASSWORD}, {"token": PROMPT}):
        caller = Caller(port)
        caller.call("connect", connect_params(auth=auth))
        caller.hang_up()
    caller = Caller(port)
    assert caller.call("connect", connect_params(auth={"token": TOKEN}))["ok"]
    for canary in CANARIES:
        caller.call("no.such.method", {"token": canary})
        caller.call("sessions.list", {canary: canary})
        caller.call("config.set", {"raw": canary})
        params = {
            "sessionKey": "main",
            "message": canary,
            "idempotencyKey": canary[-9:],
        }
        caller.call("chat.send", params)
        caller.call("agent.wait", {"runId": canary[-9:], "timeoutMs": 5000})
    caller.hang_up()


def own_words(daemon: Daemon) -> str:
    """Return what the system shows anybody of the process."""
    process = Path("/proc") / str(daemon.process.pid)
    return (process / "cmdline").read_text() + (process / "comm").read_text()


def command(home: Path, *words: str) -> str:
    """Return all that the command says, started by the configuration's owner."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        env=environment(home, CLAWDBOT_CONFIG_PATH=str(home / "moltbot.json")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def breaking(tmp_path: Path) -> str:
    """A path for Python's modules on which the gateway breaks when it is asked to."""
    folder = tmp_path / "breaking"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BREAKING)
    rest = os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))
    return f"{folder}{os.pathsep}{rest}"


@socket_test
async def test_no_canary_comes_out(
    clean: None,
    provider: FakeProvider,
    start_daemon: StartDaemon,
    tmp_path: Path,
    breaking: str,
) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text(json.dumps(loud(provider)))
    path.chmod(0o600)
    provider.scripts += 3 * echoes()

    def work() -> dict[str, str]:
        daemon = start_daemon(
            f"--config={path}", "--port=0", environ={"PYTHONPATH": breaking}
        )
        port = daemon.listening()
        strangers = b"\n".join(send_all(port))
        talk(port)
        seen = {
            "the system": own_words(daemon),
            "probes and metrics": tell_all(port),
            "answers to strangers": strangers.decode("latin-1"),
            "config get": command(tmp_path, "config", "get", "gateway"),
            "models": command(tmp_path, "config", "get", "models"),
        }
        assert daemon.stop() == 0
        (file,) = (tmp_path / ".clawdbot" / "logs").glob("moltbot-*.log")
        return {**seen, "stderr and stdout": daemon.output, "file": file.read_text()}

    seen = await in_thread(work)
    for log in (seen["stderr and stdout"], seen["file"]):
        assert "RuntimeError: [what it says is not logged" in log
        assert "answered 401: [" in log
        assert "outcome=failed code=" in log
    for place, text in seen.items():
        for canary in CANARIES:
            if place == "answers to strangers" and canary == WRONG:
                continue
            assert canary not in text, f"{canary} in {place}"
            assert quote(canary) not in text, f"{canary} in {place}"
