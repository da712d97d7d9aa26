"""A user's machine: a home folder, a configuration, the official commands."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import attrs

from tests.interop.package import Official
from tests.interop.terminal import Terminal

TOKEN = "interop-token-0123456789abcdef"

PATIENCE = 60.0
"""Seconds that a command may take; most of three go into its own start."""

# Nothing listens on port 9: the program's look-ups on the network fail at once.
_NOWHERE = "http://127.0.0.1:9"


@attrs.frozen
class Outcome:
    """How a command has ended."""

    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Return what it printed, which is nothing but JSON."""
        return json.loads(self.stdout)


def write_config(home: Path, port: int | None = None) -> None:
    """Write the one configuration that the gateway and the command line both read."""
    gateway: dict[str, object] = {"mode": "local", "auth": {"token": TOKEN}}
    if port is not None:
        gateway["port"] = port
    folder = home / ".clawdbot"
    folder.mkdir(mode=0o700)
    # Loading its plugins takes the command line half a minute at first.
    config = {"gateway": gateway, "plugins": {"enabled": False}}
    (folder / "clawdbot.json").write_text(json.dumps(config))


class Machine:
    """A user's account, whose device the gateway has not met before.

    *home* is an empty folder; the gateway listens on *port* of this machine.
    """

    def __init__(self, official: Official, home: Path, port: int) -> None:
        self._official = official
        self._home = home
        write_config(home, port)

    def run(self, *arguments: str, **more: str) -> Outcome:
        """Run a command to its end, with *more* in its environment."""
        done = subprocess.run(
            self._command(*arguments),
            cwd=self._home,
            env={**self._environment(), **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def open(self, *arguments: str) -> Terminal:
        """Start a command in a terminal; the caller closes it."""
        return Terminal(self._command(*arguments), self._environment(), self._home)

    def _command(self, *arguments: str) -> list[str]:
        return [str(self._official.node), str(self._official.entry), *arguments]

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self._home),
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            # Without this it starts itself a second time, as a child.
            "NODE_OPTIONS": "--no-warnings",
            "NODE_USE_ENV_PROXY": "1",
            "HTTPS_PROXY": _NOWHERE,
            "HTTP_PROXY": _NOWHERE,
            "NO_PROXY": "127.0.0.1,localhost",
        }
