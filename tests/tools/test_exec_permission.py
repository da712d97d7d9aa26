"""Who may run what: rules, lists and operators, on real commands."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError

from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.exec_permission import Speaker, judge, judge_all
from tests.integration.waiting import next_turn, socket_test
from tests.support.gateway import LogTape
from tests.tools.shop import FULL, Shop, SlowTime

MakeShop = Callable[..., Shop]

SECURITIES = ("deny", "allowlist", "full")
ASKS = ("off", "on-miss", "always")
ECHO = os.path.realpath("/usr/bin/echo")
TOUCH = os.path.realpath("/usr/bin/touch")


# -- the rules alone

TABLE = {
    ("deny", "off"): ("deny", "deny"),
    ("deny", "on-miss"): ("deny", "deny"),
    ("deny", "always"): ("deny", "deny"),
    ("allowlist", "off"): ("deny", "allow"),
    ("allowlist", "on-miss"): ("ask", "allow"),
    ("allowlist", "always"): ("ask", "ask"),
    ("full", "off"): ("allow", "allow"),
    ("full", "on-miss"): ("allow", "allow"),
    ("full", "always"): ("ask", "ask"),
}
"""For a program that is not listed, and for one that is."""


def test_two_rules_come_to_one_judgement() -> None:
    found = {
        rules: tuple(judge(*rules, is_listed=listed) for listed in (False, True))
        for rules in itertools.product(SECURITIES, ASKS)
    }
    assert found == TABLE


speakers = st.builds(
    Speaker,
    security=st.sampled_from((None, *SECURITIES)),
    ask=st.sampled_from((None, *ASKS)),
)


@given(
    st.sampled_from(SECURITIES),
    st.sampled_from(ASKS),
    st.lists(speakers, max_size=3),
    speakers,
    st.booleans(),
)
def test_whoever_speaks_too_only_takes_away(
    security: Any, ask: Any, others: list[Speaker], one_more: Speaker, is_listed: bool
) -> None:
    order = ("allow", "ask", "deny")
    first = judge(security, ask, is_listed=is_listed)
    before = judge_all(security, ask, others, is_listed=is_listed)
    after = judge_all(security, ask, [*others, one_more], is_listed=is_listed)
    assert order.index(first) <= order.index(before) <= order.index(after)


# -- with commands


async def denial(shop: Shop, command: str = "echo hi", **params: Any) -> str:
    with pytest.raises(ToolFailed, match=r"^exec denied: ") as failed:
        await shop.exec(command, **params)
    assert shop.asked == []
    return failed.value.message


async def question(shop: Shop, command: str, **params: Any) -> Any:
    """Begin a command that must be asked for; return its future result."""
    running = shop.begin(command, **params)
    await next_turn()
    assert len(shop.asked) == 1
    return running


@socket_test
async def test_without_any_rules_unlisted_commands_are_asked_for(
    make_shop: MakeShop,
) -> None:
    shop = make_shop({})
    running = await question(shop, "echo hi", env={"FOO": "a b"})
    (asked,) = shop.asked
    assert asked.expires_at_ms - asked.created_at_ms == 120_000
    request = asked.request
    assert request.command == "FOO='a b' echo hi"
    assert request.cwd == str(shop.workspace)
    assert (request.host, request.security) == ("gateway", "allowlist")
    assert (request.ask, request.agent_id) == ("on-miss", "main")
    assert request.session_key == "agent:main:main"
    shop.answer("allow-once")
    assert (await running).content == "hi"
    assert not shop.allowlist_file.exists()


@socket_test
async def test_a_refusal_is_told(make_shop: MakeShop) -> None:
    shop = make_shop({})
    running = await question(shop, "touch made")
    assert shop.asked[0].request.resolved_path == TOUCH
    shop.answer("deny")
    with pytest.raises(ToolFailed, match="an operator refused this command"):
        await running
    assert not (shop.workspace / "made").exists()


@socket_test
async def test_silence_is_a_refusal(make_shop: MakeShop) -> None:
    clock = SlowTime()
    shop = make_shop({}, clock=clock)
    running = await question(shop, "touch made")
    clock.advance(121)
    with pytest.raises(ToolFailed, match="nobody approved it within 120 seconds"):
        await running
    assert not (shop.workspace / "made").exists()


@socket_test
async def test_cancelling_takes_the_question_back(make_shop: MakeShop) -> None:
    shop = make_shop({})
    running = await question(shop, "touch made")
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    assert shop.approvals.waiting == ()
    assert not (shop.workspace / "made").exists()


@socket_test
async def test_too_many_questions_are_a_refusal(make_shop: MakeShop) -> None:
    shop = make_shop({}, max_waiting=0)
    text = await denial(shop)
    assert "Too many approvals are waiting" in text


@socket_test
async def test_what_is_allowed_always_is_not_asked_for_again(
    make_shop: MakeShop,
) -> None:
    shop = make_shop({})
    running = await question(shop, "echo hi")
    shop.answer("allow-always")
    assert (await running).content == "hi"
    assert await shop.exec("echo other words") == "other words"
    assert len(shop.asked) == 1
    [entry] = json.loads(shop.allowlist_file.read_text())["agents"]["main"]["allowlist"]
    assert entry["pattern"] == ECHO
    running = shop.begin("echo hi", context=shop.context(agent_id="ops"))
    await next_turn()
    assert len(shop.asked) == 2
    shop.answer("deny")
    running.addErrback(lambda failure: failure.trap(ToolFailed))
    await running


@pytest.mark.parametrize("command", ["echo a; echo b", "sh -c 'echo a'", "no-such -x"])
@socket_test
async def test_what_is_no_single_program_is_allowed_once(
    make_shop: MakeShop, command: str
) -> None:
    shop = make_shop({})
    running = await question(shop, command)
    with LogTape() as tape:
        shop.answer("allow-always")
        await next_turn()
    assert any("was allowed once" in line for line in tape.lines)
    running.addErrback(lambda failure: failure.trap(ToolFailed))
    await running
    assert not shop.allowlist_file.exists()


@socket_test
async def test_a_list_that_cannot_be_written_is_told_in_the_log(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moltbot_gw.privatefile.write", fail)
    shop = make_shop({})
    running = await question(shop, "echo hi")
    with LogTape() as tape:
        shop.answer("allow-always")
        assert (await running).content == "hi"
    [problem] = tape.take_problems()
    assert "exec-approvals.json cannot be written: No space left" in problem


@socket_test
async def test_a_listed_program_runs_without_a_shell(make_shop: MakeShop) -> None:
    shop = make_shop({"ask": "off"})
    shop.list_programs(ECHO)
    text = await shop.exec("echo '$(touch made); *' \"a | b\"")
    assert text == "$(touch made); * a | b"
    assert not (shop.workspace / "made").exists()


@pytest.mark.parametrize(
    "command",
    [
        "echo a; touch made",
        "echo $(touch made)",
        "echo `touch made`",
        "echo a\ntouch made",
        "echo a > made",
        "echo a | tee made",
        "echo a && touch made",
        "FOO=1 echo a",
        "./echo",
        "touch made",
    ],
)
@pytest.mark.parametrize("pty", [False, True])
@socket_test
async def test_no_trick_goes_round_the_list(
    make_shop: MakeShop, command: str, pty: bool
) -> None:
    shop = make_shop({"ask": "off"})
    shop.list_programs(ECHO)
    (shop.workspace / "echo").symlink_to("/usr/bin/touch")
    assert "allowlist miss" in await denial(shop, command, pty=pty)
    assert not (shop.workspace / "made").exists()


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_X"])
@socket_test
async def test_a_variable_makes_no_other_program_of_a_listed_one(
    make_shop: MakeShop, name: str
) -> None:
    shop = make_shop({})
    shop.list_programs(ECHO)
    text = await denial(shop, env={name: "."})
    assert text == f"exec denied: env.{name} is not allowed with an allowlist."
    assert await shop.exec("echo hi", env={"LANG": "C"}) == "hi"


@socket_test
async def test_with_full_security_variables_are_free(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    text = await shop.exec("echo $PATH $FOO", env={"PATH": "/usr/bin", "FOO": "x"})
    assert text == "/usr/bin x"


@pytest.mark.parametrize("params", [{"security": "full"}, {"ask": "off"}])
@socket_test
async def test_the_model_cannot_free_itself(make_shop: MakeShop, params: Any) -> None:
    shop = make_shop({"ask": "off"})
    assert "allowlist miss" in await denial(shop, **params)
    other = await denial(shop, security="full", ask="on-miss")
    assert "allowlist miss" in other


@socket_test
async def test_the_model_can_bind_itself(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    assert "security=deny" in await denial(shop, security="deny")
    running = await question(shop, "echo hi", ask="always")
    shop.answer("allow-once")
    assert (await running).content == "hi"


@pytest.mark.parametrize(
    ("rules", "text"),
    [({"security": "deny"}, "security=deny"), ({"security": "allowlist"}, "miss")],
)
@socket_test
async def test_the_file_binds_an_agent_and_never_frees_it(
    make_shop: MakeShop, rules: Any, text: str
) -> None:
    shop = make_shop({**FULL, "ask": "off"})
    shop.list_programs(**rules)
    assert text in await denial(shop)
    shop.list_programs(security="full", ask="off")
    assert await shop.exec("echo hi") == "hi"


@socket_test
async def test_a_damaged_file_lets_nothing_run(make_shop: MakeShop) -> None:
    shop = make_shop(FULL)
    shop.list_programs(ECHO)
    shop.allowlist_file.write_text("{")
    text = await denial(shop)
    assert "exec-approvals.json cannot be read: it makes no sense" in text


@socket_test
async def test_the_sessions_rules_replace_the_configured_ones(
    make_shop: MakeShop,
) -> None:
    shop = make_shop({"security": "deny", "host": "sandbox"})
    free = shop.context(exec_security="full", exec_ask="off", exec_host="gateway")
    assert (await shop.call("exec", free, command="echo hi")).content == "hi"
    bound = shop.context(exec_security="full", exec_host="node")
    with pytest.raises(ToolFailed, match="exec host not available: node"):
        await shop.call("exec", bound, command="echo hi")


@socket_test
async def test_an_agents_own_rules_come_before_those_of_all(
    make_shop: MakeShop,
) -> None:
    own = {"security": "full", "ask": "off"}
    shop = make_shop(
        {"security": "deny"},
        agents=[{"id": "main", "tools": {"exec": own}}, {"id": "ops"}],
    )
    assert await shop.exec("echo hi") == "hi"
    other = shop.context(agent_id="ops")
    with pytest.raises(ToolFailed, match="security=deny"):
        await shop.call("exec", other, command="echo hi")


@socket_test
async def test_no_secret_of_the_gateway_is_in_a_commands_environment(
    make_shop: MakeShop,
) -> None:
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/home/me",
        "CLAWDBOT_GATEWAY_TOKEN": "hunter2",
        "OPENAI_API_KEY": "hunter2",
        "GH_TOKEN": "given",
        "NOTIFY_SOCKET": "/hunter2",
    }
    rules = {**FULL, "passEnv": ["GH_TOKEN"], "pathPrepend": ["/first"]}
    shop = make_shop(rules, environ=environ)
    for pty in (False, True):
        text = await shop.exec("env", pty=pty)
        seen = dict(line.split("=", 1) for line in text.split() if "=" in line)
        assert seen["GH_TOKEN"] == "given"
        assert seen["HOME"] == "/home/me"
        assert seen["PATH"] == "/first:/usr/bin:/bin"
        assert "hunter2" not in text
