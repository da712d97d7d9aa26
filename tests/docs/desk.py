"""Somebody at a desk who does what a page says."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.docs.blocks import Block
from tests.docs.console import Command, commands_in, matches
from tests.support.daemon import PATIENCE, TWISTD, Daemon, environment

MAX_TOLD = 2000
"""Characters of what a failed example has printed."""

TOKEN = "an-example-of-a-token-0123456789"
PORTS = ("127.0.0.1:18789", "127.0.0.1:19001")
PROVIDER = "127.0.0.1:8000"
"""Where the examples suppose the gateway and an OpenAI-compatible server."""

_SETUP = {
    "gateway": {
        "auth": {"token": TOKEN},
        "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
    },
    "agents": {"list": [{"id": "main", "default": True}]},
}


def free_port() -> int:
    """Return a port that nobody has right now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def surroundings(**more: str) -> dict[str, str]:
    """Return the variables that make this tree the one that is used."""
    path = os.pathsep.join([str(TWISTD.parent), os.environ.get("PATH", os.defpath)])
    paths = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return {"PATH": path, "LANG": "C.UTF-8", "TERM": "dumb", **paths, **more}


class Desk:
    """Runs the blocks of one page in a home of its own, in their order.

    There is one gateway at a time: the next one takes the place of the one before.
    """

    def __init__(self, home: Path, provider_port: int) -> None:
        self.home = home
        self._provider_port = provider_port
        self._port = free_port()
        self._variables = home / "variables.sh"
        self._variables.write_text("")
        self._background: subprocess.Popen[str] | None = None
        folder = home / ".venv"
        folder.mkdir()
        (folder / "bin").symlink_to(TWISTD.parent)

    def do(self, block: Block) -> None:
        """Do what *block* says."""
        if block.mark.startswith("setup"):
            self._set_up()
        if named := block.said(r"file (~/\S+?)(, which is wrong)?"):
            self._write(named[1], block.text)
        elif block.said(r'background, until ".*"'):
            self._start(block)
        elif block.language == "console":
            self._type(block)
        elif block.language in ("sh", "bash"):
            self._succeed(block, Command(words=block.text, output="...", root=False))
        elif block.language == "python":
            self._run_python(block)

    def leave(self) -> None:
        """Stop what runs in the background."""
        if self._background is not None:
            self._background.kill()
            self._background.wait(PATIENCE)
            assert self._background.stdout is not None
            self._background.stdout.close()
        self._background = None

    def _set_up(self) -> None:
        self._write("~/.clawdbot/moltbot.json", json.dumps(_SETUP))
        self._succeed_quietly(f"export TOKEN={TOKEN}")
        self._launch("twistd -n --pidfile= moltbot-gateway", "listening on")

    def _write(self, name: str, text: str) -> None:
        path = self.home / name.removeprefix("~/")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(self._here(text))
        path.chmod(0o600)

    def _start(self, block: Block) -> None:
        said = block.said(r'background, until "(.*)"')
        assert said is not None
        text = block.text
        if block.language == "console":
            (command,) = commands_in(text)
            text = command.words
        self._launch(text, said[1])

    def _launch(self, words: str, until: str) -> None:
        self.leave()
        self._background = self._shell(f"exec env {words}")
        assert self._background.stdout is not None
        printed = []
        for line in self._background.stdout:
            printed.append(line)
            if until in line:
                return
        raise AssertionError(f"{words} ended:\n{''.join(printed)}")

    def _type(self, block: Block) -> None:
        failing = block.said(r"fails with status (\d+)")
        for command in commands_in(block.text):
            if not command.root:
                self._succeed(block, command, int(failing[1]) if failing else 0)

    def _succeed(self, block: Block, command: Command, status: int = 0) -> None:
        process = self._shell(self._here(command.words))
        printed, _ = process.communicate(timeout=PATIENCE)
        told = f"{block.place}: {command.words}\n{printed[-MAX_TOLD:]}"
        assert process.returncode == status, told
        assert matches(command.output, printed), f"{told}\nshown: {command.output}"

    def _succeed_quietly(self, words: str) -> None:
        process = self._shell(words)
        printed, _ = process.communicate(timeout=PATIENCE)
        assert (process.returncode, printed) == (0, ""), printed

    def _run_python(self, block: Block) -> None:
        script = self.home / "example.py"
        script.write_text(self._here(block.text))
        words = f"{shlex.quote(sys.executable)} {script.name}"
        self._succeed(block, Command(words=words, output="...", root=False))

    def _shell(self, words: str) -> subprocess.Popen[str]:
        """Start *words*; variables stay for the commands that follow."""
        script = f"set -a; . ./variables.sh\n{words}\ns=$?; export -p > variables.sh"
        port = str(self._port)
        return subprocess.Popen(
            ["bash", "-c", f"{script}; exit $s"],
            cwd=self.home,
            env=environment(self.home, **surroundings(CLAWDBOT_GATEWAY_PORT=port)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _here(self, text: str) -> str:
        """Return *text* with the ports and the token of this desk."""
        for address in PORTS:
            text = text.replace(address, f"127.0.0.1:{self._port}")
        text = text.replace(PROVIDER, f"127.0.0.1:{self._provider_port}")
        return text.replace("YOUR-TOKEN", TOKEN)


def start_provider(home: Path) -> Daemon:
    """Start another gateway, which stands for an OpenAI-compatible server."""
    return Daemon(home, "--dev", "--port=0", "--token=x", environ=surroundings())
