"""How a command finds its gateway, and what it says when it does not."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

import pytest

from moltbot_gw.cli import reach as module
from moltbot_gw.cli.output import Failure
from moltbot_gw.cli.reach import Flags, Reach, find_reach
from moltbot_gw.cli.surroundings import Surroundings, find_surroundings
from moltbot_gw.config import Secret
from tests.cli.support import Cli
from tests.support.fake_gateway import FakeGateway

SECRET = "a-secret-of-the-configuration"


def _reach(cli: Cli, *, dev: bool = False, strict: bool = True, **flags: Any) -> Reach:
    surroundings = find_surroundings(profile=None, dev=dev)
    return find_reach(surroundings, Flags(**flags), strict=strict)


def _token(reach: Reach) -> str | None:
    token = reach.target.token
    return None if token is None else token.reveal()


def _password(reach: Reach) -> str | None:
    password = reach.target.password
    return None if password is None else password.reveal()


def test_nothing_configured_means_this_machine(alone: Cli) -> None:
    reach = _reach(alone)
    assert reach.url == "ws://127.0.0.1:18789"
    assert (reach.source, reach.bind) == ("local loopback", "loopback")
    assert (_token(reach), _password(reach)) == (None, None)


def test_the_environment_goes_before_the_configuration(alone: Cli) -> None:
    alone.configure(gateway={"port": 5, "auth": {"token": "t", "password": "p"}})
    assert (_token(_reach(alone)), _password(_reach(alone))) == ("t", "p")
    alone.setenv("CLAWDBOT_GATEWAY_TOKEN", " from-env ")
    alone.setenv("OPENCLAW_GATEWAY_PASSWORD", "pw-env")
    alone.setenv("CLAWDBOT_GATEWAY_PORT", "7")
    reach = _reach(alone)
    assert (_token(reach), _password(reach)) == ("from-env", "pw-env")
    assert reach.url == "ws://127.0.0.1:7"
    flags = {"token": Secret("flag"), "password": Secret("pw-flag")}
    reach = _reach(alone, **flags)
    assert (_token(reach), _password(reach)) == ("flag", "pw-flag")


@pytest.mark.parametrize("port", ["x", "0", "70000", "-1"])
def test_a_port_of_the_environment_that_is_none(alone: Cli, port: str) -> None:
    alone.setenv("CLAWDBOT_GATEWAY_PORT", port)
    with pytest.raises(Failure, match="not a port number"):
        _reach(alone)


def test_a_remote_gateway_gets_its_own_secrets(alone: Cli) -> None:
    remote = {"url": "wss://far:1", "token": "rt", "password": "rp"}
    remote["tlsFingerprint"] = "ab" * 32
    alone.configure(
        gateway={"mode": "remote", "remote": remote, "auth": {"token": "t"}}
    )
    alone.setenv("CLAWDBOT_GATEWAY_TOKEN", "env")
    reach = _reach(alone)
    assert (reach.url, reach.source) == ("wss://far:1", "config gateway.remote.url")
    assert (_token(reach), _password(reach)) == ("rt", "rp")
    assert reach.target.tls_fingerprint == "ab" * 32
    assert "Bind:" not in reach.block()


def test_remote_mode_without_a_url(alone: Cli) -> None:
    alone.configure(gateway={"mode": "remote"})
    with pytest.raises(Failure, match=r"gateway\.remote\.url missing") as caught:
        _reach(alone)
    assert f"Config: {alone.state}/moltbot.json" in caught.value.message


def test_a_strangers_url_gets_no_configured_secret(alone: Cli) -> None:
    alone.configure(gateway={"auth": {"token": SECRET, "password": SECRET}})
    reach = _reach(alone, url="wss://elsewhere:1")
    assert (_token(reach), _password(reach)) == (None, None)
    assert reach.target.device_token_file is None
    assert reach.target.tls_fingerprint is None
    alone.setenv("CLAWDBOT_GATEWAY_TOKEN", "meant")
    assert _token(_reach(alone, url="ws://elsewhere:1")) == "meant"


def test_remote_mode_tells_a_strangers_url_nothing(alone: Cli) -> None:
    remote = {"url": "ws://far:1", "token": SECRET}
    alone.configure(gateway={"mode": "remote", "remote": remote})
    assert _token(_reach(alone, url="ws://elsewhere:1")) is None
    assert _token(_reach(alone, url="ws://far:1")) == SECRET


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:9", "ws://localhost:9", "ws://[::1]:9", "unix:/run/gw"]
)
def test_a_url_on_this_machine_gets_the_secret(alone: Cli, url: str) -> None:
    alone.configure(gateway={"auth": {"token": SECRET}})
    reach = _reach(alone, url=url)
    assert _token(reach) == SECRET
    assert (reach.source, reach.bind) == ("cli --url", None)


def test_a_url_that_is_none(alone: Cli) -> None:
    with pytest.raises(Failure, match=r"must be ws://.* \(cli --url\)"):
        _reach(alone, url="http://h")


@pytest.mark.parametrize(
    ("gateway", "url", "source"),
    [
        ({"bind": "lan"}, "ws://127.0.0.1:18789", "local loopback"),
        ({"tls": {"enabled": True}}, "wss://127.0.0.1:18789", "local loopback"),
        (
            {"bind": "custom", "customBindHost": "::2"},
            "ws://[::2]:18789",
            "local ::2",
        ),
        ({"bind": "tailnet"}, "ws://100.64.0.9:18789", "local tailnet 100.64.0.9"),
    ],
)
def test_where_a_local_gateway_listens(
    alone: Cli,
    monkeypatch: pytest.MonkeyPatch,
    gateway: dict[str, Any],
    url: str,
    source: str,
) -> None:
    monkeypatch.setattr(module, "tailnet_address", lambda: "100.64.0.9")
    alone.configure(gateway=gateway)
    reach = _reach(alone)
    assert (reach.url, reach.source) == (url, source)


def test_tailnet_without_an_address_is_loopback(
    alone: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "tailnet_address", lambda: None)
    alone.configure(gateway={"bind": "tailnet"})
    assert _reach(alone).url == "ws://127.0.0.1:18789"


def test_the_own_certificate_is_pinned(alone: Cli) -> None:
    alone.configure(gateway={"tls": {"enabled": True}})
    assert _reach(alone).target.tls_fingerprint is None
    pem = (
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"
    )
    path = alone.state / "gateway" / "tls" / "gateway-cert.pem"
    path.parent.mkdir(parents=True)
    path.write_text(pem)
    first = pem[: pem.index("-----BEGIN", 9)].strip()
    wanted = sha256(PEM_cert_to_DER_cert(first)).hexdigest()
    assert _reach(alone).target.tls_fingerprint == wanted
    path.write_text("no certificate")
    assert _reach(alone).target.tls_fingerprint is None


def test_the_dev_mode_has_its_own_port_state_and_token(alone: Cli) -> None:
    state = alone.home / ".clawdbot-dev"
    assert _token(_reach(alone, dev=True)) is None
    state.mkdir()
    (state / "gateway.token").write_text("dev-token\n")
    reach = _reach(alone, dev=True)
    assert (reach.url, _token(reach)) == ("ws://127.0.0.1:19001", "dev-token")
    assert reach.target.device_token_file == state / "identity" / "device-auth.json"


@pytest.mark.parametrize(
    ("gateway", "variable", "port"),
    [
        ({"bind": "loopback"}, "", 19001),
        ({"port": 18789}, "", 19001),
        ({"port": 5000}, "", 5000),
        ({"port": 5000}, "6000", 6000),
    ],
)
def test_the_port_of_the_dev_mode_with_a_configuration(
    alone: Cli, gateway: dict[str, Any], variable: str, port: int
) -> None:
    state = alone.home / ".clawdbot-dev"
    state.mkdir()
    (state / "moltbot.json").write_text(json.dumps({"gateway": gateway}))
    alone.setenv("CLAWDBOT_GATEWAY_PORT", variable)
    assert _reach(alone, dev=True).url == f"ws://127.0.0.1:{port}"
    url = "ws://127.0.0.1:9"
    assert _reach(alone, dev=True, url=url).url == url
    (state / "gateway.token").write_bytes(b"\xff")
    assert _token(_reach(alone, dev=True)) is None


def test_a_broken_configuration_ends_strict_commands_only(alone: Cli) -> None:
    path = alone.configure(gateway={"port": "x"})
    with pytest.raises(Failure) as caught:
        _reach(alone)
    assert caught.value.message.startswith(f"Config invalid\nFile: {path}\nProblem:\n")
    assert "gateway.port" in caught.value.message
    assert _reach(alone, strict=False).url == "ws://127.0.0.1:18789"


def test_a_device_that_cannot_be_kept_is_done_without(alone: Cli) -> None:
    alone.state.mkdir()
    (alone.state / "identity").write_text("in the way")
    assert _reach(alone).target.identity is None


def test_the_device_does_not_move_the_state_folder(alone: Cli) -> None:
    folder = alone.home / ".moltbot"
    folder.mkdir()
    assert _reach(alone).target.identity is not None
    assert (folder / "identity" / "device.json").exists()
    assert find_surroundings(profile=None, dev=False).state == folder


def test_the_device_is_the_same_next_time(cli: Cli, fake: FakeGateway) -> None:
    fake.device_token = "device-token-of-32-characters-00"
    fake.replies["x"] = 1
    cli.succeed("gateway", "call", "x")
    cli.succeed("gateway", "call", "x")
    first, second = fake.connects
    assert first["device"]["id"] == second["device"]["id"]
    assert second["auth"]["token"] == "device-token-of-32-characters-00"
    folder = cli.state / "identity"
    modes = {p.name: p.stat().st_mode & 0o777 for p in (folder, *folder.iterdir())}
    assert modes == {
        "identity": 0o700,
        "device.json": 0o600,
        "device-auth.json": 0o600,
    }


# -- global options


def _profiled(name: str) -> Surroundings:
    return find_surroundings(profile=name, dev=False)


def test_a_profile_has_its_own_state(alone: Cli) -> None:
    found = _profiled("work")
    assert found.state == alone.home / ".clawdbot-work"
    assert found.load().path == alone.home / ".clawdbot-work" / "moltbot.json"
    assert found.environ["CLAWDBOT_PROFILE"] == "work"
    assert _profiled("default").state == alone.home / ".clawdbot"


def test_a_profile_does_not_move_what_the_environment_says(
    alone: Cli, tmp_path: Path
) -> None:
    alone.setenv("MOLTBOT_STATE_DIR", str(tmp_path / "s"))
    alone.setenv("CLAWDBOT_CONFIG_PATH", str(tmp_path / "c.json"))
    found = _profiled("work")
    assert found.state == tmp_path / "s"
    assert found.load().path == tmp_path / "c.json"
    assert find_surroundings(profile=None, dev=True).state == tmp_path / "s"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--dev", "--profile", "x"), "Cannot combine --dev with --profile\n"),
        (("--profile", " "), "--profile requires a value\n"),
        (("--profile", "a/b"), "Invalid --profile"),
    ],
)
def test_global_options_that_make_no_sense(
    alone: Cli, words: tuple[str, ...], error: str
) -> None:
    assert alone.fail(*words, "config", "path").startswith(error)


@pytest.mark.parametrize("kind", ["token", "password"])
def test_secret_in_a_file_is_found(alone: Cli, kind: str) -> None:
    path = alone.home / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    alone.configure(gateway={"auth": {f"{kind}File": "~/secret"}})
    target = _reach(alone).target
    assert getattr(target, kind).reveal() == SECRET


def test_secret_file_that_is_not_ours_is_told(
    alone: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    alone.configure(gateway={"auth": {"tokenFile": "/nonexistent/token"}})
    assert _token(_reach(alone)) is None
    assert "gateway.auth.tokenFile: /nonexistent/token" in capsys.readouterr().err
