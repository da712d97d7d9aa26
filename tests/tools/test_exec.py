"""``exec``: what a command gives back, and what it leaves behind, on real processes."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.process_output import MAX_OUTPUT_CHARS
from tests.integration.waiting import next_turn, socket_test, until, until_true
from tests.support.gateway import LogTape
from tests.tools.shop import FULL, Shop, SlowTime, is_alive

MakeShop = Callable[..., Shop]


async def failure(shop: Shop, command: str, **params: Any) -> str:
    """Return what the model reads of a command that fails."""
    with pytest.raises(ToolFailed) as failed:
        await shop.exec(command, **params)
    return failed.value.message


@socket_test
async def test_a_command_gives_its_output(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    result = await shop.call("exec", command="echo out; echo err >&2; pwd")
    assert result.content == f"out\nerr\n{shop.workspace}"
    assert result.details is not None
    details = dict(result.details)
    assert details.pop("durationMs") >= 0
    assert details == {
        "status": "completed",
        "exitCode": 0,
        "aggregated": result.content,
        "cwd": str(shop.workspace),
    }


@socket_test
async def test_silence_is_told_as_such(make_shop: MakeShop) -> None:
    assert await make_shop(FULL).exec("true") == "(no output)"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("echo no; exit 3", "no\n\nCommand exited with code 3"),
        ("exit 1", "Command exited with code 1"),
        ("kill -9 $$", "Command aborted by signal SIGKILL"),
        ("kill -40 $$", "Command aborted by signal 40"),
    ],
)
@socket_test
async def test_a_failure_is_told_with_the_output(
    make_shop: MakeShop, command: str, text: str
) -> None:
    assert await failure(make_shop(FULL), command) == text


@socket_test
async def test_a_missing_program_fails_as_in_a_shell(make_shop: MakeShop) -> None:
    text = await failure(make_shop(FULL), "no-such-program-here")
    assert text.endswith("\n\nCommand exited with code 127")


@socket_test
async def test_a_signal_that_python_ignores_ends_a_command(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    assert await shop.exec("yes | head -n 1") == "y"
    ignored = await shop.exec("grep SigIgn /proc/self/status")
    mask = int(ignored.split()[1], 16)
    assert not [s for s in (signal.SIGPIPE, signal.SIGXFSZ) if mask >> (s - 1) & 1]


@socket_test
async def test_a_command_has_no_input_and_none_of_our_files(
    make_shop: MakeShop, tmp_path: Path
) -> None:
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        shop = make_shop(FULL)
        assert await shop.exec("cat") == "(no output)"
        command = "for f in /proc/$$/fd/*; do readlink $f; done; true"
        listed = await shop.exec(command)
        on_terminal = await shop.exec(command, pty=True)
    assert str(tmp_path) not in listed + on_terminal
    assert "socket:" not in listed + on_terminal
    assert listed.count("pipe:") == 2


@socket_test
async def test_a_terminal_is_one(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    text = await shop.exec(
        "test -t 0 && test -t 1 && stty size && echo $TERM", pty=True
    )
    assert text.split() == ["30", "120", "xterm-256color"]
    assert await failure(shop, "test -t 1") == "Command exited with code 1"


@socket_test
async def test_output_is_text_whatever_it_is(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    text = await shop.exec(r"printf 'a\303'; printf '\251\377\033[1mb'")
    assert text == "aé�\x1b[1mb"
    assert await shop.exec(r"printf 'a\303'") == "a�"


@socket_test
async def test_only_the_end_of_a_flood_is_kept(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    text = await shop.exec("head -c 30000000 /dev/zero | tr '\\0' x; echo end")
    assert len(text) == MAX_OUTPUT_CHARS - 1  # the last line's end was cut off
    assert text.endswith("xend")


@socket_test
async def test_watchers_see_what_a_command_prints(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    running = shop.begin("echo one; sleep 1000; :")
    await until(lambda: shop.updates)
    assert shop.updates == ["one\n"]
    running.cancel()
    with pytest.raises(CancelledError):
        await running


# -- the end of processes


async def pids_in(file: Path, count: int) -> list[int]:
    """Return the numbers that *count* processes have written to *file*."""

    def read() -> list[str]:
        return file.read_text().splitlines(keepends=True) if file.exists() else []

    await until(lambda: sum(line.endswith("\n") for line in read()) == count)
    return [int(line) for line in read()]


WAYS = {
    "child": "sh -c 'echo $$ >> pids; sleep 1000; :' & echo $$ >> pids; wait; :",
    "orphan": "(sh -c 'echo $$ >> pids; sleep 1000; :' &);"
    " echo $$ >> pids; sleep 1000; :",
    "own group": "set -m; sh -c 'echo $$ >> pids; sleep 1000; :' &"
    " echo $$ >> pids; wait; :",
    "own session": "setsid sh -c 'echo $$ >> pids; sleep 1000; :' &"
    " echo $$ >> pids; wait; :",
    "bare": "env -i sh -c 'echo $$ >> pids; sleep 1000; :' & echo $$ >> pids; wait; :",
    "deaf": "trap '' TERM HUP INT; sh -c 'echo $$ >> pids; while :; do sleep 1; done' &"
    " echo $$ >> pids; while :; do sleep 1; done",
}
"""How a command can have two processes, the first of which is not its last."""


@pytest.mark.parametrize("pty", [False, True])
@pytest.mark.parametrize("way", WAYS)
@socket_test
async def test_cancelling_leaves_no_process(
    make_shop: MakeShop, way: str, pty: bool
) -> None:
    shop = make_shop(FULL)
    running = shop.begin(WAYS[way], pty=pty)
    pids = await pids_in(shop.workspace / "pids", 2)
    assert all(is_alive(pid) for pid in pids)
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    await until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize("pty", [False, True])
@pytest.mark.parametrize("turns", range(4))
@socket_test
async def test_a_command_that_has_hardly_begun_is_cancelled_too(
    make_shop: MakeShop, turns: int, pty: bool
) -> None:
    shop = make_shop(FULL)
    with LogTape() as tape:
        running = shop.begin("sleep 1000", pty=pty)
        await until(lambda: tape.lines)
    pid = int(tape.lines[0].split()[-1])
    for _ in range(turns):
        await next_turn()
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    assert not is_alive(pid)


@socket_test
async def test_what_the_first_process_leaves_running_is_ended_too(
    make_shop: MakeShop,
) -> None:
    shop = make_shop(FULL)
    session = await shop.background("env -i sh -c 'echo $$ >> pids; sleep 1000; :' &")
    (pid,) = await pids_in(shop.workspace / "pids", 1)
    assert "still running" in await shop.process("poll", session)
    assert await shop.process("kill", session) == f"Killed session {session}."
    await until(lambda: not is_alive(pid))


@socket_test
async def test_a_process_that_went_out_of_reach_holds_nobody_up(
    make_shop: MakeShop,
) -> None:
    shop = make_shop(FULL)
    running = shop.begin(
        "env -i setsid sh -c 'echo $$ >> pids; sleep 1000; :' & echo $$ >> pids; wait"
    )
    pids = await pids_in(shop.workspace / "pids", 2)
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    escaped = [pid for pid in pids if is_alive(pid)]
    for pid in escaped:
        os.killpg(pid, signal.SIGKILL)
    assert len(escaped) == 1


@socket_test
async def test_a_command_may_clean_up_when_it_is_cancelled(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    running = shop.begin(
        "trap 'echo bye > cleaned; exit' TERM; echo $$ >> pids; sleep 1000 & wait"
    )
    await pids_in(shop.workspace / "pids", 1)
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    assert (shop.workspace / "cleaned").read_text() == "bye\n"


@socket_test
async def test_a_command_that_takes_too_long_is_ended(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    text = await failure(shop, "echo begun; sleep 1000; :", timeout=0.3)
    assert text == "begun\n\nCommand timed out after 0.3 seconds"


@socket_test
async def test_the_configured_time_counts_where_none_is_asked_for(
    make_shop: MakeShop,
) -> None:
    shop = make_shop({**FULL, "timeoutSec": 1})
    assert await failure(shop, "sleep 1000") == "Command timed out after 1 seconds"


@socket_test
async def test_stopping_ends_every_command_and_starts_none(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background(WAYS["deaf"])
    pids = await pids_in(shop.workspace / "pids", 2)
    await shop.built.close()
    await until(lambda: not any(is_alive(pid) for pid in pids))
    assert await shop.process("poll", session) == f"No session found for {session}"
    assert "The gateway is stopping" in await failure(shop, "echo hi")


# -- what does not start


@pytest.mark.parametrize(
    ("text", "failure_text", "code"),
    [
        ("#!/no/such/interpreter\n", "No such file or directory", 127),
        ("no program at all\n", "Exec format error", 126),
    ],
)
@socket_test
async def test_a_listed_program_that_is_broken_is_named(
    make_shop: MakeShop, text: str, failure_text: str, code: int
) -> None:
    shop = make_shop({"ask": "off"})
    broken = make_program(shop, text)
    shop.list_programs(broken)
    found = await failure(shop, "./broken")
    assert found == f"{broken}: {failure_text}\n\nCommand exited with code {code}"


def make_program(shop: Shop, text: str) -> str:
    path = shop.workspace.resolve() / "broken"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


class Crowded(SlowTime):
    """A system that starts no process any more."""

    def spawnProcess(self, *args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.mark.parametrize("pty", [False, True])
@socket_test
async def test_a_system_without_room_is_told(make_shop: MakeShop, pty: bool) -> None:
    before = len(os.listdir("/proc/self/fd"))
    shop = make_shop(FULL, clock=Crowded())
    text = await failure(shop, "true", pty=pty)
    assert text == "cannot start the command: Resource temporarily unavailable"
    assert len(os.listdir("/proc/self/fd")) == before


# -- the background


@socket_test
async def test_a_long_command_goes_to_the_background(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    result = await shop.call("exec", command="echo hi; sleep 1000", yieldMs=300)
    assert result.details is not None
    session, pid = result.details["sessionId"], result.details["pid"]
    assert result.content == (
        f"Command still running (session {session}, pid {pid}). Use process"
        " (list/poll/log/write/kill/clear/remove) for follow-up.\n\nhi\n"
    )
    assert result.details == {
        "status": "running",
        "sessionId": session,
        "pid": pid,
        "startedAt": 1_000_000,
        "cwd": str(shop.workspace),
        "tail": "hi\n",
    }


@socket_test
async def test_the_configured_patience_counts_where_none_is_asked_for(
    make_shop: MakeShop,
) -> None:
    shop = make_shop({**FULL, "backgroundMs": 20})
    result = await shop.call("exec", command="sleep 1000")
    assert result.details is not None
    assert result.details["status"] == "running"


@pytest.mark.parametrize("notifies", [True, False])
@socket_test
async def test_the_end_of_a_command_in_the_background_is_news(
    make_shop: MakeShop, notifies: bool
) -> None:
    shop = make_shop({**FULL, "notifyOnExit": notifies})
    first = await shop.background("echo a  b; exit 2")
    await until_true(lambda: _has_ended(shop, first))
    news = [
        ("agent:main:main", f"Exec failed ({first}, exited with code 2) :: a b"),
    ]
    assert shop.told == (news if notifies else [])


async def _has_ended(shop: Shop, session: str) -> bool:
    return "exited" in await shop.process("poll", session)


# -- what cannot be started


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"workdir": "none"}, "workdir: there is no folder "),
        ({"workdir": "a\0b"}, "workdir: it has a character 0"),
        ({"command": "a\0b"}, "command: it has a character 0"),
        ({"command": "ä" * 50_001}, "command: more than 100000 bytes"),
        ({"env": {"A=B": "x"}}, "env: 'A=B' is not a name of a variable"),
        ({"env": {"A": "\0"}}, "env.A: it has a character 0"),
        ({"env": dict.fromkeys("ABC", "x" * 90_000)}, "env: more than 200000"),
        ({"host": "sandbox"}, "exec host not allowed (requested sandbox;"),
        ({"host": "node"}, "exec host not allowed (requested node;"),
    ],
)
@pytest.mark.parametrize("pty", [False, True])
@socket_test
async def test_what_cannot_be_started_is_explained(
    make_shop: MakeShop, params: Any, problem: str, pty: bool
) -> None:
    shop = make_shop(FULL)
    text = await failure(shop, **{"command": "true", "pty": pty, **params})
    assert text.startswith(problem)


@pytest.mark.parametrize("host", ["sandbox", "node"])
@socket_test
async def test_other_hosts_are_not_there(make_shop: MakeShop, host: str) -> None:
    shop = make_shop({**FULL, "host": host})
    with pytest.raises(ToolFailed, match=f"exec host not available: {host}"):
        await shop.exec("true", host="gateway")


@socket_test
async def test_commands_run_where_they_are_told_to(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    (shop.workspace / "inner").mkdir()
    assert await shop.exec("pwd", workdir="inner") == str(shop.workspace / "inner")
    assert await shop.exec("pwd", workdir="/") == "/"
    assert await shop.exec("pwd", workdir="~") == str(shop.workspace.parent)
    assert await shop.exec("pwd", cwd="~/workspace/inner") == str(
        shop.workspace / "inner"
    )


@socket_test
async def test_a_workspace_that_is_not_there_yet_is_made(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    shop.workspace.rmdir()
    assert await shop.exec("pwd") == str(shop.workspace)
    assert shop.workspace.stat().st_mode & 0o777 == 0o700


@socket_test
async def test_only_so_many_commands_run_at_once(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moltbot_gw.tools.process_sessions.MAX_RUNNING", 1)
    shop = make_shop(FULL)
    session = await shop.background("sleep 1000")
    assert "commands run already" in await failure(shop, "true")
    await shop.process("kill", session)
    assert await shop.exec("echo hi") == "hi"


@pytest.mark.parametrize(
    ("shell", "name"),
    [("/bin/sh", "sh"), ("/usr/sbin/nologin", "bash"), ("/none/zsh", "bash")],
)
@socket_test
async def test_the_users_shell_is_used_if_it_is_one(
    make_shop: MakeShop, shell: str, name: str
) -> None:
    environ = {"PATH": "/usr/bin:/bin", "SHELL": shell}
    assert await make_shop(FULL, environ=environ).exec("echo $0") == name
