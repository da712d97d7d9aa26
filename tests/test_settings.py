from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config import Secret
from moltbot_gw.refusal import StartRefused
from moltbot_gw.settings import (
    DEV_FOLDER,
    DEV_PORT,
    DEV_TOKEN_FILE,
    CommandLine,
    Settings,
    load_settings,
    weakness_of,
)
from tests.config.support import write

TOKEN = {"CLAWDBOT_GATEWAY_TOKEN": "environment-token"}


def settings_of(
    home: Path,
    tree: Any = None,
    environ: Mapping[str, str] = TOKEN,
    **options: Any,
) -> Settings:
    """Load the settings of a home with *tree* as its configuration, if any."""
    if tree is not None:
        write(home, tree, ".clawdbot/moltbot.json")
    return load_settings(CommandLine(**options), environ, home)


def refusal(home: Path, tree: Any = None, **rest: Any) -> str:
    with pytest.raises(StartRefused) as caught:
        settings_of(home, tree, **rest)
    return str(caught.value)


def auth(**fields: str) -> dict[str, Any]:
    return {"gateway": {"auth": fields}}


def chosen(home: Path, tree: Any = None, **rest: Any) -> tuple[str, str]:
    settings = settings_of(home, tree, **rest)
    assert settings.token_file is None
    return settings.secret_name, settings.secret.reveal()


def test_defaults(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert (settings.port, settings.bind, settings.dev) == (18789, "loopback", False)
    assert (settings.enabled, settings.endpoints) == (False, ())
    assert (settings.home, settings.state) == (tmp_path, tmp_path / ".clawdbot")
    assert settings.environ["CLAWDBOT_GATEWAY_TOKEN"] == "environment-token"


def test_settings_do_not_show_what_is_secret(tmp_path: Path) -> None:
    assert "environment-token" not in repr(settings_of(tmp_path))


def test_configured_values_are_used(tmp_path: Path) -> None:
    endpoints = {"chatCompletions": {"enabled": True}}
    gateway = {"port": 5000, "bind": "lan", "http": {"endpoints": endpoints}}
    settings = settings_of(tmp_path, {"gateway": gateway})
    assert (settings.port, settings.bind, settings.enabled) == (5000, "lan", True)


def test_command_line_beats_the_file(tmp_path: Path) -> None:
    tree = {"gateway": {"port": 5000, "bind": "lan"}}
    settings = settings_of(
        tmp_path, tree, port=0, bind="loopback", endpoints=["tcp:80"]
    )
    assert (settings.port, settings.bind, settings.endpoints) == (
        0,
        "loopback",
        ("tcp:80",),
    )


def test_named_file_is_read_instead_of_the_usual_one(tmp_path: Path) -> None:
    path = write(tmp_path, {"gateway": {"port": 6000}}, "other.json")
    tree = {"gateway": {"port": 5000}}
    assert settings_of(tmp_path, tree, config=str(path)).port == 6000


def test_notices_of_the_file_are_kept(tmp_path: Path) -> None:
    assert settings_of(tmp_path, {"channels": {"telegram": {}}}).notices


@pytest.mark.parametrize(
    ("tree", "options", "environ", "port"),
    [
        ({"gateway": {"port": 5000}}, {}, {"CLAWDBOT_GATEWAY_PORT": " 6000 "}, 6000),
        ({"gateway": {"port": 5000}}, {}, {"CLAWDBOT_GATEWAY_PORT": " "}, 5000),
        (None, {"port": 7000}, {"CLAWDBOT_GATEWAY_PORT": "6000"}, 7000),
        (None, {"port": 7000}, {"CLAWDBOT_GATEWAY_PORT": "bad"}, 7000),
        (None, {"dev": True}, {"CLAWDBOT_GATEWAY_PORT": "6000"}, 6000),
        (None, {"dev": True}, {}, DEV_PORT),
        ({"gateway": {"bind": "loopback"}}, {"dev": True}, {}, DEV_PORT),
        ({"gateway": {"port": 5000}}, {"dev": True}, {}, 5000),
        ({"gateway": {"port": 5000}}, {"dev": True, "port": 7000}, {}, 7000),
        (None, {}, {}, 18789),
    ],
)
def test_port_comes_from_options_environment_file_in_this_order(
    tmp_path: Path, tree: Any, options: Any, environ: Any, port: int
) -> None:
    settings = settings_of(tmp_path, tree, {**TOKEN, **environ}, **options)
    assert settings.port == port


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1", "80.0", "9" * 5000, "²"])
def test_bad_port_in_the_environment_is_refused(tmp_path: Path, text: str) -> None:
    environ = {**TOKEN, "CLAWDBOT_GATEWAY_PORT": text}
    message = refusal(tmp_path, environ=environ)
    assert message == "CLAWDBOT_GATEWAY_PORT is not a port number"


def test_remote_mode_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"gateway": {"mode": "remote"}})
    assert message.startswith('gateway.mode is "remote"')


def test_local_mode_is_accepted(tmp_path: Path) -> None:
    assert settings_of(tmp_path, {"gateway": {"mode": "local"}}).port == 18789


def test_bad_file_is_refused_with_its_issues(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"gateway": {"port": "x"}})
    assert "gateway.port" in message


def test_named_file_must_exist(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path, config=str(tmp_path / "none"))


ORDER = [
    "CLAWDBOT_GATEWAY_{}",
    "MOLTBOT_GATEWAY_{}",
    "OPENCLAW_GATEWAY_{}",
]


@pytest.mark.parametrize("kind", ["token", "password"])
@pytest.mark.parametrize("rank", range(3))
def test_variables_of_the_three_names_have_an_order(
    tmp_path: Path, kind: str, rank: int
) -> None:
    names = [name.format(kind.upper()) for name in ORDER]
    environ = {name: f"from {name}" for name in names[rank:]}
    environ |= dict.fromkeys(names[:rank], " ")
    found = chosen(tmp_path, environ=environ, auth=kind)
    assert found == (kind, f"from {names[rank]}")


@pytest.mark.parametrize("kind", ["token", "password"])
def test_file_beats_the_environment(tmp_path: Path, kind: str) -> None:
    environ = {f"CLAWDBOT_GATEWAY_{kind.upper()}": "environment"}
    found = chosen(tmp_path, auth(**{kind: "file"}), environ=environ)
    assert found == (kind, "file")


@pytest.mark.parametrize("kind", ["token", "password"])
def test_options_beat_the_file(tmp_path: Path, kind: str) -> None:
    tree = auth(**{kind: "file", "mode": kind})
    assert chosen(tmp_path, tree, **{kind: Secret("option")}) == (kind, "option")


@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_secret_counts_as_not_given(tmp_path: Path, blank: str) -> None:
    found = chosen(tmp_path, auth(token=blank), token=Secret(blank))
    assert found == ("token", "environment-token")


@pytest.mark.parametrize(
    ("fields", "options", "found"),
    [
        ({"token": "t", "password": "p"}, {}, ("password", "p")),
        ({"token": "t", "password": "p", "mode": "token"}, {}, ("token", "t")),
        ({"token": "t"}, {}, ("token", "t")),
        ({"password": "p"}, {"token": Secret("t")}, ("token", "t")),
        ({"token": "t"}, {"password": Secret("p")}, ("password", "p")),
        ({"token": "t", "password": "p"}, {"auth": "token"}, ("token", "t")),
        (
            {"token": "t", "password": "p", "mode": "token"},
            {"auth": "password"},
            ("password", "p"),
        ),
    ],
)
def test_mode_is_said_or_follows_from_the_secrets(
    tmp_path: Path, fields: Any, options: Any, found: tuple[str, str]
) -> None:
    assert chosen(tmp_path, auth(**fields), environ={}, **options) == found


@pytest.mark.parametrize(
    ("mode", "variable"),
    [("token", "CLAWDBOT_GATEWAY_TOKEN"), ("password", "CLAWDBOT_GATEWAY_PASSWORD")],
)
def test_mode_without_its_secret_is_refused(
    tmp_path: Path, mode: str, variable: str
) -> None:
    assert refusal(tmp_path, auth(mode=mode), environ={}) == (
        f"gateway auth mode is {mode}, but no {mode} was configured"
        f" (set gateway.auth.{mode} or {variable})"
    )


@pytest.mark.parametrize("secret", [" padded", "padded ", "two\nlines", "nul\x00"])
def test_secret_that_no_header_can_carry_is_refused(
    tmp_path: Path, secret: str
) -> None:
    message = refusal(tmp_path, token=Secret(secret))
    assert message == "the token has blanks around it or unprintable characters"


def test_weakness_names_the_kind_of_secret(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, password=Secret("short"))
    assert weakness_of(settings) == "the password is shorter than 16 characters"
    assert weakness_of(settings_of(tmp_path)) is None


def dev(home: Path, **rest: Any) -> Settings:
    return settings_of(home, environ={}, dev=True, **rest)


def test_dev_mode_keeps_to_its_own_state_and_is_enabled(tmp_path: Path) -> None:
    settings = dev(tmp_path)
    assert settings.state == tmp_path / DEV_FOLDER
    assert (settings.enabled, settings.dev, settings.port) == (True, True, DEV_PORT)


def test_dev_mode_uses_a_state_folder_that_is_given(tmp_path: Path) -> None:
    environ = {"CLAWDBOT_STATE_DIR": str(tmp_path / "mine")}
    settings = settings_of(tmp_path, environ=environ, dev=True)
    assert settings.state == tmp_path / "mine"


def test_dev_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first, second = dev(tmp_path), dev(tmp_path)
    path = tmp_path / DEV_FOLDER / DEV_TOKEN_FILE
    assert first.token_file == second.token_file == path
    assert first.secret == second.secret == Secret(path.read_text().strip())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert weakness_of(first) is None


def test_empty_token_file_is_filled_and_closed_to_others(tmp_path: Path) -> None:
    path = write(tmp_path, "", f"{DEV_FOLDER}/{DEV_TOKEN_FILE}")
    path.chmod(0o644)
    assert dev(tmp_path).secret == Secret(path.read_text().strip())
    assert path.stat().st_mode & 0o777 == 0o600


def test_dev_mode_takes_a_secret_that_is_given(tmp_path: Path) -> None:
    settings = dev(tmp_path, token=Secret("mine"))
    assert (settings.secret.reveal(), settings.token_file) == ("mine", None)
    assert not (tmp_path / DEV_FOLDER).exists()


@pytest.mark.parametrize("content", [b"\xff\xff", None])
def test_unreadable_dev_token_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / DEV_FOLDER / DEV_TOKEN_FILE
    if content is None:
        path.mkdir(parents=True)
    else:
        write(tmp_path, content, f"{DEV_FOLDER}/{DEV_TOKEN_FILE}")
    with pytest.raises(StartRefused, match="cannot keep the token"):
        dev(tmp_path)


@pytest.mark.parametrize("kind", ["token", "password"])
def test_secret_can_lie_in_a_file(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, "kept-in-a-file\n", "secret.txt")
    path.chmod(0o600)
    tree = auth(mode=kind, **{f"{kind}File": "~/secret.txt"})
    assert chosen(tmp_path, tree) == (kind, "kept-in-a-file")
    path.chmod(0o644)
    message = refusal(tmp_path, tree)
    assert message.startswith(f"gateway.auth.{kind}File: {path} is open to others")


@pytest.mark.parametrize("kind", ["token", "password"])
def test_secret_stands_in_one_place_only(tmp_path: Path, kind: str) -> None:
    tree = auth(**{kind: "x", f"{kind}File": "/x"})
    message = refusal(tmp_path, tree)
    assert f"gateway.auth.{kind}File: cannot be set beside {kind}" in message


@pytest.mark.parametrize("kind", ["token", "password"])
def test_credential_is_the_secret_where_there_is_no_other(
    tmp_path: Path, kind: str
) -> None:
    write(tmp_path, "handed-over\n", f"credentials/gateway-{kind}")
    folder = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert chosen(tmp_path, auth(mode=kind), environ=folder) == (kind, "handed-over")
    name = f"OPENCLAW_GATEWAY_{kind.upper()}"
    environ = {**folder, name: "environment"}
    assert chosen(tmp_path, auth(mode=kind), environ=environ)[1] == "environment"


def test_configuration_can_use_credentials(tmp_path: Path) -> None:
    write(tmp_path, "handed-over\n", "credentials/MY_TOKEN")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    tree = auth(token="${MY_TOKEN}")
    assert chosen(tmp_path, tree, environ=environ) == ("token", "handed-over")
