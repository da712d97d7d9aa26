"""The command line that the daemon is started with."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from moltbot_gw.cli.output import Failure
from moltbot_gw.cli.surroundings import Surroundings

_BIND_MODES = ("loopback", "lan", "tailnet", "auto", "custom")
_PASSED_ON = ("config", "port", "bind", "auth", "token", "password")


def daemon_words(surroundings: Surroundings, given: dict[str, Any]) -> list[str]:
    """Return the command line of the daemon; end the command if it is a wrong one."""
    _check_words(given)
    twistd = Path(sys.executable).with_name("twistd")
    script = str(twistd) if twistd.exists() else shutil.which("twistd")
    if script is None:
        raise Failure("twistd is not installed beside this Python")
    words = [sys.executable, script, "-n", "--pidfile=", "moltbot-gateway"]
    words += [f"--{name}={given[name]}" for name in _PASSED_ON if given[name]]
    words += [f"--endpoint={text}" for text in given["endpoints"]]
    return words + (["--dev"] if given["dev"] or surroundings.dev else [])


def _check_words(given: dict[str, Any]) -> None:
    """Refuse here what twistd would refuse in words for its own users."""
    port, bind, auth = given["port"], given["bind"], given["auth"]
    if port and not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise Failure("Invalid port (use a number from 0 to 65535; 0: any free one)")
    if bind and bind not in _BIND_MODES:
        raise Failure(f"Invalid --bind (use {', '.join(_BIND_MODES)})")
    if auth and auth not in ("token", "password"):
        raise Failure('Invalid --auth (use "token" or "password")')
