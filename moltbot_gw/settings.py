"""What the daemon is started with: command line, environment and config together."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from moltbot_gw.auth import find_weakness
from moltbot_gw.config import (
    GATEWAY_PASSWORD,
    GATEWAY_TOKEN,
    BadSecretFile,
    Config,
    ConfigError,
    LoadedConfig,
    Secret,
    credential_files,
    load_config,
    read_secret,
    state_dir,
)
from moltbot_gw.refusal import StartRefused

STORE_FILE = "sessions.sqlite3"
ALLOWLIST_FILE = "exec-approvals.json"
LOG_FOLDER = "logs"
LOG_SALT_FILE = "log.salt"
DEV_FOLDER = ".clawdbot-dev"
DEV_PORT = 19001
DEV_TOKEN_FILE = "gateway.token"  # noqa: S105  (a file's name)

TOKEN_VARIABLES = (
    "CLAWDBOT_GATEWAY_TOKEN",
    "MOLTBOT_GATEWAY_TOKEN",
    "OPENCLAW_GATEWAY_TOKEN",
    GATEWAY_TOKEN,
)
PASSWORD_VARIABLES = (
    "CLAWDBOT_GATEWAY_PASSWORD",
    "MOLTBOT_GATEWAY_PASSWORD",
    "OPENCLAW_GATEWAY_PASSWORD",
    GATEWAY_PASSWORD,
)
_PORT = re.compile(r"[0-9]{1,5}")
_STATE_VARIABLES = ("MOLTBOT_STATE_DIR", "CLAWDBOT_STATE_DIR")


@attrs.frozen(kw_only=True)
class CommandLine:
    """The options as they were given; None where they were not."""

    config: str | None = None
    port: int | None = None
    bind: str | None = None
    auth: str | None = None
    token: Secret | None = None
    password: Secret | None = None
    endpoints: Sequence[str] = ()
    dev: bool = False


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that building the gateway needs.

    *token_file* is where the secret can be read by its owner, if it was generated.
    *port* 0 asks the system for a free one.  *files* are all that were read.
    """

    config: Config
    config_path: Path
    environ: Mapping[str, str] = attrs.field(repr=False)
    notices: Sequence[str]
    home: Path
    state: Path
    secret: Secret
    secret_name: str
    port: int
    bind: str
    endpoints: Sequence[str]
    enabled: bool
    dev: bool
    token_file: Path | None
    files: tuple[Path, ...] = attrs.field(default=(), eq=False)


@attrs.define(eq=False)
class Current:
    """The settings in force, for who builds things; a reload brings others."""

    settings: Settings


def load_settings(
    options: CommandLine, environ: Mapping[str, str], home: Path
) -> Settings:
    """Return the settings; raise ``StartRefused`` with everything that is wrong."""
    if options.dev and not any(environ.get(name) for name in _STATE_VARIABLES):
        environ = {**environ, "MOLTBOT_STATE_DIR": str(home / DEV_FOLDER)}
    path = Path(options.config).expanduser() if options.config else None
    try:
        loaded = load_config(environ, home, path=path)
    except ConfigError as error:
        raise StartRefused(str(error), error.files) from None
    files = _files_of(loaded)
    try:
        return _settings_of(options, loaded, home, state_dir(environ, home), files)
    except StartRefused as refusal:
        raise StartRefused(str(refusal), files) from None


def _settings_of(
    options: CommandLine,
    loaded: LoadedConfig,
    home: Path,
    state: Path,
    files: tuple[Path, ...],
) -> Settings:
    config = loaded.config
    if config.gateway.mode == "remote":
        raise StartRefused(
            'gateway.mode is "remote": this machine is set up as a client of another'
            ' gateway; set it to "local" to run one here'
        )
    bind = options.bind or config.gateway.bind
    secret, secret_name, token_file = _find_secret(options, loaded, state)
    _check_strength(secret, secret_name)
    return Settings(
        config=config,
        config_path=loaded.path,
        environ=loaded.environ,
        notices=loaded.notices,
        home=home,
        state=state,
        secret=secret,
        secret_name=secret_name,
        port=_find_port(options, loaded),
        bind=bind,
        endpoints=tuple(options.endpoints) or config.gateway.endpoints,
        enabled=options.dev or config.gateway.http.endpoints.chat_completions.enabled,
        dev=options.dev,
        token_file=token_file,
        files=files,
    )


def _files_of(loaded: LoadedConfig) -> tuple[Path, ...]:
    """Return all files whose content the settings depend upon."""
    auth = loaded.config.gateway.auth
    named = [Path(name) for name in (auth.token_file, auth.password_file) if name]
    authorities = [
        Path(entry.ca_file)
        for entry in loaded.config.models.providers.values()
        if entry.ca_file
    ]
    return (*loaded.files, *credential_files(loaded.environ), *named, *authorities)


def _find_port(options: CommandLine, loaded: LoadedConfig) -> int:
    if options.port is not None:
        return options.port
    return find_port(loaded, dev=options.dev)[0]


def find_port(
    loaded: LoadedConfig, *, dev: bool
) -> tuple[int, Literal["env", "config", "dev"]]:
    """Return the port of this machine's gateway, and where it was read.

    In the dev mode the usual port counts as none, so that a gateway that is tried out
    keeps off the one in use.  Raises ``StartRefused``.
    """
    text = loaded.environ.get("CLAWDBOT_GATEWAY_PORT", "").strip()
    if text:
        if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
            raise StartRefused("CLAWDBOT_GATEWAY_PORT is not a port number")
        return int(text), "env"
    port = loaded.config.gateway.port
    if dev and port == Config().gateway.port:
        return DEV_PORT, "dev"
    return port, "config"


def _find_secret(
    options: CommandLine, loaded: LoadedConfig, state: Path
) -> tuple[Secret, str, Path | None]:
    """Return the secret, what it is (token or password), and its file if generated."""
    auth = loaded.config.gateway.auth
    try:
        kept_token, kept_password = configured_secrets(loaded)
    except BadSecretFile as error:
        raise StartRefused(str(error)) from None
    token = _first(options.token, kept_token) or _variable(loaded, TOKEN_VARIABLES)
    password = _first(options.password, kept_password) or _variable(
        loaded, PASSWORD_VARIABLES
    )
    mode = options.auth or auth.mode
    if mode is None:
        # Who types a secret means it, whatever else is configured.
        mode = "password" if password and not options.token else "token"
    if mode == "password":
        if password is None:
            raise StartRefused(
                "gateway auth mode is password, but no password was configured (set"
                " gateway.auth.password or CLAWDBOT_GATEWAY_PASSWORD)"
            )
        return password, "password", None
    if token is None and options.dev:
        return *_dev_token(state), state / DEV_TOKEN_FILE
    if token is None:
        raise StartRefused(
            "gateway auth mode is token, but no token was configured (set"
            " gateway.auth.token or CLAWDBOT_GATEWAY_TOKEN)"
        )
    return token, "token", None


def configured_secrets(loaded: LoadedConfig) -> tuple[Secret | None, Secret | None]:
    """Return token and password of ``gateway.auth``, or of the files that it names.

    Raises ``BadSecretFile``.
    """
    auth = loaded.config.gateway.auth
    found = []
    for name, inline, file in (
        ("tokenFile", auth.token, auth.token_file),
        ("passwordFile", auth.password, auth.password_file),
    ):
        try:
            kept = read_secret(Path(file), loaded.environ) if file else inline
        except BadSecretFile as error:
            raise BadSecretFile(f"gateway.auth.{name}: {error}") from None
        found.append(kept)
    return found[0], found[1]


def _first(*given: Secret | None) -> Secret | None:
    """Return the first that is given; a blank one counts as not given."""
    return next((one for one in given if one and one.reveal().strip()), None)


def _variable(loaded: LoadedConfig, names: Sequence[str]) -> Secret | None:
    for name in names:
        value = loaded.environ.get(name, "").strip()
        if value:
            return Secret(value)
    return None


def _dev_token(state: Path) -> tuple[Secret, str]:
    """Return the token of the dev mode, made at its first start and kept."""
    path = state / DEV_TOKEN_FILE
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            kept = path.read_text("ascii").strip()
        except FileNotFoundError:
            kept = ""
        if not kept:
            kept = secrets.token_urlsafe(32)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with os.fdopen(os.open(path, flags, 0o600), "w") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(kept + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StartRefused(f"cannot keep the token in {path}: {error}") from None
    return Secret(kept), "token"


def _check_strength(secret: Secret, name: str) -> None:
    text = secret.reveal()
    if not text.isprintable() or text != text.strip():
        raise StartRefused(f"the {name} has blanks around it or unprintable characters")


def weakness_of(settings: Settings) -> str | None:
    """Return what is weak about the secret, fit for a log, or None."""
    weakness = find_weakness(settings.secret.reveal())
    return f"the {settings.secret_name} {weakness}" if weakness else None
