"""How a command finds its gateway: address, secrets, identity (``cli``, section 2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any, TypeVar

import attrs
import click

from moltbot_gw.cli.output import Failure, warn
from moltbot_gw.cli.surroundings import Surroundings
from moltbot_gw.client import BadTarget, Target
from moltbot_gw.client.target import parse_address, shown_url
from moltbot_gw.config import (
    BadSecretFile,
    Gateway,
    LoadedConfig,
    Secret,
    state_dir,
)
from moltbot_gw.identityfile import load_or_create
from moltbot_gw.listening import tailnet_address
from moltbot_gw.refusal import StartRefused
from moltbot_gw.settings import (
    DEV_TOKEN_FILE,
    PASSWORD_VARIABLES,
    TOKEN_VARIABLES,
    configured_secrets,
    find_port,
)
from moltbot_gw.wire.device import DeviceIdentity

F = TypeVar("F", bound=Callable[..., Any])

_CERTIFICATE_END = "-----END CERTIFICATE-----"


@attrs.frozen(kw_only=True)
class Flags:
    """What the command line says of the way; *timeout* is in seconds."""

    url: str | None = None
    token: Secret | None = None
    password: Secret | None = None
    timeout: float = 10.0


@attrs.frozen(kw_only=True)
class Reach:
    """The way to one gateway, and the words for it when it fails."""

    target: Target
    source: str
    config_path: Path
    bind: str | None
    timeout: float

    @property
    def url(self) -> str:
        """The address, fit for a terminal."""
        return shown_url(self.target.url)

    def block(self) -> str:
        """Return the lines that say where the gateway was looked for."""
        lines = [
            f"Gateway target: {self.url}",
            f"Source: {self.source}",
            f"Config: {self.config_path}",
        ]
        return "\n".join(lines + ([f"Bind: {self.bind}"] if self.bind else []))


def reach_options(timeout_ms: int = 10_000) -> Callable[[F], F]:
    """Give a command ``--url``, ``--token``, ``--password`` and ``--timeout``."""
    options = (
        click.option("--url", help="WebSocket URL instead of the configured one."),
        click.option("--token", help="Token (rather set CLAWDBOT_GATEWAY_TOKEN)."),
        click.option("--password", help="Password of the gateway."),
        click.option(
            "--timeout",
            type=click.IntRange(min=1),
            default=timeout_ms,
            show_default=True,
            metavar="MS",
            help="Time for everything, in milliseconds.",
        ),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def flags_of(given: Mapping[str, Any]) -> Flags:
    """Return the flags among the values of ``reach_options``."""
    token, password = given.get("token"), given.get("password")
    return Flags(
        url=given.get("url"),
        token=Secret(token) if token else None,
        password=Secret(password) if password else None,
        timeout=given["timeout"] / 1000,
    )


def find_reach(
    surroundings: Surroundings,
    flags: Flags,
    *,
    strict: bool,
    remote: bool | None = None,
) -> Reach:
    """Return the way to the gateway that the flags and the configuration mean.

    With *strict* a wrong configuration ends the command; else it counts as empty, so
    that a running gateway can still be asked.  *remote* overrules ``gateway.mode``.
    """
    loaded = surroundings.load_or_refuse() if strict else surroundings.load_leniently()
    if remote is None:
        remote = loaded.config.gateway.mode == "remote"
    way = _Way(surroundings, loaded, flags, is_remote=remote)
    url, source = way.address()
    try:
        parse_address(url)
    except BadTarget as error:
        raise Failure(f"{error} ({source})") from None
    trusted = way.is_own(url)
    target = Target(
        url=url,
        token=way.token(trusted),
        password=way.password(trusted),
        tls_fingerprint=way.fingerprint(url, trusted),
        identity=find_identity(surroundings.home),
        device_token_file=(
            surroundings.state / "identity" / "device-auth.json" if trusted else None
        ),
    )
    return Reach(
        target=target,
        source=source,
        config_path=loaded.path,
        bind=None if way.is_remote or flags.url else loaded.config.gateway.bind,
        timeout=flags.timeout,
    )


def find_identity(home: Path) -> DeviceIdentity | None:
    """Return this machine's device, None if it cannot be kept on the disk.

    The file does not follow profiles and variables: a device is a machine's.  It lies
    in a folder that is there already if possible, because a new ``~/.clawdbot`` would
    make everybody forget ``~/.moltbot``.
    """
    try:
        return load_or_create(identity_path(home), now_ms=int(time.time() * 1000))
    except OSError:
        return None


def identity_path(home: Path) -> Path:
    """Return the file of this machine's device."""
    return state_dir({}, home) / "identity" / "device.json"


def local_port(surroundings: Surroundings, loaded: LoadedConfig) -> tuple[int, str]:
    """Return the port of this machine's gateway, and where it was read."""
    try:
        return find_port(loaded, dev=surroundings.dev)
    except StartRefused as error:
        raise Failure(str(error)) from None


class _Way:
    """The rules of one look-up."""

    def __init__(
        self,
        surroundings: Surroundings,
        loaded: LoadedConfig,
        flags: Flags,
        *,
        is_remote: bool,
    ) -> None:
        self._surroundings = surroundings
        self._loaded = loaded
        self._flags = flags
        self._gateway: Gateway = loaded.config.gateway
        self.is_remote = is_remote

    def address(self) -> tuple[str, str]:
        """Return the URL and its source."""
        if self._flags.url:
            return self._flags.url, "cli --url"
        if not self.is_remote:
            return self._local()
        if not self._gateway.remote.url:
            raise Failure(
                "gateway remote mode misconfigured: gateway.remote.url missing\n"
                f"Config: {self._loaded.path}\n"
                "Fix: set gateway.remote.url, or set gateway.mode to local."
            )
        return self._gateway.remote.url, "config gateway.remote.url"

    def _local(self) -> tuple[str, str]:
        host, source = "127.0.0.1", "local loopback"
        if self._gateway.bind == "tailnet":
            found = tailnet_address()
            if found is not None:
                host, source = found, f"local tailnet {found}"
        elif self._gateway.bind == "custom" and self._gateway.custom_bind_host:
            host = self._gateway.custom_bind_host
            source = f"local {host}"
        port, _ = local_port(self._surroundings, self._loaded)
        scheme = "wss" if self._gateway.tls.enabled else "ws"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", source

    def is_own(self, url: str) -> bool:
        """Whether what the configuration keeps may be told to *url*.

        A URL from the command line may be anybody's: then only the secrets of the
        command line and the environment count, unless it stays on this machine.
        """
        if not self._flags.url or url == self._gateway.remote.url:
            return True
        address = parse_address(url)
        return address.socket is not None or _is_loopback(address.host)

    def token(self, trusted: bool) -> Secret | None:
        """Return the shared token: flag, environment, configuration, dev's file."""
        if self._flags.token:
            return self._flags.token
        if self.is_remote:
            return self._gateway.remote.token if trusted else None
        found = self._variable(TOKEN_VARIABLES)
        if found is not None or not trusted:
            return found
        return _given(self._configured()[0]) or self._dev_token()

    def password(self, trusted: bool) -> Secret | None:
        """Return the shared password, from the same places."""
        found = self._flags.password or self._variable(PASSWORD_VARIABLES)
        if found is not None or not trusted:
            return found
        if self.is_remote:
            return _given(self._gateway.remote.password)
        return _given(self._configured()[1])

    def fingerprint(self, url: str, trusted: bool) -> str | None:
        """Return what the gateway's certificate must be, if that is known."""
        if not url.startswith("wss:") or not trusted:
            return None
        if self.is_remote:
            return self._gateway.remote.tls_fingerprint
        return local_fingerprint(self._gateway, self._surroundings.state)

    def _configured(self) -> tuple[Secret | None, Secret | None]:
        """Return this machine's secrets; a file that others keep from us has none."""
        try:
            return configured_secrets(self._loaded)
        except BadSecretFile as error:
            warn(str(error))
            return None, None

    def _variable(self, names: tuple[str, ...]) -> Secret | None:
        texts = (self._loaded.environ.get(name, "").strip() for name in names)
        return next((Secret(text) for text in texts if text), None)

    def _dev_token(self) -> Secret | None:
        if not self._surroundings.dev:
            return None
        try:
            text = (self._surroundings.state / DEV_TOKEN_FILE).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return None
        return _given(Secret(text.strip()))


def local_fingerprint(gateway: Gateway, state: Path) -> str | None:
    """Return the fingerprint of this machine's own certificate, if it can be read."""
    folder = state / "gateway" / "tls"
    path = Path(gateway.tls.cert_path or folder / "gateway-cert.pem")
    try:
        first, end, _ = path.read_text("ascii").partition(_CERTIFICATE_END)
        start = first.index("-----BEGIN CERTIFICATE-----")
        return sha256(PEM_cert_to_DER_cert(first[start:] + end)).hexdigest()
    except (OSError, ValueError):
        return None


def _given(secret: Secret | None) -> Secret | None:
    return secret if secret is not None and secret.reveal().strip() else None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
