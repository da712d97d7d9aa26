"""A daemon whose configuration changes while it runs."""

from __future__ import annotations

import gc
import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.agents.setup import AgentSetup
from moltbot_gw.config import GatewayTls
from moltbot_gw.tlsfiles import server_tls_options
from tests.integration.conftest import StartDaemon
from tests.integration.gateway import (
    TOKEN,
    Gateway,
    ask,
    configuration,
    parse,
    post,
    request_bytes,
    send,
)
from tests.integration.waiting import socket_test, until
from tests.support.daemon import PATIENCE, TWISTD, Daemon, environment
from tests.support.fake_provider import (
    DONE,
    END_OF_CHUNKS,
    FakeProvider,
    delta,
    finish,
    said,
    streamed,
)

OTHER_TOKEN = "another-token-0123456789abcdef"
ROUNDS, STREAMS = 10, 4
"""Of the load: small enough for every machine; ``benchmarks reload`` has more."""


WORDS = "word " * 10


class House:
    """A daemon, its configuration as a tree, and a client."""

    def __init__(self, folder: Path, start: StartDaemon, **gateway: Any) -> None:
        self.folder = folder
        self.path = folder / "moltbot.json"
        self.config = configuration(None, gateway=gateway)
        self.config["gateway"].setdefault("reload", {"debounceMs": 0})
        if "$include" in self.gateway["auth"]:
            del self.gateway["auth"]["token"]
        self.write()
        self.daemon: Daemon = start(f"--config={self.path}", "--port=0")
        self.port = self.daemon.listening()

    def write(self, text: str | None = None) -> None:
        """Put the configuration, or *text*, in the place of the file."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.config) if text is None else text)
        fresh.replace(self.path)

    def change(self, *, waits: str = "the configuration was reloaded") -> None:
        """Write the configuration, and wait for a line of the log."""
        self.write()
        self.daemon.wait_for(waits)

    @property
    def gateway(self) -> dict[str, Any]:
        section: dict[str, Any] = self.config["gateway"]
        return section

    def ask(
        self, text: str = "hi", token: str = TOKEN, port: int = 0, **headers: str
    ) -> Any:
        """Return the answer over a connection of its own."""
        address = ("127.0.0.1", port or self.port)
        with socket.create_connection(address, timeout=PATIENCE) as client:
            client.sendall(request_bytes(ask(text), token, **headers))
            return parse(b"".join(iter(lambda: client.recv(65536), b"")))

    def models(self) -> list[str]:
        address = ("127.0.0.1", self.port)
        with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            client.request("GET", "/v1/models", headers=headers)
            found = json.loads(client.getresponse().read())["data"]
        return [model["id"] for model in found]


@pytest.fixture
def house(tmp_path: Path, start_daemon: StartDaemon) -> House:
    return House(tmp_path, start_daemon)


def test_new_agent_and_endpoint_switch(house: House) -> None:
    house.config["agents"]["list"].append({"id": "gamma", "workspace": "/nonexistent"})
    house.change()
    assert "moltbot:gamma" in house.models()
    house.gateway["http"]["endpoints"]["chatCompletions"]["enabled"] = False
    house.change()
    assert house.ask().status == 404


def test_new_model_of_an_agent(house: House) -> None:
    house.config["agents"]["list"][0]["model"] = "nowhere/m1"
    house.change(waits="agent main cannot run")
    assert house.ask().status == 502


def test_connection_that_was_open_goes_by_the_new_rules(house: House) -> None:
    address = ("127.0.0.1", house.port)
    origin = {"Origin": "https://page.test", "Authorization": f"Bearer {TOKEN}"}
    with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as client:
        client.request("GET", "/v1/models", headers=origin)
        first = client.getresponse()
        first.read()
        house.gateway["http"]["cors"] = {"allowedOrigins": ["https://page.test"]}
        house.change()
        client.request("GET", "/v1/models", headers=origin)
        second = client.getresponse()
        second.read()
    name = "Access-Control-Allow-Origin"
    assert (first.headers[name], second.headers[name]) == (None, "https://page.test")


def test_new_secret_shuts_the_old_one_out(house: House) -> None:
    house.gateway["auth"]["token"] = OTHER_TOKEN
    house.change()
    assert house.ask(token=TOKEN).status == 401
    assert house.ask(token=OTHER_TOKEN).status == 200


def test_secret_in_a_file_of_its_own_is_watched(
    tmp_path: Path, start_daemon: StartDaemon
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    include = tmp_path / "auth.json5"
    include.write_text(json.dumps({"tokenFile": str(file)}))
    house = House(tmp_path, start_daemon, auth={"$include": "auth.json5"})
    file.write_text(OTHER_TOKEN)
    house.daemon.wait_for("the configuration was reloaded")
    assert house.ask(token=OTHER_TOKEN).status == 200
    include.write_text(json.dumps({"token": TOKEN}))
    house.daemon.wait_for("the configuration was reloaded")
    assert house.ask(token=TOKEN).status == 200


def test_bad_configuration_changes_nothing_and_is_told_once(house: House) -> None:
    good = json.dumps(house.config)
    house.write("{ gateway: { prot: 1 } }")
    house.daemon.wait_for("was not reloaded, the one before stays in force")
    assert house.ask().status == 200
    os.utime(house.path, (1, 1))  # it is looked at again, and is as bad as before
    house.write(good)
    house.daemon.wait_for("the configuration is the one in force again")
    assert house.daemon.output.count("was not reloaded") == 1


def test_provider_that_cannot_work_is_refused_whole(house: House) -> None:
    house.config["agents"]["list"].append({"id": "gamma", "workspace": "/nonexistent"})
    house.config["models"] = {"providers": {"p": {"baseUrl": "nowhere", "models": []}}}
    house.change(waits="was not reloaded.*")
    assert "models.providers.p.baseUrl" in house.daemon.output
    assert "moltbot:gamma" not in house.models()


def test_hangup_reloads_in_every_mode(
    tmp_path: Path, start_daemon: StartDaemon
) -> None:
    house = House(tmp_path, start_daemon, reload={"mode": "off"})
    house.gateway["auth"]["token"] = OTHER_TOKEN
    house.write()
    house.daemon.signal(signal.SIGHUP)
    house.daemon.wait_for("the configuration was reloaded")
    assert house.ask(token=OTHER_TOKEN).status == 200


def test_mode_restart_only_tells(tmp_path: Path, start_daemon: StartDaemon) -> None:
    reload = {"mode": "restart", "debounceMs": 0}
    house = House(tmp_path, start_daemon, reload=reload)
    house.gateway["auth"]["token"] = OTHER_TOKEN
    house.change(waits="it waits for a restart")
    assert house.ask(token=TOKEN).status == 200


def test_log_level_and_file(house: House) -> None:
    log = house.folder / "moved.log"
    house.config["logging"] = {"level": "warn", "file": str(log)}
    house.change()
    house.ask(token="wrong")
    house.config["agents"]["list"][0]["model"] = "nowhere/m1"
    house.change(waits="agent main cannot run")
    house.daemon.stop()
    text = log.read_text()
    assert "cannot run" in text
    assert "INFO" not in text


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _on_configured_port(tmp_path: Path, start: StartDaemon, **gateway: Any) -> House:
    """A house that listens where its configuration says, not where --port does."""
    made = House.__new__(House)
    made.folder, made.path = tmp_path, tmp_path / "moltbot.json"
    made.port = _free_port()
    more = {"port": made.port, "reload": {"debounceMs": 0}, **gateway}
    made.config = configuration(None, gateway=more)
    made.write()
    made.daemon = start(f"--config={made.path}")
    made.daemon.listening()
    return made


def test_port_is_another_and_streams_of_the_old_one_go_on(
    tmp_path: Path, start_daemon: StartDaemon
) -> None:
    house = _on_configured_port(tmp_path, start_daemon)
    old, new = house.port, _free_port()
    with closing(_stream(house.port, "word " * 300)) as client:
        response = client.getresponse()
        response.readline()
        house.gateway["port"] = new
        house.change(waits="no longer listening on http://127.0.0.1")
        rest = response.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b'"finish_reason":"stop"' in rest
    assert house.ask(port=new).status == 200
    with pytest.raises(ConnectionRefusedError):
        house.ask(port=old)


def test_port_that_is_taken_changes_nothing(
    tmp_path: Path, start_daemon: StartDaemon
) -> None:
    house = _on_configured_port(tmp_path, start_daemon)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        house.gateway["port"] = taken.getsockname()[1]
        house.gateway["auth"]["token"] = OTHER_TOKEN
        house.change(waits="was not reloaded.*")
    assert "cannot listen on" in house.daemon.output
    assert house.ask(token=TOKEN).status == 200


def test_other_addresses_with_the_same_port(
    tmp_path: Path, start_daemon: StartDaemon
) -> None:
    house = _on_configured_port(tmp_path, start_daemon)
    for bind in ("lan", "loopback"):
        house.gateway["bind"] = bind
        house.change(waits="no longer listening on")
        assert house.ask().status == 200


def _peer_certificate(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    with context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True) or b""


def test_renewed_certificate_and_tls_switched_off(
    tmp_path: Path, start_daemon: StartDaemon
) -> None:
    house = _on_configured_port(tmp_path, start_daemon, tls={"enabled": True})
    first = _peer_certificate(house.port)
    folder = tmp_path / ".clawdbot" / "gateway" / "tls"
    server_tls_options(GatewayTls(enabled=True), tmp_path / "renewed")
    for name in ("gateway-key.pem", "gateway-cert.pem"):
        (tmp_path / "renewed/gateway/tls" / name).replace(folder / name)
    house.daemon.wait_for("the configuration was reloaded")
    second = _peer_certificate(house.port)
    assert first != second
    house.gateway["tls"]["enabled"] = False
    house.change()
    assert house.ask().status == 200


def test_closed_terminal_stops_it(tmp_path: Path) -> None:
    (tmp_path / "moltbot.json").write_text(json.dumps(configuration(None)))
    words = [str(TWISTD), "-n", "--pidfile=", "moltbot-gateway", "--port=0"]
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(
            words[0],
            [*words, f"--config={tmp_path / 'moltbot.json'}"],
            environment(tmp_path),
        )
    seen = b""
    while b"listening on" not in seen:
        assert select.select([master], [], [], PATIENCE)[0], seen
        seen += os.read(master, 65536)
    os.close(master)
    waiter = threading.Timer(PATIENCE, os.kill, (pid, signal.SIGKILL))
    waiter.start()
    _, status = os.waitpid(pid, 0)
    waiter.cancel()
    assert os.waitstatus_to_exitcode(status) == 0


# -- under load


def _stream(port: int, text: str) -> http.client.HTTPConnection:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    body = json.dumps(ask(text, stream=True))
    client.request("POST", "/v1/chat/completions", body, headers)
    return client


class Crowd:
    """Clients that stream without a rest; *broken* has what went wrong."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.whole = 0
        self.broken: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._go) for _ in range(STREAMS)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _go(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(_stream(self.port, WORDS)) as client:
                    answer = client.getresponse().read()
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
                continue
            said = "".join(
                re.findall(rb'"content":"([^"]*)"', answer)[i].decode()
                for i in range(answer.count(b'"content":"'))
            )
            if answer.endswith(b"data: [DONE]\n\n") and said == WORDS:
                self.whole += 1
            else:
                self.broken.append(answer[-300:].decode())


def _configurations(house: House) -> Iterator[bool]:
    """Write one configuration after the other; say of each whether it is good."""
    for number in range(ROUNDS):
        if number % 5 == 4:
            house.write("{ gateway: " + "[" * (number + 1))
            yield False
        else:
            house.gateway["limits"] = {"maxQueuedRuns": 200 + number}
            house.config["agents"]["list"][1]["name"] = f"Beta {number}"
            house.write()
            yield True


def test_no_request_fails_and_no_turn_is_cut(house: House) -> None:
    with Crowd(house.port) as crowd:
        for is_good in _configurations(house):
            house.daemon.signal(signal.SIGHUP)
            house.daemon.wait_for(
                "the configuration was reloaded" if is_good else "was not reloaded"
            )
    assert crowd.broken == []
    assert crowd.whole >= STREAMS
    assert house.daemon.stop() == 0
    assert "Traceback" not in house.daemon.output


# -- in the reactor of the test


@socket_test
async def test_nothing_of_former_configurations_is_kept(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> None:
    config = configuration(provider)
    gateway = await Gateway(tmp_path, config).start()
    for number in range(12):
        config["models"]["providers"]["local"]["apiKey"] = f"key-{number}"
        config["agents"]["list"][1]["name"] = f"Beta {number}"
        (tmp_path / "moltbot.json").write_text(json.dumps(config))
        before = gateway.agents.setup
        gateway.reload()
        await until(lambda before=before: gateway.agents.setup is not before)
        provider.scripts += [said("hello")]
        assert (await post(gateway, ask("hi"))).status == 200
    del before
    await until(lambda: gateway.log.count("the configuration was reloaded") == 12)
    await gateway.when_idle()
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, AgentSetup)]
    # The first one may have been frozen with all that was there at the start.
    assert len(kept) <= 2
    keys = [request.headers["authorization"] for request in provider.requests]
    assert keys == [f"Bearer key-{number}" for number in range(12)]
    await gateway.stop()


@socket_test
async def test_run_keeps_the_provider_that_it_began_with(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> None:
    config = configuration(provider)
    gateway = await Gateway(tmp_path, config).start()
    go_on: Deferred[None] = Deferred()
    words = [delta("one "), go_on, delta("two"), finish(), DONE]
    provider.scripts.append([*streamed(*words), END_OF_CHUNKS])
    client = await send(gateway, ask("hi", stream=True))
    await until(lambda: b"one " in client.received)
    del config["models"]["providers"]["local"]
    for agent in config["agents"]["list"]:
        agent["model"] = "echo/echo"
    (tmp_path / "moltbot.json").write_text(json.dumps(config))
    before = gateway.agents.setup
    gateway.reload()
    await until(lambda: gateway.agents.setup is not before)
    assert (await post(gateway, ask("echo this"))).json()["choices"][0]["message"][
        "content"
    ] == "echo this"
    go_on.callback(None)
    assert (await client.reply()).text() == "one two"
    await until(lambda: not provider.open_connections)
    await gateway.stop()
