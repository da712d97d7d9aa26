"""What belongs to a service: its files, their places, and what to do with them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import attrs
import msgspec

from moltbot_gw import privatefile
from moltbot_gw.cli.daemon import daemon_words
from moltbot_gw.cli.initscripts import (
    OPENRC_USER,
    Daemon,
    launchd_plist,
    openrc_script,
)
from moltbot_gw.cli.output import Failure
from moltbot_gw.cli.reach import local_port
from moltbot_gw.cli.surroundings import Surroundings
from moltbot_gw.cli.units import (
    Service,
    Unfit,
    service_unit,
    socket_endpoints,
    socket_unit,
    system_state,
)
from moltbot_gw.config import Config, Gateway
from moltbot_gw.listening import find_hosts
from moltbot_gw.refusal import StartRefused

_CARRIED = (
    "CLAWDBOT_PROFILE",
    "MOLTBOT_STATE_DIR",
    "CLAWDBOT_STATE_DIR",
    "MOLTBOT_CONFIG_PATH",
    "CLAWDBOT_CONFIG_PATH",
)
_PRIVATE_PLACES = ("/home/", "/root/", "/run/user/")
PRIVATE = 0o600
TOKEN_NAME = "gateway-token"  # noqa: S105  (a file's name)


@attrs.frozen(kw_only=True)
class Wanted:
    """What the operator asks for; *kind* is system, user, openrc or launchd.

    With *leaving* only the names and places of the files matter, and a configuration
    that is wrong by now does not.
    """

    kind: str
    leaving: bool = False
    socket: bool = False
    has_token: bool = False
    config: str | None = None
    port: str | None = None
    bind: str | None = None

    @property
    def is_systemd(self) -> bool:
        """Whether unit files are written."""
        return self.kind in ("system", "user")

    @property
    def is_own(self) -> bool:
        """Whether the service is that of this user, with the configuration of now."""
        return self.kind in ("user", "launchd")


@attrs.frozen(kw_only=True)
class File:
    """A file to be written."""

    path: Path
    text: str = attrs.field(repr=False)
    mode: int = 0o644

    def is_there(self) -> bool:
        """Whether it needs not be written any more."""
        try:
            return self.path.read_text("utf-8") == self.text
        except (FileNotFoundError, UnicodeDecodeError):
            return False

    def write(self) -> None:
        """Put it in its place, whole; what is private comes into a private folder."""
        if self.mode == PRIVATE:
            privatefile.write(self.path, self.text.encode())
            return
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".moltbot-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.text)
            os.chmod(temporary, self.mode)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise


@attrs.frozen(kw_only=True)
class Plan:
    """A service: *next_steps* follow the writing, *after* the removal."""

    label: str
    files: tuple[File, ...]
    token_file: Path | None = None
    next_steps: tuple[str, ...] = ()
    disable: str = ""
    after: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def make_plan(surroundings: Surroundings, wanted: Wanted) -> Plan:
    """Return what *wanted* comes to; end the command if it cannot be."""
    if wanted.socket and not wanted.is_systemd:
        raise Failure("Gateway install failed: --socket is for systemd")
    _words(surroundings, wanted, [])  # wrong options are told before their results
    try:
        if wanted.is_systemd:
            return _Systemd(surroundings, wanted).plan()
        if wanted.kind == "openrc":
            return _openrc(surroundings, wanted)
        return _launchd(surroundings, wanted)
    except (Unfit, StartRefused) as error:
        raise Failure(f"Gateway install failed: {error}") from None


class _Systemd:
    def __init__(self, surroundings: Surroundings, wanted: Wanted) -> None:
        self._surroundings = surroundings
        self._wanted = wanted
        self._system = wanted.kind == "system"
        self._name = _name(surroundings)
        self._gateway = _gateway(surroundings, wanted)

    def plan(self) -> Plan:
        """Return the plan for a system's or a user's manager."""
        folder, addresses = self._folder(), self._addresses()
        words = _words(self._surroundings, self._wanted, socket_endpoints(addresses))
        token_file = self._token_file()
        service = Service(
            name=self._name,
            system=self._system,
            words=words,
            environ=_environ(self._surroundings, self._wanted),
            credentials={TOKEN_NAME: str(token_file)} if token_file else {},
            drain=self._gateway.drain_seconds,
            socket=bool(addresses),
        )
        files = [
            File(path=folder / f"{self._name}.service", text=service_unit(service))
        ]
        if addresses:
            text = socket_unit(addresses)
            files.append(File(path=folder / f"{self._name}.socket", text=text))
        control = "systemctl" if self._system else "systemctl --user"
        units = " ".join(one.path.name for one in reversed(files))
        return Plan(
            label=self._name,
            files=tuple(files),
            token_file=token_file,
            next_steps=(
                *self._advice(),
                f"{control} daemon-reload",
                f"{control} enable --now {units}",
            ),
            disable=f"{control} disable --now {units}",
            after=(f"{control} daemon-reload",),
            warnings=_hidden(words) if self._system else (),
        )

    def _folder(self) -> Path:
        if self._system:
            return Path("/etc/systemd/system")
        base = self._surroundings.environ.get("XDG_CONFIG_HOME")
        own = Path(base) if base else self._surroundings.home / ".config"
        return own.absolute() / "systemd/user"

    def _token_file(self) -> Path | None:
        if self._system:
            return Path("/etc") / self._name / TOKEN_NAME
        return self._surroundings.state / TOKEN_NAME if self._wanted.has_token else None

    def _addresses(self) -> list[tuple[str, int]]:
        if not self._wanted.socket:
            return []
        gateway = self._gateway
        if gateway.tls.enabled:
            raise Unfit("a socket unit serves no TLS: turn off gateway.tls.enabled")
        port = int(self._wanted.port or gateway.port)
        mode = self._wanted.bind or gateway.bind
        hosts = find_hosts(mode, port, gateway.custom_bind_host)
        return [(host, port) for host in hosts]

    def _advice(self) -> tuple[str, ...]:
        if not self._system:
            return ("loginctl enable-linger  # if it shall run without you",)
        state = system_state(self._name)
        return (f"# the configuration is {state}/moltbot.json; owner and mode follow",)


def _openrc(surroundings: Surroundings, wanted: Wanted) -> Plan:
    name = _name(surroundings)
    secrets = Path("/etc") / name
    state = system_state(name)
    script = openrc_script(_daemon(name, surroundings, wanted), str(secrets))
    words = _words(surroundings, wanted, [])
    return Plan(
        label=name,
        files=(File(path=Path("/etc/init.d") / name, text=script, mode=0o755),),
        token_file=secrets / TOKEN_NAME,
        next_steps=(
            f"useradd --system --home-dir {state} --shell /sbin/nologin {OPENRC_USER}",
            f"chown {OPENRC_USER} {secrets / TOKEN_NAME}",
            f"rc-update add {name} default",
            f"rc-service {name} start",
        ),
        disable=f"rc-service {name} stop; rc-update del {name}",
        after=(f"rc-update del {name}",),
        warnings=_hidden(words),
    )


def _launchd(surroundings: Surroundings, wanted: Wanted) -> Plan:
    profile = surroundings.environ.get("CLAWDBOT_PROFILE")
    label = f"bot.molt.{profile or 'gateway'}"
    daemon = _daemon(label, surroundings, wanted)
    home = surroundings.home
    if wanted.has_token:
        raise Unfit("launchd hands over no secrets; use gateway.auth.tokenFile")
    log = surroundings.state / "logs" / "launchd.log"
    path = home / "Library/LaunchAgents" / f"{label}.plist"
    return Plan(
        label=label,
        files=(
            File(path=path, text=launchd_plist(daemon, home=str(home), log=str(log))),
        ),
        next_steps=(
            f"mkdir -p '{log.parent}'",
            f"launchctl bootstrap gui/$(id -u) '{path}'",
        ),
        disable=f"launchctl bootout gui/$(id -u)/{label}",
        after=(f"launchctl bootout gui/$(id -u)/{label}",),
    )


def _daemon(name: str, surroundings: Surroundings, wanted: Wanted) -> Daemon:
    return Daemon(
        name=name,
        words=_words(surroundings, wanted, []),
        environ=_environ(surroundings, wanted),
        drain=_gateway(surroundings, wanted).drain_seconds,
    )


def _name(surroundings: Surroundings) -> str:
    profile = surroundings.environ.get("CLAWDBOT_PROFILE")
    return f"moltbot-gateway-{profile}" if profile else "moltbot-gateway"


def _gateway(surroundings: Surroundings, wanted: Wanted) -> Gateway:
    """Return the configuration that the service will have, as far as it is known.

    That of a system's service does not exist before its first start.
    """
    if wanted.leaving or not wanted.is_own:
        return Config().gateway
    loaded = surroundings.load_or_refuse()
    port, _ = local_port(surroundings, loaded)
    return msgspec.structs.replace(loaded.config.gateway, port=port)


def _words(
    surroundings: Surroundings, wanted: Wanted, endpoints: list[str]
) -> list[str]:
    config = str(Path(wanted.config).absolute()) if wanted.config else None
    given: dict[str, Any] = {
        "config": config,
        "port": None if endpoints else wanted.port,
        "bind": None if endpoints else wanted.bind,
        "auth": None,
        "token": None,
        "password": None,
        "endpoints": endpoints,
        "dev": False,
    }
    return daemon_words(surroundings, given)


def _environ(surroundings: Surroundings, wanted: Wanted) -> dict[str, str]:
    names = _CARRIED if wanted.is_own else _CARRIED[:1]
    environ = surroundings.environ
    return {name: environ[name] for name in names if environ.get(name)}


def _hidden(words: list[str]) -> tuple[str, ...]:
    """Return a warning if a service of the system cannot see its own program."""
    if not any(word.startswith(_PRIVATE_PLACES) for word in words[:2]):
        return ()
    return (
        f"{words[0]} lies in somebody's home, which the service cannot see;"
        " install the gateway elsewhere, as in /opt, and run this command from there",
    )
