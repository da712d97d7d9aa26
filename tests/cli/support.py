"""The ``moltbot`` command in the test's own process, and in one of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from greenlet import getcurrent, greenlet
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

from moltbot_gw.cli.main import root
from tests.integration.waiting import reactor, within
from tests.support.daemon import environment
from tests.support.fake_gateway import TOKEN, FakeGateway

PATIENCE = 20.0
COMMAND = "from moltbot_gw.cli.main import main; main()"
"""What the console script does."""


class Cli:
    """Runs commands as a user with an empty home would.

    The reactor of the test stands in for the one that a command would start.
    """

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.state = home / ".clawdbot"
        self.reactor_runs = 0
        for name in os.environ:
            if name.startswith(("CLAWDBOT_", "MOLTBOT_", "OPENCLAW_")):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setattr("twisted.internet.task.react", self._react)
        self._patch = patch

    def setenv(self, name: str, value: str) -> None:
        """Set a variable for the commands that follow."""
        self._patch.setenv(name, value)

    def configure(self, **config: Any) -> Path:
        """Write the configuration file."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        path = self.state / "moltbot.json"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return path

    def use(self, gateway: FakeGateway, **more: Any) -> None:
        """Configure the fake gateway as this machine's."""
        local = {"port": gateway.port, "auth": {"token": TOKEN}, **more}
        self.configure(gateway=local)

    def run(self, *words: str, text: str | None = None) -> Result:
        """Run a command to its end; *text* is its stdin."""
        self.reactor_runs = 0
        result = CliRunner().invoke(root, words, input=text)
        assert self.reactor_runs <= 1, "a process has one reactor, which runs once"
        if result.exception is not None:
            assert isinstance(result.exception, SystemExit), result.exc_info
        return result

    def succeed(self, *words: str, text: str | None = None) -> str:
        """Run a command that must end with 0; return its stdout."""
        result = self.run(*words, text=text)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: str) -> Any:
        """Run a command that must write JSON."""
        return json.loads(self.succeed(*words))

    def fail(self, *words: str, text: str | None = None) -> str:
        """Run a command that must end with 1; return its stderr."""
        result = self.run(*words, text=text)
        assert result.exit_code == 1, result.output
        assert TOKEN not in result.output
        return result.stderr

    def _react(self, main: Callable[[Any], Any]) -> None:
        self.reactor_runs += 1
        wait_for(within(PATIENCE, Deferred.fromCoroutine(main(reactor))))


def in_greenlet(test: Callable[..., Any]) -> Callable[..., Deferred[None]]:
    """Run *test* so that ``wait_for`` can stop it while the reactor goes on.

    pytest-twisted calls tests from the reactor itself, where nothing may block.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def body() -> None:
            try:
                result = test(*args, **kwargs)
            except BaseException:
                result = fail(Failure())
            # Not from here: pytest would go on in this greenlet, which shall end.
            reactor.callLater(0, maybeDeferred(lambda: result).chainDeferred, done)

        greenlet(body).switch()
        return done

    return run


def wait_for(waiting: Deferred[Any]) -> Any:
    """Return the result of *waiting*; the reactor runs meanwhile."""
    here, results = getcurrent(), []

    def wake(result: Any) -> None:
        results.append(result)
        if getcurrent() is not here:
            here.switch()

    waiting.addBoth(wake)
    if not results:
        assert here.parent is not None
        here.parent.switch()
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def start_process(home: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start Python with *words*, its stderr in its stdout."""
    return subprocess.Popen(
        [sys.executable, *words],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def run_process(home: Path, *words: str, **more: str) -> tuple[str, str, int]:
    """Run the command as a process; return stdout, stderr and status.

    *more* is for its environment.
    """
    environ = environment(home, LANG="C.UTF-8", **more)
    out, err, status = await within(
        PATIENCE,
        getProcessOutputAndValue(sys.executable, ["-c", COMMAND, *words], environ),
    )
    return out.decode(), err.decode(), status
