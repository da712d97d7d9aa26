"""``moltbot gateway install``: services that the tools of init systems accept."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.cli.plans import File
from moltbot_gw.cli.units import Service, Unfit, service_unit
from tests.cli.support import Cli
from tests.support.daemon import TWISTD

UNITS = Path("etc/systemd/system")
SERVICE = "moltbot-gateway.service"
ODD = "100%d $HOME 'odd' \"odd\" \\t"
"""A name with all that unit files give a meaning to."""
ODD_PROGRAM = "100%d $HOME; odd"
"""The same without what systemd allows in no program's name."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


def analyze(*words: str, **environ: str) -> str:
    """Run systemd-analyze, which must find nothing; return its output."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *words],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr + done.stdout
    return done.stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The machine's root folder, as far as the command knows."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this Python lie in a folder with an odd name."""
    folder = tmp_path / ODD_PROGRAM
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    (folder / "twistd").symlink_to(TWISTD)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def install(cli: Cli, root: Path, *words: str) -> str:
    return cli.succeed("gateway", "install", "--root", str(root), *words)


def settings(unit: str) -> list[str]:
    """Return the lines of a unit that are not comments."""
    return [line for line in unit.splitlines() if line and not line.startswith("#")]


# -- systemd


@needs_systemd
@pytest.mark.parametrize("socket", [[], ["--socket"]])
def test_systemd_finds_nothing_wrong(
    alone: Cli, root: Path, odd: Path, socket: list[str]
) -> None:
    install(alone, root, "--system", "--config", f"/etc/{ODD}.json", *socket)
    analyze("verify", *map(str, sorted((root / UNITS).iterdir())))


@needs_systemd
def test_program_that_is_missing_is_noticed_so_the_check_has_teeth(
    alone: Cli, root: Path, odd: Path
) -> None:
    install(alone, root, "--system")
    (odd / "python").unlink()
    with pytest.raises(AssertionError, match="not executable"):
        analyze("verify", str(root / UNITS / SERVICE))


@needs_systemd
def test_exposure_of_the_systems_service_is_small(alone: Cli, root: Path) -> None:
    install(alone, root, "--system")
    path = str(root / UNITS / SERVICE)
    shown = analyze("security", "--offline=true", "--threshold=20", path)
    assert "Overall exposure level" in shown


@needs_systemd
def test_systemd_finds_nothing_wrong_with_a_users_service(
    alone: Cli, root: Path, odd: Path
) -> None:
    alone.setenv("XDG_CONFIG_HOME", "/xdg")
    install(alone, root, "--user", "--socket", "--token", "t" * 32)
    units = sorted(map(str, (root / "xdg/systemd/user").iterdir()))
    assert len(units) == 2
    analyze("--user", "verify", *units, XDG_RUNTIME_DIR=str(root))


def test_service_of_the_system(alone: Cli, root: Path) -> None:
    alone.configure(gateway={"port": 5})  # of whoever installs, not of the service
    shown = install(alone, root, "--system", "--port", "1234")
    unit = (root / UNITS / SERVICE).read_text()
    assert {
        "Type=notify",
        "DynamicUser=yes",
        "StateDirectory=moltbot-gateway",
        'Environment="MOLTBOT_STATE_DIR=/var/lib/moltbot-gateway"',
        "RestartPreventExitStatus=78",
        "Restart=on-failure",
        "TimeoutStopSec=90",
        "LoadCredential=gateway-token:/etc/moltbot-gateway/gateway-token",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "WantedBy=multi-user.target",
    } <= set(settings(unit))
    (command,) = [x for x in settings(unit) if x.startswith("ExecStart=")]
    assert command.endswith('"-n" "--pidfile=" "moltbot-gateway" "--port=1234"')
    assert "systemctl enable --now moltbot-gateway.service" in shown


def test_token_is_made_once_and_is_for_its_owner_only(alone: Cli, root: Path) -> None:
    path = root / "etc/moltbot-gateway/gateway-token"
    shown = install(alone, root, "--system")
    token = path.read_text().strip()
    assert len(token) >= 32
    assert token not in shown + (root / UNITS / SERVICE).read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    install(alone, root, "--system")
    assert path.read_text().strip() == token


def test_given_token_stands_in_its_file_only(alone: Cli, root: Path) -> None:
    install(alone, root, "--user", "--token", "a-token-of-mine")
    state = root / alone.state.relative_to("/")
    assert (state / "gateway-token").read_text() == "a-token-of-mine\n"
    folder = root / alone.home.relative_to("/") / ".config/systemd/user"
    unit = (folder / SERVICE).read_text()
    assert "a-token-of-mine" not in unit
    assert f"LoadCredential=gateway-token:{alone.state}/gateway-token" in unit


def test_users_service_has_the_users_surroundings(alone: Cli, root: Path) -> None:
    alone.configure(gateway={"drainSeconds": 100})
    alone.setenv("CLAWDBOT_STATE_DIR", str(alone.state))
    unit = alone.succeed("gateway", "install", "--user", "--print")
    assert f'Environment="CLAWDBOT_STATE_DIR={alone.state}"' in unit
    assert "TimeoutStopSec=160" in unit
    assert "WantedBy=default.target" in unit
    assert "LoadCredential" not in unit.replace("# ", "")
    assert list(root.iterdir()) == []


def test_profile_has_a_service_of_its_own(alone: Cli, root: Path) -> None:
    alone.succeed(
        "--profile", "work", "gateway", "install", "--system", "--root", str(root)
    )
    unit = (root / UNITS / "moltbot-gateway-work.service").read_text()
    assert 'Environment="CLAWDBOT_PROFILE=work"' in unit
    assert "StateDirectory=moltbot-gateway-work" in unit


def test_socket_unit_has_the_place_and_the_service_the_sockets(
    alone: Cli, root: Path
) -> None:
    words = ("--socket", "--bind", "lan", "--port", "80")
    install(alone, root, "--system", *words)
    sockets = (root / UNITS / "moltbot-gateway.socket").read_text()
    assert "ListenStream=0.0.0.0:80" in sockets
    service = (root / UNITS / SERVICE).read_text()
    assert '"--endpoint=systemd:domain=INET:index=0"\n' in service
    assert "Requires=moltbot-gateway.socket" in service
    assert "--port" not in service


def test_socket_unit_of_the_user_is_as_configured(alone: Cli) -> None:
    alone.configure(gateway={"bind": "custom", "customBindHost": "::1", "port": 1234})
    shown = alone.succeed("gateway", "install", "--user", "--socket", "--print")
    assert "ListenStream=[::1]:1234\nBindIPv6Only=ipv6-only\n" in shown
    assert '"--endpoint=systemd:domain=INET6:index=0"\n' in shown


def test_socket_unit_is_not_for_tls(alone: Cli) -> None:
    alone.configure(gateway={"tls": {"enabled": True}})
    words = ("gateway", "install", "--user", "--socket", "--print")
    assert "serves no TLS" in alone.fail(*words)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--openrc", "--socket"), "--socket is for systemd"),
        (("--launchd", "--token", "x"), "use gateway.auth.tokenFile"),
        (("--system", "--port", "x"), "Invalid port"),
        (("--system", "--bind", "moon", "--socket"), "Invalid --bind"),
        (("--system", "--bind", "custom", "--socket"), "customBindHost is not set"),
    ],
)
def test_what_cannot_be_is_refused(
    alone: Cli, words: tuple[str, ...], why: str
) -> None:
    assert why in alone.fail("gateway", "install", *words, "--print")


def test_program_in_a_home_is_warned_of(
    alone: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/home/kim/venv/bin/python")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    result = alone.run("gateway", "install", "--system", "--root", str(root))
    assert "Warning: /home/kim/venv/bin/python lies in somebody's home" in result.stderr


@pytest.mark.parametrize("text", ["a\nb", "a\x00b"])
def test_unit_holds_no_control_characters(text: str) -> None:
    service = Service(
        name="x",
        system=True,
        words=["/bin/true", text],
        environ={},
        credentials={},
        drain=1.0,
        socket=False,
    )
    with pytest.raises(Unfit):
        service_unit(service)


@pytest.mark.parametrize("kind", ["--system", "--openrc"])
def test_program_that_no_unit_can_name(
    alone: Cli, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sys, "executable", f"/opt/{ODD}/python")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    message = alone.fail("gateway", "install", kind, "--print")
    assert "cannot start a program with this name" in message


# -- other init systems


def test_openrc_script_is_one_for_the_shell(alone: Cli, root: Path) -> None:
    install(alone, root, "--openrc", "--config", "/etc/it's one.json")
    path = root / "etc/init.d/moltbot-gateway"
    assert os.access(path, os.X_OK)
    asked = f'. "{path}"; eval "set -- $command_args"; printf "%s\\n" "$HOME" "$@"'
    done = subprocess.run(
        ["sh", "-ec", asked], capture_output=True, text=True, timeout=20, check=True
    )
    home, _, *words = done.stdout.splitlines()
    assert home == "/var/lib/moltbot-gateway"
    assert words[-1] == "--config=/etc/it's one.json"


def test_launchd_list_holds_any_text(alone: Cli, odd: Path) -> None:
    text = alone.succeed("gateway", "install", "--launchd", "--print")
    found: dict[str, Any] = plistlib.loads(text.encode())
    assert found["Label"] == "bot.molt.gateway"
    assert found["ProgramArguments"][0] == str(odd / "python")
    assert found["ExitTimeOut"] == 90


# -- files that are there already


def test_second_time_nothing_is_written(alone: Cli, root: Path) -> None:
    words = ("gateway", "install", "--system", "--root", str(root), "--json")
    first, second = alone.json(*words), alone.json(*words)
    assert (first["ok"], first["action"]) == (True, "install")
    assert (first["result"], second["result"]) == ("installed", "already-installed")
    assert first["hints"][-1] == "systemctl enable --now moltbot-gateway.service"
    assert first["service"]["label"] == "moltbot-gateway"


@pytest.mark.parametrize("theirs", [b"[Unit]\n", b"\xff"])
def test_file_that_differs_is_left_alone(alone: Cli, root: Path, theirs: bytes) -> None:
    path = root / UNITS / SERVICE
    path.parent.mkdir(parents=True)
    path.write_bytes(theirs)
    words = ("gateway", "install", "--system", "--socket", "--root", str(root))
    assert "is there already and differs" in alone.fail(*words)
    assert [one.name for one in path.parent.iterdir()] == [SERVICE]
    assert path.read_bytes() == theirs
    alone.succeed(*words, "--force")
    assert path.read_text().startswith("# Written by: moltbot gateway install")


def test_uninstall_removes_the_files_and_keeps_the_secret(
    alone: Cli, root: Path
) -> None:
    install(alone, root, "--system", "--socket")
    words = ("gateway", "uninstall", "--system", "--root", str(root))
    shown = alone.succeed(*words)
    assert "systemctl daemon-reload" in shown
    assert list((root / UNITS).iterdir()) == []
    assert (root / "etc/moltbot-gateway/gateway-token").exists()
    assert alone.json(*words, "--json")["result"] == "not-loaded"


@pytest.mark.parametrize("kind", ["--openrc", "--launchd"])
def test_other_services_are_removed_too(alone: Cli, root: Path, kind: str) -> None:
    install(alone, root, kind)
    words = ("gateway", "uninstall", kind, "--root", str(root), "--json")
    assert alone.json(*words)["result"] == "uninstalled"


def test_enabled_service_is_disabled_first(alone: Cli, root: Path) -> None:
    install(alone, root, "--system")
    wants = root / UNITS / "multi-user.target.wants"
    wants.mkdir()
    (wants / SERVICE).symlink_to(root / UNITS / SERVICE)
    words = ("gateway", "uninstall", "--system", "--root", str(root))
    assert "systemctl disable --now" in alone.fail(*words)
    alone.succeed(*words, "--force")
    assert not (root / UNITS / SERVICE).exists()


def test_foreign_file_is_not_removed(alone: Cli, root: Path) -> None:
    path = root / UNITS / SERVICE
    path.parent.mkdir(parents=True)
    path.write_text("[Unit]\n")
    words = ("gateway", "uninstall", "--system", "--root", str(root))
    assert "is not ours" in alone.fail(*words)
    assert path.exists()


def test_wrong_configuration_does_not_keep_a_service(alone: Cli, root: Path) -> None:
    install(alone, root, "--user")
    (alone.state).mkdir(exist_ok=True)
    (alone.state / "moltbot.json").write_text(json.dumps({"gateway": 5}))
    words = ("gateway", "uninstall", "--user", "--root", str(root), "--json")
    assert alone.json(*words)["result"] == "uninstalled"


@pytest.mark.parametrize(
    ("platform", "uid", "place"),
    [
        ("linux", 0, str(UNITS / SERVICE)),
        ("linux", 1000, SERVICE),
        ("darwin", 501, "bot.molt.gateway.plist"),
    ],
)
def test_kind_of_service_follows_from_who_asks(
    alone: Cli,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    uid: int,
    place: str,
) -> None:
    monkeypatch.setattr("moltbot_gw.cli.install.sys.platform", platform)
    monkeypatch.setattr("moltbot_gw.cli.install.os.geteuid", lambda: uid)
    assert place in install(alone, root)


def test_file_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "units" / SERVICE
    place.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        File(path=place, text="x").write()
    assert list(place.parent.iterdir()) == [place]


def test_nothing_to_remove_is_told(alone: Cli, root: Path) -> None:
    words = ("gateway", "uninstall", "--system", "--root", str(root))
    assert alone.succeed(*words) == "Nothing is installed.\n"
