"""``twistd moltbot-gateway`` as people and init systems run it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.tap import Options
from tests.integration.conftest import StartDaemon
from tests.integration.gateway import TOKEN, ask, configuration, parse, request_bytes
from tests.integration.waiting import in_thread, socket_test, until
from tests.support.daemon import TWISTD, Daemon, environment
from tests.support.fake_provider import FakeProvider, delta, event, plain, streamed

CONFIG_ERROR = 78


def _write(home: Path, config: Any) -> str:
    """Write the configuration; return the options that name it."""
    path = home / "moltbot.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return f"--config={path}"


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10.0)


def _talk(connection: socket.socket, body: object, token: str = TOKEN) -> bytes:
    """Return all that the gateway answers to *body*."""
    with connection:
        connection.sendall(request_bytes(body, token))
        return b"".join(iter(lambda: connection.recv(65536), b""))


def _says(connection: socket.socket, text: str, token: str = TOKEN) -> str:
    reply = parse(_talk(connection, ask(text), token))
    assert reply.status == 200
    return str(reply.json()["choices"][0]["message"]["content"])


@contextmanager
def _streaming(port: int, text: str) -> Iterator[Any]:
    """A stream of which the first words have come; gives the response."""
    body = json.dumps(ask(text, stream=True))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request("POST", "/v1/chat/completions", body, headers)
        response = client.getresponse()
        while b"word" not in response.readline():
            pass
        yield response


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the way in


def test_printed_command_answers(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon("--dev", "--port=0")
    command = daemon.wait_for(r"^curl .*$")[0]
    done = subprocess.run(
        ["sh", "-c", command],
        env=environment(tmp_path),
        capture_output=True,
        timeout=20,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["choices"][0]["message"]["content"] == "hi"


def test_generated_token_is_kept_and_private(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    tokens = []
    for _ in range(2):
        daemon = start_daemon("--dev", "--port=0")
        port = daemon.listening()
        token = (tmp_path / ".clawdbot-dev/gateway.token").read_text().strip()
        assert _says(_connect(port), "hello", token) == "hello"
        assert daemon.stop() == 0
        tokens.append(token)
        assert token not in daemon.output
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) >= 32


def test_everything_written_is_for_its_owner_only(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start_daemon("--dev", "--port=0")
    state = tmp_path / ".clawdbot-dev"
    port = daemon.listening()
    token = (state / "gateway.token").read_text().strip()
    _says(_connect(port), "hello", token)
    assert _mode(state) == 0o700
    modes = {path.name: _mode(path) for path in state.rglob("*") if path.is_file()}
    assert {"gateway.token", "sessions.sqlite3", "sessions.sqlite3-wal"} <= set(modes)
    assert set(modes.values()) == {0o600}, modes


def test_trying_it_out_leaves_nothing_beside_the_state(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start_daemon("--dev", "--port=0")
    port = daemon.listening()
    state = tmp_path / ".clawdbot-dev"
    token = (state / "gateway.token").read_text().strip()
    before = set(os.listdir(tmp_path))
    _says(_connect(port), "hello", token)
    assert set(os.listdir(tmp_path)) == before
    assert _mode(state / "workspace") == 0o700
    assert (state / "workspace" / "BOOTSTRAP.md").is_file()


@pytest.mark.parametrize("skips", [False, True])
def test_first_run_makes_the_workspace_unless_told_not_to(
    start_daemon: StartDaemon, tmp_path: Path, skips: bool
) -> None:
    config = configuration(None)
    folder = tmp_path / "work"
    config["agents"] = {
        "defaults": {"workspace": str(folder), "skipBootstrap": skips},
    }
    daemon = start_daemon(_write(tmp_path, config), "--port=0")
    port = daemon.listening()
    assert not folder.exists()
    assert _says(_connect(port), "hello") == "hello"
    assert folder.exists() is not skips


def test_workspace_that_cannot_be_made_stops_no_run(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    config = configuration(None)
    (tmp_path / "file").write_text("in the way")
    config["agents"] = {"defaults": {"workspace": str(tmp_path / "file")}}
    daemon = start_daemon(_write(tmp_path, config), "--port=0")
    port = daemon.listening()
    for _ in range(2):
        assert _says(_connect(port), "hello") == "hello"
    daemon.stop()
    assert daemon.output.count("cannot make the workspace") == 1


def test_help_names_every_option() -> None:
    shown = subprocess.run(
        [TWISTD, "moltbot-gateway", "--help"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout
    names = [name.rstrip("=") for name in Options().longOpt]
    assert {"dev", "config", "port", "bind", "token", "endpoint"} <= set(names)
    for name in names:
        assert f"--{name}" in shown


# -- refusals


def _refusal(daemon: Daemon) -> list[str]:
    """Return the lines of a start that is refused."""
    assert daemon.wait() == CONFIG_ERROR
    lines = daemon.errors.splitlines()
    assert "Traceback" not in daemon.output
    assert not [line for line in lines if not line.strip()]
    return lines


def _line(daemon: Daemon) -> str:
    (line,) = _refusal(daemon)
    assert line.startswith("moltbot-gateway: ")
    return line


def test_misspelt_key_is_named(start_daemon: StartDaemon, tmp_path: Path) -> None:
    option = _write(tmp_path, "{\n  gateway: {\n    prot: 18789,\n  },\n}\n")
    text = "\n".join(_refusal(start_daemon(option)))
    assert "moltbot.json:3" in text
    assert "gateway.prot" in text
    assert (
        '"port"' in text or "gateway.port" in text or "port" in text.split("prot")[-1]
    )


def test_two_mistakes_are_told_at_once(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    option = _write(tmp_path, '{ gateway: { port: "x", bind: "everywhere" } }')
    text = "\n".join(_refusal(start_daemon(option)))
    assert "gateway.port" in text
    assert "gateway.bind" in text


def test_provider_that_cannot_work(start_daemon: StartDaemon, tmp_path: Path) -> None:
    config = configuration(None)
    provider = {"baseUrl": "localhost:8000", "apiKey": "sk-hidden", "models": []}
    config["models"] = {"providers": {"local": provider}}
    daemon = start_daemon(_write(tmp_path, config), "--port=0")
    assert daemon.wait() == 78
    assert "models.providers.local.baseUrl" in daemon.output
    assert "sk-hidden" not in daemon.output


def test_no_secret(start_daemon: StartDaemon) -> None:
    assert "no token was configured" in _line(start_daemon("--port=0"))


def test_password_mode_without_a_password(start_daemon: StartDaemon) -> None:
    line = _line(start_daemon("--port=0", "--auth=password"))
    assert "no password was configured" in line


@pytest.mark.parametrize("secret", ["tiny-one", "changeme-changeme-changeme"])
def test_weak_secret_on_all_addresses(start_daemon: StartDaemon, secret: str) -> None:
    environ = {"CLAWDBOT_GATEWAY_TOKEN": secret}
    line = _line(start_daemon("--port=0", "--bind=lan", environ=environ))
    assert "refusing to bind" in line
    assert secret not in line


def test_weak_secret_on_an_endpoint(start_daemon: StartDaemon) -> None:
    environ = {"CLAWDBOT_GATEWAY_TOKEN": "tiny-one"}
    line = _line(start_daemon("--endpoint=tcp:0", environ=environ))
    assert "refusing to bind" in line


def test_endpoint_that_is_none(start_daemon: StartDaemon) -> None:
    environ = {"CLAWDBOT_GATEWAY_TOKEN": TOKEN}
    assert "endpoint tpc" in _line(start_daemon("--endpoint=tpc:0", environ=environ))


def test_remote_mode(start_daemon: StartDaemon, tmp_path: Path) -> None:
    config = configuration(None, gateway={"mode": "remote"})
    assert "remote" in _line(start_daemon(_write(tmp_path, config), "--port=0"))


def test_port_in_use(start_daemon: StartDaemon) -> None:
    environ = {"CLAWDBOT_GATEWAY_TOKEN": TOKEN}
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        line = _line(start_daemon(f"--port={port}", environ=environ))
    assert f"127.0.0.1:{port}" in line
    assert "in use" in line


def test_endpoint_in_use(start_daemon: StartDaemon) -> None:
    environ = {"CLAWDBOT_GATEWAY_TOKEN": TOKEN}
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        option = f"--endpoint=tcp:{port}:interface=127.0.0.1"
        daemon = start_daemon(option, environ=environ)
        assert daemon.wait() == CONFIG_ERROR
    assert f"cannot listen on tcp:{port}" in daemon.errors
    assert "Traceback" not in daemon.output


def test_second_gateway_on_one_state_folder(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    option = _write(tmp_path, configuration(None))
    first = start_daemon(option, "--port=0")
    port = first.listening()
    line = _line(start_daemon(option, "--port=0"))
    assert "another gateway already runs" in line
    assert _says(_connect(port), "still here") == "still here"


@pytest.mark.parametrize("option", ["--port=x", "--bind=moon", "--frobnicate"])
def test_misuse_of_the_command_line(start_daemon: StartDaemon, option: str) -> None:
    line = _line(start_daemon(option))
    assert option.split("=")[0].lstrip("-") in line


# -- the way out

_LONG = "word " * 60


def test_stream_completes_before_the_daemon_stops(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start_daemon(_write(tmp_path, configuration(None)), "--port=0")
    with _streaming(daemon.listening(), _LONG) as response:
        daemon.signal(signal.SIGTERM)
        rest = response.read().decode()
    assert '"finish_reason":"stop"' in rest
    assert rest.endswith("data: [DONE]\n\n")
    assert daemon.wait() == 0
    assert "the gateway has stopped" in daemon.output


def test_stream_that_outlasts_the_drain_ends_with_an_error(
    start_daemon: StartDaemon, tmp_path: Path
) -> None:
    config = configuration(None, gateway={"drainSeconds": 0.05})
    daemon = start_daemon(_write(tmp_path, config), "--port=0")
    with _streaming(daemon.listening(), _LONG) as response:
        daemon.signal(signal.SIGTERM)
        rest = response.read().decode()
    assert '"code":"draining"' in rest
    assert rest.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"stop"' not in rest
    assert daemon.wait() == 0


def test_interrupt_stops_it_too(start_daemon: StartDaemon) -> None:
    daemon = start_daemon("--dev", "--port=0")
    daemon.listening()
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == 0
    assert "the gateway has stopped" in daemon.output


@socket_test
async def test_log_holds_no_secret_and_no_prompt(
    clean: None,
    provider: FakeProvider,
    start_daemon: StartDaemon,
    tmp_path: Path,
) -> None:
    key = "sk-provider-key-0123456789"
    config = configuration(provider)
    config["models"]["providers"]["local"]["apiKey"] = key
    config["gateway"].pop("auth")
    echoed = {"error": {"message": f"bad key {key} for Bearer {key}"}}
    provider.scripts += [
        plain(401, echoed),
        plain(500, echoed),
        streamed(delta("answer-words"), event(echoed)),
    ]

    def work() -> str:
        daemon = start_daemon(
            _write(tmp_path, config),
            "--port=0",
            environ={"CLAWDBOT_GATEWAY_TOKEN": TOKEN},
        )
        port = daemon.listening()
        for _ in range(4):
            _talk(_connect(port), ask("prompt-words", user="kim"))
        _talk(_connect(port), ask("prompt-words"), "a-wrong-token")
        assert daemon.stop() == 0
        return daemon.output

    log = await in_thread(work)
    assert "answered 401" in log
    for word in (key, TOKEN, "prompt-words", "answer-words", "a-wrong-token"):
        assert word not in log


# -- other ways to listen


def test_unix_socket(start_daemon: StartDaemon, tmp_path: Path) -> None:
    option = _write(tmp_path, configuration(None))
    path = tmp_path / "gw.sock"
    daemon = start_daemon(option, f"--endpoint=unix:{path}:mode=600")
    daemon.wait_for("listening on unix:")
    assert _mode(path) == 0o600
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(os.fspath(path))
    assert _says(client, "hello") == "hello"
    assert daemon.stop() == 0


def test_two_endpoints(start_daemon: StartDaemon, tmp_path: Path) -> None:
    option = _write(tmp_path, configuration(None))
    endpoints = ["--endpoint=tcp:0:interface=127.0.0.1"] * 2
    daemon = start_daemon(option, *endpoints)
    for port in (daemon.listening(), daemon.listening()):
        assert _says(_connect(port), "hello") == "hello"


def test_own_certificate(start_daemon: StartDaemon, tmp_path: Path) -> None:
    config = configuration(None, gateway={"tls": {"enabled": True}})
    option = _write(tmp_path, config)
    for _ in range(2):
        daemon = start_daemon(option, "--port=0")
        port = int(daemon.wait_for(r'listening on https://[^\s"]+:(\d+)"')[1])
        (folder,) = (path.parent for path in tmp_path.rglob("gateway-cert.pem"))
        trusting = ssl.create_default_context(cafile=folder / "gateway-cert.pem")
        client = trusting.wrap_socket(_connect(port), server_hostname="localhost")
        assert client.version() in ("TLSv1.2", "TLSv1.3")
        assert _says(client, "hello") == "hello"
        assert daemon.stop() == 0
    assert _mode(folder / "gateway-key.pem") == 0o600
    assert _mode(folder) == 0o700


@socket_test
async def test_background(
    clean: None, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    option = _write(tmp_path, configuration(None))
    pidfile, logfile = tmp_path / "gw.pid", tmp_path / "gw.log"
    before = (f"--pidfile={pidfile}", f"--logfile={logfile}")
    launcher = start_daemon(option, "--port=0", before=before)
    assert await in_thread(launcher.wait) == 0
    await until(lambda: "listening on http://" in logfile.read_text())
    found = re.search(r"listening on \S+:(\d+)", logfile.read_text())
    assert found is not None
    connection = _connect(int(found[1]))
    assert await in_thread(_says, connection, "hello") == "hello"
    assert _mode(logfile) == 0o600
    os.kill(int(pidfile.read_text()), signal.SIGTERM)
    await until(lambda: not pidfile.exists())
    await until(lambda: "the gateway has stopped" in logfile.read_text())
