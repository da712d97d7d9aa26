"""The options of the daemon and the service that it makes, without a process."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from twisted.application.service import IService

from moltbot_gw.building import build_gateway
from moltbot_gw.config import Secret
from moltbot_gw.settings import CommandLine, load_settings
from moltbot_gw.tap import Options, makeService
from tests.integration.gateway import TOKEN, Gateway, ask, configuration, post
from tests.integration.waiting import reactor, socket_test


def _options(*words: str) -> Options:
    options = Options()
    options.parseOptions(words)  # type: ignore[no-untyped-call]
    return options


@pytest.mark.parametrize(
    "words",
    [
        ("--port=70000",),
        ("--port=-1",),
        ("--port=http",),
        ("--bind=moon",),
        ("--auth=none",),
        ("--nonsense",),
        ("stray",),
    ],
)
def test_words_that_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        _options(*words)
    assert caught.value.code == 78


def test_words_that_are_taken() -> None:
    options = _options(
        "--dev", "-p", "0", "-b", "lan", "--token", TOKEN, "--endpoint=tcp:0"
    )
    assert (options["port"], options["bind"], options["dev"]) == (0, "lan", 1)
    assert options["endpoints"] == ["tcp:0"]
    assert TOKEN not in repr(options)
    assert options["token"].reveal() == TOKEN


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What ``makeService`` changes in the process is put back."""
    umask = os.umask(0o022)
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(os, "environ", {"PATH": "/bin", "HOME": str(tmp_path)})
    yield
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@socket_test
async def test_service_of_the_dev_mode(clean: None, process: None) -> None:
    service = makeService(_options("--dev", "--port=0"))
    assert IService.providedBy(service)
    service.privilegedStartService()
    service.startService()
    await service.stopService()


def test_refusal_ends_the_process(
    process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        makeService(_options("--port=0"))
    assert caught.value.code == 78
    assert capsys.readouterr().err.startswith("moltbot-gateway: ")


@socket_test
async def test_endpoint_in_use_ends_the_process(clean: None, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        options = CommandLine(token=Secret(TOKEN), endpoints=[endpoint])
        environ = {"MOLTBOT_STATE_DIR": str(tmp_path)}
        settings = load_settings(options, environ, tmp_path)
        service = build_gateway(settings, reactor, lambda: settings)
        with pytest.raises(SystemExit) as caught:
            service.privilegedStartService()
    assert caught.value.code == 78
    service.startService()
    await service.stopService()


@socket_test
async def test_anonymous_sessions_are_pruned(clean: None, tmp_path: Path) -> None:
    config = configuration(None, session={"anonymousRetention": "1ms"})
    gateway = await Gateway(tmp_path, config).start()
    await post(gateway, ask("hi"))
    await post(gateway, ask("hi", user="kim"))
    await gateway.prune()
    assert "pruned 1 anonymous sessions" in gateway.log
    await gateway.stop()


@socket_test
async def test_what_is_not_served_is_warned_of(clean: None, tmp_path: Path) -> None:
    config = configuration(None)
    config["models"] = {
        "providers": {
            "gemini": {
                "baseUrl": "https://generativelanguage.googleapis.com",
                "api": "google-generative-ai",
                "models": [],
            }
        }
    }
    config["agents"]["list"][0]["model"] = "gemini/pro"
    config["agents"]["list"][1]["model"] = "echo/echo"
    gateway = await Gateway(tmp_path, config).start()
    reply = await post(gateway, ask("hi"))
    assert (reply.status, reply.json()["error"]["code"]) == (502, "provider_error")
    log = "\n".join(gateway.log)
    assert "google-generative-ai is not served yet" in log
    assert "agent main cannot run" in log
    await gateway.stop()


@pytest.mark.parametrize(
    "session",
    [
        {"idleMinutes": 60},
        {"reset": {"mode": "idle", "idleMinutes": 60}},
        {"resetByType": {"dm": {"mode": "idle", "idleMinutes": 60}}},
        {"resetByChannel": {"webchat": {"mode": "idle", "idleMinutes": 60}}},
    ],
)
@socket_test
async def test_session_goes_on_while_it_is_fresh(
    clean: None, tmp_path: Path, session: dict[str, object]
) -> None:
    gateway = await Gateway(tmp_path, configuration(None, session=session)).start()
    first = await post(gateway, ask("hello", user="kim"))
    second = await post(gateway, ask("hello", user="kim"))
    tokens = [r.json()["usage"]["prompt_tokens"] for r in (first, second)]
    assert tokens[1] > tokens[0]
    await gateway.stop()
