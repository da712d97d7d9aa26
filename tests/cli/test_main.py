"""The command as a whole: its list, its statuses, its processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactor
from twisted.internet.utils import getProcessOutputAndValue

from moltbot_gw import __version__
from moltbot_gw.cli import gateway as module
from moltbot_gw.cli.calling import in_reactor
from moltbot_gw.cli.lazy import LazyGroup
from moltbot_gw.cli.main import main, root
from tests.cli.support import COMMAND, PATIENCE, Cli, run_process, start_process
from tests.integration.waiting import in_thread, socket_test, within
from tests.support.daemon import environment
from tests.support.fake_gateway import TOKEN, Asked, FakeGateway


def test_help_lists_every_command(alone: Cli) -> None:
    text = alone.succeed("--help")
    for name in root.list_commands(None):  # type: ignore[arg-type]
        assert f"\n  {name} " in text


@pytest.mark.parametrize("option", ["--version", "-V", "-v"])
def test_the_version(alone: Cli, option: str) -> None:
    assert alone.succeed(option) == f"{__version__}\n"


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("--nonsense",), ("gateway", "call"), ("gateway", "nonsense")],
)
def test_unknown_words_end_with_1(alone: Cli, words: tuple[str, ...]) -> None:
    assert "Error:" in alone.fail(*words)


@pytest.mark.parametrize("name", list(root.list_commands(None)))  # type: ignore[arg-type]
def test_every_command_has_help(alone: Cli, name: str) -> None:
    assert "Usage: " in alone.succeed(name, "--help")


def test_a_lazy_group_may_have_commands_of_its_own() -> None:
    group = LazyGroup("g")

    @group.command()
    def own() -> None:
        """Do nothing."""

    assert group.list_commands(None) == ["own"]  # type: ignore[arg-type]
    assert group.get_command(None, "own") is own  # type: ignore[arg-type]


def test_the_console_script(alone: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["moltbot", "--version"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0


def test_a_stopped_reactor_is_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def react(work: Any) -> None:
        reactor = MemoryReactor()
        waiting = Deferred.fromCoroutine(work(reactor))
        for function, args, _ in reactor.triggers["before"]["shutdown"]:
            function(*args)
        dropped.errback(OSError("the connection went with the reactor"))
        assert waiting.called

    async def work(reactor: Any) -> None:
        await dropped

    dropped: Deferred[None] = Deferred()
    monkeypatch.setattr("twisted.internet.task.react", react)
    with pytest.raises(click.Abort):
        in_reactor(work)


def test_colours_can_be_turned_off(alone: Cli) -> None:
    assert alone.succeed("--no-color", "config", "path")


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_completion(alone: Cli, shell: str) -> None:
    assert "_MOLTBOT_COMPLETE" in alone.succeed("completion", shell)


# -- the daemon


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the process would have become."""
    calls: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *args: calls.extend(args))
    return calls


def _words(executed: list[Any]) -> list[str]:
    program, words, _ = executed
    assert program == words[0] == sys.executable
    assert Path(words[1]).name == "twistd"
    assert words[2:5] == ["-n", "--pidfile=", "moltbot-gateway"]
    return list(words[5:])


def test_gateway_run_becomes_the_daemon(alone: Cli, executed: list[Any]) -> None:
    given = "--port 1 --bind lan --auth token --token t --endpoint tcp:1 --dev"
    alone.succeed("gateway", "run", *given.split())
    assert _words(executed) == [
        "--port=1",
        "--bind=lan",
        "--auth=token",
        "--token=t",
        "--endpoint=tcp:1",
        "--dev",
    ]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--port", "http"), "Invalid port "),
        (("--port", "65536"), "Invalid port "),
        (("--bind", "moon"), "Invalid --bind (use loopback, lan,"),
        (("--auth", "none"), 'Invalid --auth (use "token" or "password")'),
    ],
)
def test_what_the_daemon_would_refuse_is_refused_before(
    alone: Cli, executed: list[Any], words: tuple[str, ...], error: str
) -> None:
    assert alone.fail("gateway", "run", *words).startswith(error)
    assert alone.fail("gateway", *words).startswith(error)
    assert executed == []


def test_gateway_alone_is_the_same(alone: Cli, executed: list[Any]) -> None:
    alone.succeed("--profile", "x", "gateway", "--port", "0")
    assert _words(executed) == ["--port=0"]
    assert executed[2]["CLAWDBOT_STATE_DIR"] == str(alone.home / ".clawdbot-x")


def test_the_dev_mode_is_passed_on(alone: Cli, executed: list[Any]) -> None:
    alone.succeed("--dev", "gateway", "run")
    assert _words(executed) == ["--dev"]


def test_without_twistd_there_is_no_daemon(
    alone: Cli, executed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.sys, "executable", "/nonexistent/python")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "twistd is not installed" in alone.fail("gateway", "run")


# -- real processes


@socket_test
async def test_a_process_asks_the_gateway(fake: FakeGateway, tmp_path: Path) -> None:
    fake.replies["x"] = {"a": 1}
    words = ("gateway", "call", "x", "--json", "--url", fake.url)
    out, err, status = await run_process(tmp_path, *words, "--token", TOKEN)
    assert (out, err, status) == ('{\n  "a": 1\n}\n', "", 0)


@socket_test
async def test_a_process_says_what_is_wrong(fake: FakeGateway, tmp_path: Path) -> None:
    words = (
        "gateway",
        "call",
        "x",
        "--url",
        fake.url,
        "--token",
        "wrong-token-of-mine",
    )
    out, err, status = await run_process(tmp_path, *words)
    assert (out, status) == ("", 1)
    assert "unauthorized" in err
    assert "wrong-token" not in err


@socket_test
async def test_a_process_that_is_interrupted(fake: FakeGateway, tmp_path: Path) -> None:
    words = ("gateway", "call", "x", "--url", fake.url, "--token", TOKEN)
    process = start_process(tmp_path, "-c", COMMAND, *words)
    fake.replies["x"] = lambda asked: process.send_signal(signal.SIGINT)
    out, _ = await in_thread(process.communicate)
    assert (out, process.returncode) == (b"", 130)


@socket_test
async def test_a_process_that_is_terminated_aborts_its_run(
    fake: FakeGateway, tmp_path: Path
) -> None:
    words = ("agent", "--agent", "main", "-m", "x", "--url", fake.url, "--token", TOKEN)
    process = start_process(tmp_path, "-c", COMMAND, *words)
    runs: list[Asked] = []

    def agent(asked: Asked) -> None:
        runs.append(asked)
        process.send_signal(signal.SIGTERM)

    fake.replies |= {"agent": agent, "chat.abort": lambda _: runs[0].answer({})}
    out, _ = await in_thread(process.communicate)
    assert (out, process.returncode) == (b"The run was aborted.\n", 143)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@socket_test
async def test_a_full_disk_is_one_clear_line(clean: None, tmp_path: Path) -> None:
    shell = f'"$0" -c "{COMMAND}" config path > /dev/full'
    out, err, status = await within(
        PATIENCE,
        getProcessOutputAndValue(
            "/bin/sh", ["-c", shell, sys.executable], environment(tmp_path)
        ),
    )
    why = b"Error: the output cannot be written: No space left on device\n"
    assert (out, err, status) == (b"", why, 1)


@socket_test
async def test_a_reader_who_goes_ends_the_command_quietly(
    clean: None, tmp_path: Path
) -> None:
    process = _unheard(tmp_path, "config", "path")
    _, err = await in_thread(process.communicate)
    assert (err, process.returncode) == (b"", 128 + signal.SIGPIPE)


def _unheard(home: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start the command with a stdout that nobody reads."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        env=environment(home),
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(ours)
    os.close(theirs)
    return process


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (BrokenPipeError(), 128 + signal.SIGPIPE, ""),
        (OSError(28, "full"), 1, "Error: the output cannot be written: full\n"),
    ],
)
def test_what_was_not_written_is_not_tried_again(
    alone: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    status: int,
    words: str,
) -> None:
    def fail(*_: object) -> None:
        file.write("half a line")
        raise error

    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr("moltbot_gw.cli.config.write", fail)
        monkeypatch.setattr("click.testing._NamedTextIOWrapper.fileno", _of(file))
        result = alone.run("config", "path")
    assert (result.exit_code, result.stderr) == (status, words)
    assert (tmp_path / "out").read_text() == ""


def _of(file: TextIO) -> Callable[[object], int]:
    return lambda _: file.fileno()


def test_a_file_that_cannot_be_read_is_named(
    alone: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/secret")

    monkeypatch.setattr("moltbot_gw.cli.config.find_config_file", fail)
    assert alone.fail("config", "path") == "Error: /secret: Permission denied\n"


@socket_test
async def test_help_does_not_load_twisted(clean: None, tmp_path: Path) -> None:
    code = (
        "import sys; from moltbot_gw.cli.main import root\n"
        "try: root.main(['--help'])\n"
        "except SystemExit: print('loaded:', 'twisted' in sys.modules)"
    )
    out, _ = await in_thread(start_process(tmp_path, "-c", code).communicate)
    assert out.endswith(b"loaded: False\n")


@socket_test
async def test_the_gateway_is_run_and_asked(clean: None, tmp_path: Path) -> None:
    words = ("--dev", "gateway", "run", "--port", "0")
    daemon = start_process(tmp_path, "-c", COMMAND, *words)
    try:
        port = await in_thread(_port_of, daemon)
        out, err, status = await run_process(
            tmp_path,
            *("--dev", "agent", "--agent", "main", "-m", "hello there"),
            CLAWDBOT_GATEWAY_PORT=port,
        )
        assert (out, err, status) == ("hello there\n", "", 0)
        daemon.send_signal(signal.SIGTERM)
        await in_thread(daemon.communicate)
        assert daemon.returncode == 0
    finally:
        daemon.kill()


def _port_of(daemon: subprocess.Popen[bytes]) -> str:
    """Return the port, once the daemon says it."""
    assert daemon.stdout is not None
    for line in daemon.stdout:
        match = re.search(rb'listening on [^\s"]+:(\d+)"', line)
        if match is not None:
            return match[1].decode()
    raise AssertionError("it never listened")
