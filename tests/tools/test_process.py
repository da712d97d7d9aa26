"""``process``: commands in the background, each agent its own, on real processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.process_output import MAX_OUTPUT_CHARS
from tests.integration.waiting import socket_test, until, until_true
from tests.support.gateway import LogTape
from tests.tools.shop import FULL, Shop, SlowTime

MakeShop = Callable[..., Shop]


async def details_of(shop: Shop, action: str, **params: Any) -> Any:
    return (await shop.call("process", action=action, **params)).details


async def ended(shop: Shop, session: str) -> None:
    """Wait until a command has ended, without polling its output."""

    async def has_ended() -> bool:
        found = await details_of(shop, "log", sessionId=session)
        return bool(found["status"] != "running")

    await until_true(has_ended)


async def logged(shop: Shop, session: str, text: str) -> None:
    """Wait until a command has printed *text*."""

    async def has_printed() -> bool:
        return text in await shop.process("log", session)

    await until_true(has_printed)


@socket_test
async def test_at_first_there_is_nothing_to_list(make_shop: MakeShop) -> None:
    result = await make_shop(FULL).call("process", action="list")
    assert result.content == "No running or recent sessions."
    assert result.details == {"status": "completed", "sessions": []}


@socket_test
async def test_commands_are_listed_with_what_became_of_them(
    make_shop: MakeShop,
) -> None:
    clock = SlowTime()
    shop = make_shop({**FULL, "timeoutSec": 3600}, clock=clock)
    first = await shop.background("sleep  1000")
    second = await shop.background("true " + "x" * 100)
    await ended(shop, second)
    clock.advance(65)
    result = await shop.call("process", action="list")
    assert result.content == (
        f"{first} running    1m05s :: sleep 1000\n"
        f"{second} completed     0s :: true {'x' * 74}…"
    )
    assert result.details is not None
    [row, _] = result.details["sessions"]
    assert row.pop("pid") > 0
    assert row == {
        "sessionId": first,
        "status": "running",
        "startedAt": 1_000_000,
        "runtimeMs": 65_000,
        "cwd": str(shop.workspace),
        "command": "sleep  1000",
        "exitCode": None,
    }


@socket_test
async def test_a_poll_gives_what_is_new(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background(
        "echo one; until test -e go; do sleep 0.01; done; echo two; exit 3"
    )
    await logged(shop, session, "one")
    assert await shop.process("poll", session) == "one\n\nProcess still running."
    quiet = "(no new output)\n\nProcess still running."
    assert await shop.process("poll", session) == quiet
    await shop.exec("touch go")
    await ended(shop, session)
    assert await shop.process("poll", session) == "two\n\nProcess exited with code 3."
    last = "(no new output)\n\nProcess exited with code 3."
    assert await shop.process("poll", session) == last
    found = await details_of(shop, "poll", sessionId=session)
    assert (found["status"], found["exitCode"]) == ("failed", 3)
    assert found["aggregated"] == "one\ntwo\n"


@socket_test
async def test_a_poll_after_a_flood_gives_what_is_kept(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background("head -c 1000000 /dev/zero | tr '\\0' x")
    await ended(shop, session)
    text = await shop.process("poll", session)
    assert text.count("x") - text.count("exited") == MAX_OUTPUT_CHARS


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "\n".join(str(n) for n in range(101, 301))),
        ({"limit": 2}, "299\n300"),
        ({"offset": 0, "limit": 2}, "1\n2"),
        ({"offset": 298}, "299\n300"),
        ({"offset": 300}, "(no output)"),
    ],
)
@socket_test
async def test_the_log_gives_lines(make_shop: MakeShop, params: Any, text: str) -> None:
    shop = make_shop(FULL)
    session = await shop.background("seq 300")
    await ended(shop, session)
    assert await shop.process("log", session, **params) == text
    found = await details_of(shop, "log", sessionId=session)
    assert found["totalLines"] == 300


@socket_test
async def test_a_silent_command_has_an_empty_log(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background("sleep 1000")
    assert await shop.process("log", session) == "(no output)"


@socket_test
async def test_a_terminal_is_typed_on(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background(
        "stty -echo; echo ready; cat -v; echo end", pty=True
    )
    await logged(shop, session, "ready")
    said = await shop.process("write", session, data="hé")
    assert said == f"Wrote 3 bytes to session {session}."
    said = await shop.process("submit", session)
    assert said == f"Submitted session {session} (sent CR)."
    await logged(shop, session, "hM-CM-)")
    said = await shop.process(
        "send-keys", session, literal="x", hex=["0x79"], keys=["Up", "Enter"]
    )
    assert said == f"Sent 6 bytes to session {session}."
    await logged(shop, session, "xy^[[A")
    said = await shop.process("paste", session, text="a\x1b[201~b")
    assert said == f"Pasted 8 chars to session {session}."
    await shop.process("submit", session)
    await logged(shop, session, "^[[200~ab^[[201~")
    await shop.process("paste", session, text="plain", bracketed=False)
    await shop.process("submit", session)
    await logged(shop, session, "\nplain")
    said = await shop.process("write", session, eof=True)
    assert said == f"Wrote 1 bytes to session {session} (end of input)."
    await ended(shop, session)
    assert (await shop.process("log", session)).endswith("end")


@socket_test
async def test_control_c_interrupts(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background("echo ready; exec sleep 1000", pty=True)
    await logged(shop, session, "ready")
    await shop.process("send-keys", session, keys=["C-c"])
    await ended(shop, session)
    text = await shop.process("poll", session)
    assert text.endswith("Process aborted by signal SIGINT.")


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("write", {"data": "x"}),
        ("send-keys", {"literal": "x"}),
        ("submit", {}),
        ("paste", {"text": "x"}),
    ],
)
@socket_test
async def test_nothing_is_typed_where_nobody_reads(
    make_shop: MakeShop, action: str, params: Any
) -> None:
    shop = make_shop(FULL)
    session = await shop.background("sleep 1000")
    with pytest.raises(ToolFailed, match="has no input; start the command with pty"):
        await shop.process(action, session, **params)
    await shop.process("kill", session)
    with pytest.raises(ToolFailed, match="has ended and takes no input"):
        await shop.process(action, session, **params)


@socket_test
async def test_what_is_typed_and_not_read_is_bounded(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background("stty raw; echo ready; sleep 1000", pty=True)
    await logged(shop, session, "ready")

    async def type_on() -> None:
        for _ in range(100):
            await shop.process("write", session, data="x" * 60_000)

    with pytest.raises(ToolFailed, match="does not read what was typed before"):
        await type_on()
    await shop.process("kill", session)


@socket_test
async def test_who_reads_on_is_typed_for_again(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background(
        "stty raw; echo ready; until test -e go; do sleep 0.01; done; cat > /dev/null",
        pty=True,
    )
    await logged(shop, session, "ready")

    async def can_type() -> bool:
        try:
            await shop.process("write", session, data="x" * 60_000)
        except ToolFailed:
            return False
        return True

    while await can_type():
        pass
    await shop.exec("touch go")
    await until_true(can_type)


@pytest.mark.parametrize("action", ["send-keys", "paste"])
@socket_test
async def test_nothing_is_not_typed(make_shop: MakeShop, action: str) -> None:
    shop = make_shop(FULL)
    session = await shop.background("sleep 1000", pty=True)
    found = await details_of(shop, action, sessionId=session)
    assert found == {"status": "failed"}


@socket_test
async def test_a_killed_command_is_gone_and_can_be_read(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background("echo hi; sleep 1000; :")
    await logged(shop, session, "hi")
    assert await shop.process("kill", session) == f"Killed session {session}."
    text = await shop.process("poll", session)
    assert text == "hi\n\nProcess aborted by signal SIGTERM."
    again = await shop.process("kill", session)
    assert again == f"Session {session} is not running."


@socket_test
async def test_only_what_has_ended_is_cleared(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    session = await shop.background("sleep 1000")
    said = await shop.process("clear", session)
    assert said == f"Session {session} is still running."
    await shop.process("kill", session)
    assert await shop.process("clear", session) == f"Cleared session {session}."
    gone = f"No session found for {session}"
    assert await shop.process("poll", session) == gone


@pytest.mark.parametrize("command", ["sleep 1000", "true"])
@socket_test
async def test_whatever_is_removed_has_ended(make_shop: MakeShop, command: str) -> None:
    shop = make_shop(FULL)
    session = await shop.background(command)
    if command == "true":
        await ended(shop, session)
    assert await shop.process("remove", session) == f"Removed session {session}."
    assert (await details_of(shop, "list"))["sessions"] == []


@pytest.mark.parametrize(
    "action", ["poll", "log", "write", "submit", "kill", "clear", "remove"]
)
@socket_test
async def test_an_agent_finds_no_other_agents_commands(
    make_shop: MakeShop, action: str
) -> None:
    shop = make_shop(FULL)
    session = await shop.background("sleep 1000")
    other = shop.context(agent_id="ops")
    result = await shop.call("process", other, action=action, sessionId=session)
    assert result.content == f"No session found for {session}"
    assert result.details == {"status": "failed"}
    listed = await shop.call("process", other, action="list")
    assert listed.content == "No running or recent sessions."
    assert "still running" in await shop.process("poll", session)


@socket_test
async def test_most_actions_need_a_session(make_shop: MakeShop) -> None:
    result = await make_shop(FULL).call("process", action="poll")
    assert result.content == "sessionId is required for this action."
    assert result.details == {"status": "failed"}


@socket_test
async def test_a_command_that_somebody_waits_for_is_left_alone(
    make_shop: MakeShop,
) -> None:
    shop = make_shop(FULL)
    # Its id is told to nobody but the log, where a model might read it.
    with LogTape() as tape:
        running = shop.begin("sleep 1000")
        await until(lambda: tape.lines)
    session = tape.lines[0].split()[3]
    said = await shop.process("kill", session)
    assert said == f"Session {session} is not backgrounded."
    running.cancel()
    running.addErrback(lambda failure: None)
    await running


@socket_test
async def test_ended_commands_are_forgotten_after_a_while(make_shop: MakeShop) -> None:
    clock = SlowTime()
    shop = make_shop({**FULL, "cleanupMs": 60_000}, clock=clock)
    session = await shop.background("true")
    await ended(shop, session)
    clock.advance(59)
    assert "exited with code 0" in await shop.process("poll", session)
    clock.advance(2)
    gone = f"No session found for {session}"
    assert await shop.process("poll", session) == gone


@socket_test
async def test_only_the_last_commands_can_be_read(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moltbot_gw.tools.process_sessions.MAX_FINISHED", 1)
    shop = make_shop(FULL)
    first = await shop.background("true")
    await ended(shop, first)
    second = await shop.background("true")
    await ended(shop, second)
    rows = (await details_of(shop, "list"))["sessions"]
    assert [row["sessionId"] for row in rows] == [second]
