"""``moltbot agent``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from moltbot_gw.cli import agent as module
from moltbot_gw.cli.main import root
from tests.cli.support import Cli
from tests.support.fake_gateway import TOKEN, Asked, Failure, FakeGateway

SAY = ("agent", "--agent", "main", "-m", "hello")


def _final(*payloads: dict[str, Any], summary: str = "completed") -> dict[str, Any]:
    result = {"payloads": list(payloads), "meta": {}}
    return {"runId": "r", "status": "ok", "summary": summary, "result": result}


def _running(*payloads: dict[str, Any]) -> Callable[[Asked], None]:
    """Answer as a run does, streaming its words on the way."""

    def answer(asked: Asked) -> None:
        run_id = asked.params["idempotencyKey"]
        asked.answer({"runId": run_id, "status": "accepted"})
        _stream(asked, "other-run", "noise", "noise")
        _stream(asked, run_id, "Hel", "Hel")
        _stream(asked, run_id, "lo", "Hello")
        _stream(asked, run_id, "Bye", "Bye")
        asked.answer(_final(*payloads))

    return answer


def _stream(asked: Asked, run_id: str, delta: object, text: str) -> None:
    data = {"delta": delta, "text": text}
    payload = {"runId": run_id, "stream": "assistant", "data": data}
    asked.peer.event("agent", {**payload, "sessionKey": "agent:main:main"})


def test_the_answer_is_written(cli: Cli, fake: FakeGateway) -> None:
    first = {"text": "Hello \n\n", "mediaUrl": "http://x/1.png"}
    second = {"text": None, "mediaUrls": ["http://x/2.png", "http://x/3.png"]}
    fake.replies["agent"] = _running(first, second)
    assert cli.succeed(*SAY) == (
        "Hello\nMEDIA:http://x/1.png\nMEDIA:http://x/2.png\nMEDIA:http://x/3.png\n"
    )
    [(_, params)] = fake.requests
    assert params == {
        "message": "hello",
        "deliver": False,
        "agentId": "main",
        "timeout": 600,
        "idempotencyKey": params["idempotencyKey"],
    }


def test_the_answer_as_json(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agent"] = _running({"text": "Hello"})
    answer = cli.json(*SAY, "--json")
    assert answer["result"]["payloads"] == [{"text": "Hello"}]


def test_every_option_is_passed_on(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agent"] = _final()
    words = [
        "agent -m hi --session-id s --session-key k --to +49 --thinking low --deliver",
        "--timeout 7 --channel c --reply-to r --reply-channel rc --reply-account ra",
        "--verbose on",
    ]
    cli.succeed(*" ".join(words).split())
    [(_, params)] = fake.requests
    params.pop("idempotencyKey")
    assert params == {
        "message": "hi",
        "deliver": True,
        "to": "+49",
        "sessionId": "s",
        "sessionKey": "k",
        "thinking": "low",
        "channel": "c",
        "replyTo": "r",
        "replyChannel": "rc",
        "replyAccountId": "ra",
        "timeout": 7,
    }


def test_the_message_may_come_from_stdin(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agent"] = _final()
    cli.succeed("agent", "--agent", "main", text="from a pipe\n")
    assert fake.requests[0][1]["message"] == "from a pipe"


def test_nobody_is_waited_for_at_a_terminal(
    cli: Cli, fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
    error = cli.fail("agent", "--agent", "main", text="not a message\n")
    assert error == "Message (--message) is required\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--agent", "m"), "Message (--message) is required"),
        (("--agent", "m", "-m", " "), "Message (--message) is required"),
        (("-m", "x"), "Pass --to <E.164>, --session-id"),
        (("-m", "x", "--to", "1", "--thinking", "deep"), "Invalid thinking level."),
        (("-m", "x", "--to", "1", "--verbose", "loud"), "Invalid verbose level."),
        (("-m", "x", "--to", "1", "--timeout", "0"), "--timeout must be a positive"),
    ],
)
def test_words_that_make_no_sense(
    cli: Cli, fake: FakeGateway, words: tuple[str, ...], error: str
) -> None:
    assert cli.fail("agent", *words).startswith(error)
    assert fake.connects == []


def test_the_agents_timeout_is_the_configured_one(cli: Cli, fake: FakeGateway) -> None:
    gateway = {"port": fake.port, "auth": {"token": TOKEN}}
    cli.configure(gateway=gateway, agents={"defaults": {"timeoutSeconds": 42}})
    fake.replies["agent"] = _final()
    cli.succeed(*SAY)
    assert fake.requests[0][1]["timeout"] == 42


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (_final(), "completed\n"),
        (_final(summary=""), "No reply from agent.\n"),
        (None, "No reply from agent.\n"),
    ],
)
def test_a_run_without_words(
    cli: Cli, fake: FakeGateway, answer: object, text: str
) -> None:
    fake.replies["agent"] = answer
    assert cli.succeed(*SAY) == text


def test_an_unknown_agent(cli: Cli, fake: FakeGateway) -> None:
    message = 'invalid agent params: unknown agent id "main"'
    fake.replies["agent"] = Failure("INVALID_REQUEST", message)
    assert cli.fail(*SAY) == (
        'Unknown agent id "main". Use "moltbot agents list" to see configured agents.\n'
    )


def test_an_unknown_agent_of_a_session_key(cli: Cli, fake: FakeGateway) -> None:
    message = 'invalid agent params: unknown agent id "zzz"'
    fake.replies["agent"] = Failure("INVALID_REQUEST", message)
    error = cli.fail("agent", "--session-key", "agent:zzz:side", "-m", "x")
    assert error.startswith('Unknown agent id "zzz". ')


@pytest.mark.parametrize("words", [(), ("-m", "caf\udce9")])
def test_a_message_that_is_not_utf_8(
    cli: Cli, fake: FakeGateway, words: tuple[str, ...]
) -> None:
    result = CliRunner().invoke(root, ("agent", "--to", "1", *words), input=b"caf\xe9")
    assert (result.exit_code, result.stderr) == (1, "The message is not UTF-8\n")
    assert fake.connects == []


def test_a_message_that_is_too_long(cli: Cli, fake: FakeGateway) -> None:
    error = cli.fail("agent", "--to", "1", text="x" * 1_000_001)
    assert error == "The message is longer than 1000000 bytes\n"


def test_a_run_that_fails(cli: Cli, fake: FakeGateway) -> None:
    payload = {"runId": "r", "status": "error"}
    fake.replies["agent"] = Failure("UNAVAILABLE", "Error: no model", {}, payload)
    assert cli.fail(*SAY) == "Error: no model\n"


def test_a_gateway_that_goes_during_the_run(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["agent"] = lambda asked: asked.peer.end(1012, "service restart")
    error = cli.fail(*SAY)
    assert error.startswith("gateway closed (1012 service restart): service restart\n")


# -- on a terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stdout that says it is a terminal."""

    class Terminal:
        def __getattr__(self, name: str) -> Any:
            import sys

            return getattr(sys.stdout, name)

        def isatty(self) -> bool:
            return True

    class Sys:
        def __getattr__(self, name: str) -> Any:
            import sys

            return Terminal() if name == "stdout" else getattr(sys, name)

    monkeypatch.setattr(module, "sys", Sys())


def test_words_are_shown_as_they_come(
    cli: Cli, fake: FakeGateway, terminal: None
) -> None:
    fake.replies["agent"] = _running({"text": "Hello"}, {"text": "Bye"})
    assert cli.succeed(*SAY) == "Hello\n\nBye\n"


def test_what_was_not_shown_is_written_at_the_end(
    cli: Cli, fake: FakeGateway, terminal: None
) -> None:
    fake.replies["agent"] = _running({"text": "A notice"}, {"text": "Bye"})
    assert cli.succeed(*SAY) == "Hello\n\nBye\nA notice\n"


def test_shown_words_need_no_payload(
    cli: Cli, fake: FakeGateway, terminal: None
) -> None:
    fake.replies["agent"] = _running()
    assert cli.succeed(*SAY) == "Hello\n\nBye\n"


def test_a_models_words_cannot_command_the_terminal(
    cli: Cli, fake: FakeGateway, terminal: None
) -> None:
    def answer(asked: Asked) -> None:
        run_id = asked.params["idempotencyKey"]
        _stream(asked, run_id, "\x1b]0;title\x07a\tb\n", "")
        _stream(asked, run_id, 7, "")
        _stream(asked, run_id, "", "")
        asked.peer.event("agent", {"runId": run_id, "stream": "lifecycle", "data": {}})
        asked.peer.event("agent", "odd")
        asked.peer.event("tick", {})
        asked.answer(_final())

    fake.replies["agent"] = answer
    assert cli.succeed(*SAY) == "]0;titlea\tb\n"


# -- Ctrl-C


def _interrupt(asked: Asked) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_aborts_the_run(cli: Cli, fake: FakeGateway, terminal: None) -> None:
    asked_for: list[Asked] = []

    def agent(asked: Asked) -> None:
        asked_for.append(asked)
        _stream(asked, asked.params["idempotencyKey"], "Hel", "Hel")
        _interrupt(asked)

    def abort(asked: Asked) -> None:
        asked.answer({"ok": True, "aborted": True})
        asked_for[0].answer(_final())

    fake.replies |= {"agent": agent, "chat.abort": abort}
    result = cli.run(*SAY)
    assert result.exit_code == 130
    assert (result.stdout, result.stderr) == ("Hel\n", "The run was aborted.\n")
    run_id = asked_for[0].params["idempotencyKey"]
    params = {"sessionKey": "agent:main:main", "runId": run_id}
    assert fake.requests[-1] == ("chat.abort", params)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("--agent", "b"), "agent:b:main"),
        (("--to", "+49"), "agent:main:main"),
        (("--session-key", "k"), "k"),
    ],
)
def test_a_second_ctrl_c_does_not_wait(
    cli: Cli, fake: FakeGateway, words: tuple[str, ...], key: str
) -> None:
    fake.replies |= {"agent": _interrupt, "chat.abort": _interrupt}
    result = cli.run("agent", "-m", "x", *words)
    assert result.exit_code == 130
    assert result.stderr == "The run was not heard to end; it may go on.\n"
    assert fake.requests[-1][1]["sessionKey"] == key


def test_sigterm_aborts_the_run(cli: Cli, fake: FakeGateway) -> None:
    asked_for: list[Asked] = []

    def agent(asked: Asked) -> None:
        asked_for.append(asked)
        os.kill(os.getpid(), signal.SIGTERM)

    def abort(asked: Asked) -> None:
        asked.answer({"ok": True, "aborted": True})
        asked_for[0].answer(_final())

    fake.replies |= {"agent": agent, "chat.abort": abort}
    result = cli.run(*SAY)
    assert (result.exit_code, result.stderr) == (143, "The run was aborted.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_gateway_has_said_hello(
    cli: Cli, fake: FakeGateway, number: signal.Signals
) -> None:
    fake.greeting = lambda asked: os.kill(os.getpid(), number)
    result = cli.run(*SAY)
    assert result.exit_code == 128 + number
    assert result.stderr == "The run was not begun.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_handlers_of_signals_are_put_back(
    cli: Cli, fake: FakeGateway, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    fake.replies["agent"] = _final()
    cli.succeed(*SAY)
    assert signal.getsignal(number) is before
