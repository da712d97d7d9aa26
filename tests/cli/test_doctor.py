"""``moltbot doctor``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import async_yield_fixture
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from moltbot_gw.cli.checks_network import check_providers
from moltbot_gw.config import ProviderEntry
from tests.cli.support import Cli, wait_for
from tests.integration.waiting import reactor
from tests.support.fake_gateway import TOKEN, Asked, Failure, FakeGateway
from tests.support.tls import Authority


def _provider(base_url: str) -> dict[str, Any]:
    entry = {"baseUrl": base_url, "apiKey": "sk-0123456789", "models": []}
    return {"providers": {"local": {**entry, "api": "openai-completions"}}}


def _found(cli: Cli, *words: str) -> dict[str, list[dict[str, str]]]:
    """Return the findings of the doctor by their check."""
    result = cli.run("doctor", "--json", *words)
    page = json.loads(result.stdout)
    wrong = [one for one in page["findings"] if one["level"] == "wrong"]
    assert page["ok"] is (not wrong)
    assert result.exit_code == (1 if wrong else 0)
    assert TOKEN not in result.output
    assert all("fix" in one for one in wrong)
    found: dict[str, list[dict[str, str]]] = {}
    for one in page["findings"]:
        found.setdefault(one["check"], []).append(one)
    return found


@pytest.fixture
def well(cli: Cli, fake: FakeGateway) -> Cli:
    """A machine where nothing is wrong."""
    fake.replies["status"] = {}
    return cli


def test_nothing_is_wrong(well: Cli) -> None:
    text = well.succeed("doctor")
    assert "[ok] config: " in text
    assert "[ok] state: " in text
    assert "[ok] secret: the token is configured" in text
    assert "[ok] gateway: " in text
    assert "[!!]" not in text


def test_what_is_wrong_comes_with_its_fix(well: Cli) -> None:
    result = well.run("doctor", "--token", "short")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    at = lines.index("[!!] secret: the token is shorter than 16 characters")
    assert lines[at + 1].startswith("     Fix: choose a longer random token")
    assert result.stderr == "2 things to mend.\n"


def test_a_broken_configuration(alone: Cli, clean: None) -> None:
    alone.configure(gateway={"port": "x"})
    [finding] = _found(alone, "--offline")["config"]
    assert "gateway.port" in finding["message"]


def test_a_broken_configuration_does_not_hide_the_gateway(
    alone: Cli, clean: None
) -> None:
    alone.configure(gateway={"port": "x"})
    alone.setenv("CLAWDBOT_GATEWAY_PORT", "1")
    assert _found(alone)["gateway"][0]["fix"] == "moltbot gateway run"


def test_a_configuration_that_leads_nowhere(alone: Cli) -> None:
    alone.configure(gateway={"mode": "remote"})
    [finding] = _found(alone)["gateway"]
    assert "gateway.remote.url missing" in finding["message"]


def test_parts_without_effect_are_noted(well: Cli, fake: FakeGateway) -> None:
    well.use(fake, tailscale={"mode": "off"})
    ok, note = _found(well)["config"]
    assert (ok["level"], note["level"]) == ("ok", "note")


def test_a_machine_without_anything(alone: Cli) -> None:
    found = _found(alone, "--offline")
    assert "no file at" in found["config"][0]["message"]
    assert found["state"][0]["level"] == "note"
    assert found["secret"][0]["message"] == "no token and no password is configured"


@pytest.mark.parametrize("name", ["moltbot.json", ".env", "identity/device.json"])
def test_files_that_others_can_read(well: Cli, name: str) -> None:
    well.succeed("doctor")
    path = well.state / name
    path.touch()
    path.chmod(0o644)
    [finding] = _found(well)["permissions"]
    assert finding["message"] == f"{path} has mode 0644: others can get at it"
    assert finding["fix"] == f"chmod 600 {path}"


def test_folders_that_others_can_enter(well: Cli) -> None:
    well.state.chmod(0o755)
    [finding] = _found(well)["permissions"]
    assert finding["fix"] == f"chmod 700 {well.state}"


@pytest.mark.parametrize("made", [True, False])
def test_the_device_of_the_machine_is_looked_at_in_the_dev_mode_too(
    alone: Cli, made: bool
) -> None:
    if made:
        (alone.home / ".clawdbot-dev").mkdir(mode=0o700)
    alone.state.mkdir(mode=0o700)
    alone.run("--dev", "doctor", "--offline")
    path = alone.state / "identity" / "device.json"
    path.chmod(0o640)
    result = alone.run("--dev", "doctor", "--offline")
    assert f"{path} has mode 0640: others can get at it" in result.stdout
    assert f"Fix: chmod 600 {path}" in result.stdout


def test_a_broken_link_is_no_file_of_ours(well: Cli) -> None:
    (well.state / "link").symlink_to(well.home / "nowhere")
    assert "permissions" not in _found(well)


def test_a_state_folder_that_cannot_be_written(
    well: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    [finding] = _found(well)["state"]
    assert "No space left on device" in finding["message"]


def test_a_configured_file_that_has_gone(
    well: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import moltbot_gw.cli.checks as module

    gone = well.home / "gone"
    monkeypatch.setattr(module, "_private_paths", lambda *_: [(gone, 0o600)])
    assert "permissions" not in _found(well)


# -- the gateway


def test_a_gateway_that_does_not_run(alone: Cli, clean: None) -> None:
    alone.configure(gateway={"port": 1, "auth": {"token": TOKEN}})
    [finding] = _found(alone)["gateway"]
    assert finding["fix"] == "moltbot gateway run"


def test_a_gateway_with_another_secret(well: Cli, fake: FakeGateway) -> None:
    fake.tokens = set()
    [finding] = _found(well)["gateway"]
    assert "does not let us in: unauthorized" in finding["message"]
    assert "CLAWDBOT_GATEWAY_TOKEN" in finding["fix"]


@pytest.mark.parametrize(
    ("code", "fix"),
    [("NOT_PAIRED", "moltbot devices approve"), ("INVALID_REQUEST", "moltbot logs")],
)
def test_a_gateway_that_refuses(
    well: Cli, fake: FakeGateway, code: str, fix: str
) -> None:
    def refuse(asked: Asked) -> None:
        asked.answer(Failure(code, "no"))
        asked.peer.end(1008, "no")

    fake.greeting = refuse
    [finding] = _found(well)["gateway"]
    assert fix in finding["fix"]


def test_a_gateway_that_cannot_say_its_status(well: Cli, fake: FakeGateway) -> None:
    fake.replies["status"] = Failure("UNAVAILABLE", "store is broken")
    [finding] = _found(well)["gateway"]
    assert finding["message"].endswith("could not say its status: store is broken")


class _Http(Protocol):
    """Answers anything with what its factory says."""

    factory: Any

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard += data
        self.transport.write(self.factory.answer)
        self.transport.loseConnection()


async def _server(clean: None) -> AsyncIterator[Any]:
    factory: Any = Factory.forProtocol(_Http)
    factory.noisy = False
    factory.heard = b""
    factory.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    factory.port = port.getHost().port
    yield factory
    await port.stopListening()


server = async_yield_fixture(name="server")(_server)


def test_a_port_that_somebody_else_has(alone: Cli, server: Any) -> None:
    alone.configure(gateway={"port": server.port, "auth": {"token": TOKEN}})
    [finding] = _found(alone)["port"]
    assert "is taken by something that is no gateway" in finding["message"]


def test_words_that_travel_in_the_clear(alone: Cli, clean: None) -> None:
    remote = {"url": "ws://far.example:1", "token": TOKEN}
    alone.configure(gateway={"mode": "remote", "remote": remote})
    [finding] = _found(alone, "--offline")["transport"]
    assert (finding["level"], "tls" in finding["fix"]) == ("note", True)


# -- models


def _models_found(cli: Cli) -> list[dict[str, str]]:
    return _found(cli, "--offline")["models"]


def test_models_that_have_providers(alone: Cli) -> None:
    alone.configure(gateway={"auth": {"token": TOKEN}})
    assert [one["level"] for one in _models_found(alone)] == ["ok"]


def test_agents_whose_models_have_no_provider(alone: Cli) -> None:
    models = _provider("http://127.0.0.1:1/v1")
    models["providers"]["local"]["models"] = [{"id": "m1", "name": "One"}]
    agents = [
        {"id": "main"},
        {"id": "b", "model": "other/m1"},
        {"id": "c", "model": {"primary": "other/m2"}},
        {"id": "d", "model": "local/m1"},
    ]
    defaults = {"model": {"primary": "gone/m1"}}
    alone.configure(models=models, agents={"defaults": defaults, "list": agents})
    assert [(one["message"], one["fix"]) for one in _models_found(alone)] == [
        (
            f"agent {agent} cannot run: its model is {model}, and there is no"
            f" models.providers.{model.partition('/')[0]}",
            f"add it, or choose another: moltbot config set {path} local/m1",
        )
        for agent, model, path in (
            ("main", "gone/m1", "agents.defaults.model.primary"),
            ("b", "other/m1", "agents.list[1].model"),
            ("c", "other/m2", "agents.list[2].model.primary"),
        )
    ]


def test_a_model_whose_api_is_not_served(alone: Cli) -> None:
    models = _provider("http://127.0.0.1:1/v1")
    models["providers"]["local"]["api"] = "bedrock-converse-stream"
    defaults = {"model": {"primary": "local/m1"}}
    alone.configure(models=models, agents={"defaults": defaults})
    [finding] = _models_found(alone)
    assert "models.providers.local.api is not served" in finding["message"]
    assert finding["fix"].startswith("change it, or choose another: ")
    assert finding["fix"].endswith("agents.defaults.model.primary PROVIDER/MODEL")


def test_the_agents_of_another_machine_are_its_own_business(alone: Cli) -> None:
    defaults = {"model": {"primary": "gone/m1"}}
    remote = {"url": "ws://127.0.0.1:1", "token": TOKEN}
    alone.configure(
        gateway={"mode": "remote", "remote": remote}, agents={"defaults": defaults}
    )
    assert [one["level"] for one in _models_found(alone)] == ["ok"]


# -- tools


@pytest.mark.parametrize(
    ("tools", "own", "settings"),
    [
        ({}, {}, None),
        ({"exec": {"security": "full"}}, {}, None),
        ({"profile": "coding"}, {}, None),
        ({"profile": "coding", "exec": {"security": "allowlist"}}, {}, None),
        (
            {"profile": "coding", "exec": {"security": "full"}},
            {},
            ("tools.profile = coding", "tools.exec.security"),
        ),
        (
            {"exec": {"security": "full"}},
            {"allow": ["exec"]},
            ("agents.list[a].tools.allow", "tools.exec.security"),
        ),
        (
            {"profile": "full"},
            {"exec": {"security": "full"}},
            ("tools.profile = full", "agents.list[a].tools.exec.security"),
        ),
        (
            {"profile": "full", "exec": {"security": "full"}},
            {"exec": {"security": "deny"}},
            None,
        ),
    ],
)
def test_agents_that_may_run_any_command(
    alone: Cli, tools: object, own: object, settings: tuple[str, str] | None
) -> None:
    alone.configure(
        gateway={"auth": {"token": TOKEN}},
        tools=tools,
        agents={"list": [{"id": "a", "tools": own}]},
    )
    found = _found(alone, "--offline").get("tools", [])
    assert found == ([] if settings is None else [_may_run("a", *settings)])


def _may_run(agent: str, stage: str, setting: str) -> dict[str, str]:
    return {
        "check": "tools",
        "level": "note",
        "message": f"agent {agent} may run any command on this machine: exec is in"
        f" {stage}, and {setting} is full",
        "fix": f'set {setting} to "allowlist", unless it is meant so',
    }


def test_the_commands_of_another_machine_are_its_own_business(alone: Cli) -> None:
    alone.configure(
        gateway={
            "mode": "remote",
            "remote": {"url": "ws://127.0.0.1:1", "token": TOKEN},
        },
        tools={"profile": "full", "exec": {"security": "full"}},
    )
    assert "tools" not in _found(alone, "--offline")


def test_lists_of_tools_that_mean_nothing_are_noted(alone: Cli) -> None:
    alone.configure(tools={"allow": ["exce"]})
    notes = [one["message"] for one in _found(alone, "--offline")["config"][1:]]
    assert [note.split('"')[1] for note in notes] == ["tools.allow.0", "tools.allow"]


# -- providers


@pytest.fixture
def knocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knock without stopping the reactor, which serves who is knocked at."""
    from twisted.internet.threads import deferToThread

    import moltbot_gw.cli.doctor as module
    from tests.cli.support import wait_for

    check = module.check_providers
    monkeypatch.setattr(
        module, "check_providers", lambda *args: wait_for(deferToThread(check, *args))
    )


def test_a_provider_that_answers_anything_is_there(
    well: Cli, fake: FakeGateway, server: Any, knocked: None
) -> None:
    gateway = {"port": fake.port, "auth": {"token": TOKEN}}
    models = _provider(f"http://127.0.0.1:{server.port}/v1")
    well.configure(gateway=gateway, models=models)
    [finding] = _found(well)["provider"]
    assert finding["level"] == "ok"
    assert finding["message"].endswith("answers (HTTP 404)")
    assert server.heard.startswith(b"GET /v1 HTTP/1.1\r\n")
    assert b"sk-0123456789" not in server.heard
    assert b"uthorization" not in server.heard


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/v1", "connection refused"),
        ("https://127.0.0.1:{port}/v1", "wrong version number"),
    ],
)
def test_a_provider_that_does_not_answer(
    well: Cli, fake: FakeGateway, server: Any, knocked: None, url: str, why: str
) -> None:
    gateway = {"port": fake.port, "auth": {"token": TOKEN}}
    models = _provider(url.format(port=server.port))
    well.configure(gateway=gateway, models=models)
    [finding] = _found(well)["provider"]
    assert why in finding["message"].lower()
    assert "models.providers.local.baseUrl" in finding["fix"]


def test_a_provider_that_speaks_no_http(
    well: Cli, fake: FakeGateway, server: Any, knocked: None
) -> None:
    server.answer = b"SSH-2.0-x\r\n"
    gateway = {"port": fake.port, "auth": {"token": TOKEN}}
    models = _provider(f"http://127.0.0.1:{server.port}/v1")
    well.configure(gateway=gateway, models=models)
    [finding] = _found(well)["provider"]
    assert finding["level"] == "wrong"


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
def test_a_provider_that_nobody_vouches_for(tmp_path: Path, clean: None) -> None:
    factory = Factory.forProtocol(_Http)
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    tls = Authority(tmp_path).server_options("127.0.0.1")
    port = wait_for(wrapServerTLS(tls, endpoint).listen(factory))
    entry = ProviderEntry(
        base_url=f"https://127.0.0.1:{port.getHost().port}/v1", models=()
    )
    [finding] = wait_for(deferToThread(check_providers, {"p": entry}))
    wait_for(port.stopListening())
    assert "certificate not trusted" in finding.message


def test_a_provider_whose_address_is_none() -> None:
    [finding] = check_providers({"p": ProviderEntry(base_url="ftp://h", models=())})
    assert "no http address" in finding.message


def test_nobody_is_knocked_at_offline(
    well: Cli, fake: FakeGateway, server: Any, tmp_path: Path
) -> None:
    models = _provider(f"http://127.0.0.1:{server.port}/v1")
    well.configure(gateway={"port": 1, "auth": {"token": TOKEN}}, models=models)
    found = _found(well, "--offline")
    assert "provider" not in found
    assert "gateway" not in found
