"""Where a command runs: environment, home, and what the global options made of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import attrs
import click

from moltbot_gw.cli.output import Failure, warn
from moltbot_gw.config import (
    Config,
    ConfigError,
    LoadedConfig,
    load_config,
    state_dir,
)
from moltbot_gw.settings import DEV_FOLDER

_STATE_VARIABLES = ("MOLTBOT_STATE_DIR", "CLAWDBOT_STATE_DIR")
_CONFIG_VARIABLES = ("MOLTBOT_CONFIG_PATH", "CLAWDBOT_CONFIG_PATH")
_PROFILE = re.compile(r"[A-Za-z0-9_-]+")


@attrs.frozen(kw_only=True)
class Surroundings:
    """What every command is told; *dev* is the daemon's mode of that name."""

    environ: Mapping[str, str] = attrs.field(repr=False)
    home: Path
    dev: bool = False

    @property
    def state(self) -> Path:
        """The folder of everything that the gateway keeps."""
        return state_dir(self.environ, self.home)

    @cached_property
    def _loaded(self) -> LoadedConfig | ConfigError:
        # Parsing takes a tenth of a second, and several parts of a command ask.
        try:
            return load_config(self.environ, self.home)
        except ConfigError as error:
            return error

    def load(self) -> LoadedConfig:
        """Return the configuration; raise ``ConfigError``."""
        if isinstance(self._loaded, ConfigError):
            raise self._loaded
        return self._loaded

    def load_leniently(self) -> LoadedConfig:
        """Return the configuration; a wrong one counts as empty."""
        if not isinstance(self._loaded, ConfigError):
            return self._loaded
        return LoadedConfig(
            config=Config(), path=self._loaded.path, exists=True, environ=self.environ
        )

    def warn_if_invalid(self) -> None:
        """Say on stderr what is wrong with the configuration, if anything is."""
        if isinstance(self._loaded, ConfigError):
            warn(describe_invalid(self._loaded))

    def load_or_refuse(self) -> LoadedConfig:
        """Return the configuration; end the command if it is wrong."""
        try:
            return self.load()
        except ConfigError as error:
            raise Failure(describe_invalid(error)) from None


pass_surroundings = click.make_pass_decorator(Surroundings)


def find_surroundings(*, profile: str | None, dev: bool) -> Surroundings:
    """Return this process's surroundings, seen through the global options."""
    environ, home = dict(os.environ), Path.home()
    if dev and profile is not None:
        raise Failure("Cannot combine --dev with --profile")
    if profile is not None:
        environ = _with_profile(environ, home, profile)
    if dev and not any(environ.get(name) for name in _STATE_VARIABLES):
        environ["MOLTBOT_STATE_DIR"] = str(home / DEV_FOLDER)
    return Surroundings(environ=environ, home=home, dev=dev)


def _with_profile(environ: dict[str, str], home: Path, name: str) -> dict[str, str]:
    if not name.strip():
        raise Failure("--profile requires a value")
    if not _PROFILE.fullmatch(name):
        raise Failure('Invalid --profile (use letters, numbers, "_", "-" only)')
    folder = home / (".clawdbot" if name == "default" else f".clawdbot-{name}")
    environ = {**environ, "CLAWDBOT_PROFILE": name}
    if not any(environ.get(variable) for variable in _STATE_VARIABLES):
        environ["CLAWDBOT_STATE_DIR"] = str(folder)
    if not any(environ.get(variable) for variable in _CONFIG_VARIABLES):
        state = state_dir(environ, home)
        environ["CLAWDBOT_CONFIG_PATH"] = str(state / "moltbot.json")
    return environ


def describe_invalid(error: ConfigError) -> str:
    """Return what is wrong with the configuration, line by line."""
    lines = ["Config invalid", f"File: {error.path}", "Problem:"]
    lines += [f"  - {issue}" for issue in error.issues]
    return "\n".join([*lines, "Run: moltbot doctor"])
