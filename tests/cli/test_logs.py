"""``moltbot logs``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moltbot_gw.cli import logs as module
from moltbot_gw.cli.loglines import parse_line
from moltbot_gw.cli.logs import Tail, TextPrinter
from moltbot_gw.cli.reach import Reach
from moltbot_gw.client import ConnectFailed, GatewayClosed, Target
from moltbot_gw.config import Secret
from tests.cli.support import Cli
from tests.support.fake_gateway import TOKEN, Asked, Failure, FakeGateway

TWISTED = "2026-01-29T15:20:01+0000 [moltbot_gw.http.site#info] run r1 ended: ok"
RECORD = json.dumps(
    {
        "0": '{"subsystem":"gateway/ws"}',
        "1": "client connected",
        "2": {"id": 7},
        "_meta": {"logLevelName": "INFO", "date": "2026-01-29T15:20:02Z"},
        "time": "2026-01-29T15:20:02.000Z",
    }
)


def _tail(*lines: str, **more: Any) -> dict[str, Any]:
    tail = {"file": "/log", "cursor": 10, "size": 10, "truncated": False}
    return {**tail, "reset": False, "lines": list(lines), **more}


def test_logs_for_people(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["logs.tail"] = _tail(TWISTED, RECORD, "  a traceback's line")
    assert cli.succeed("logs", "--limit", "3", "--max-bytes", "99").splitlines() == [
        "Log file: /log",
        "2026-01-29T15:20:01+0000 info moltbot_gw.http.site run r1 ended: ok",
        '2026-01-29T15:20:02.000Z info gateway/ws client connected {"id": 7}',
        "  a traceback's line",
    ]
    assert fake.requests == [("logs.tail", {"limit": 3, "maxBytes": 99})]


def test_logs_as_json(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["logs.tail"] = _tail(TWISTED, "odd", truncated=True)
    lines = [json.loads(line) for line in cli.succeed("logs", "--json").splitlines()]
    assert lines == [
        {"type": "meta", "file": "/log", "cursor": 10, "size": 10},
        {"type": "notice", "message": "Log tail truncated (increase --max-bytes)."},
        {
            "type": "log",
            "time": "2026-01-29T15:20:01+0000",
            "level": "info",
            "subsystem": "moltbot_gw.http.site",
            "message": "run r1 ended: ok",
            "raw": TWISTED,
        },
        {"type": "raw", "raw": "odd"},
    ]


def test_a_gateway_without_a_log_file(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["logs.tail"] = _tail(file="")
    result = cli.run("logs")
    assert (result.exit_code, result.stdout) == (0, "Log file: none\n")
    assert result.stderr == "The gateway keeps no log file.\n"


def test_following_asks_with_the_cursor(cli: Cli, fake: FakeGateway) -> None:
    answers = [
        _tail("one"),
        _tail("two", cursor=20),
        _tail("three", cursor=3, reset=True),
        _tail(cursor=3, file="/log.2"),
        Failure("UNAVAILABLE", "log read failed: gone"),
    ]

    def answer(asked: Asked) -> None:
        asked.answer(answers.pop(0))

    fake.replies["logs.tail"] = answer
    result = cli.run("logs", "--follow", "--interval", "10")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "Log file: /log",
        "one",
        "two",
        "three",
        "Log file: /log.2",
    ]
    assert result.stderr == (
        "Log cursor reset (file rotated).\nlog read failed: gone\n"
    )
    cursors = [params.get("cursor") for _, params in fake.requests]
    assert cursors == [None, 10, 20, 3, 3]


def _scripted(fake: FakeGateway, *steps: Any) -> None:
    """Answer each look with the next step; None restarts the gateway."""
    left = list(steps)

    def answer(asked: Asked) -> None:
        step = left.pop(0)
        if step is None:
            asked.peer.end(1012, "service restart")
        else:
            asked.answer(step)

    fake.replies["logs.tail"] = answer


def test_following_goes_on_after_a_restart(cli: Cli, fake: FakeGateway) -> None:
    end = Failure("UNAVAILABLE", "log read failed: gone")
    _scripted(fake, _tail("one"), None, None, _tail("two", cursor=20), end)
    result = cli.run("logs", "--follow", "--interval", "10")
    assert result.stdout.splitlines() == ["Log file: /log", "one", "two"]
    gone = "gateway closed (1012 service restart): service restart; trying again in"
    assert result.stderr.splitlines() == [
        f"{gone} 0.01 s",
        f"{gone} 0.02 s",
        "Connected again.",
        "log read failed: gone",
    ]
    assert [params.get("cursor") for _, params in fake.requests][-2:] == [10, 20]


def test_following_ends_when_the_secret_is_another_after_a_restart(
    cli: Cli, fake: FakeGateway
) -> None:
    def change(asked: Asked) -> None:
        fake.tokens = set()
        asked.peer.end(1012, "service restart")

    fake.replies["logs.tail"] = lambda asked: (
        change(asked) if "cursor" in asked.params else asked.answer(_tail("one"))
    )
    result = cli.run("logs", "--follow", "--interval", "10")
    assert result.exit_code == 1
    assert "unauthorized" in result.stderr


def test_the_pause_between_two_tries_is_bounded() -> None:
    """The gateway answers once, and is down from then on."""
    clock = Clock()
    reach = Reach(
        target=Target(url="ws://127.0.0.1:1", token=Secret(TOKEN)),
        source="",
        config_path=Path("/c"),
        bind=None,
        timeout=1.0,
    )
    tail = Tail(reach, TextPrinter(pretty=False), {})
    pauses: list[float] = []
    tries = 0

    async def connect(*args: Any, **more: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries > 1:
            raise ConnectFailed(1006, "connection refused")
        return _Once()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "connect", connect)
        waiting = Deferred.fromCoroutine(tail.run(clock, 1.0))
        for _ in range(9):
            [call] = clock.getDelayedCalls()
            pauses.append(call.getTime() - clock.seconds())
            clock.advance(pauses[-1])
    assert pauses == [1, 1, 2, 4, 8, 16, 30, 30, 30]
    waiting.addErrback(lambda _: None)
    waiting.cancel()


class _Once:
    """A connection whose gateway goes after the first look."""

    def __init__(self) -> None:
        self._answers = [_tail()]

    async def request(self, *args: Any, **more: Any) -> Any:
        if not self._answers:
            raise GatewayClosed(1012, "service restart")
        return self._answers.pop()

    async def close(self) -> None:
        pass


def test_a_gateway_that_is_down_as_json(cli: Cli) -> None:
    cli.configure(gateway={"port": 1, "auth": {"token": TOKEN}})
    error = json.loads(cli.fail("logs", "--json"))
    assert error["type"] == "error"
    assert "connection refused" in error["error"]
    assert "ws://127.0.0.1:1" in error["details"]


def test_the_time_of_day_for_a_terminal() -> None:
    line = parse_line(TWISTED)
    assert line.text(pretty=True) == (
        "15:20:01 info moltbot_gw.http.site run r1 ended: ok"
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('{"0":"plain","_meta":{},"time":3}', "plain"),
        ('{"0":"{not json","1":"x"}', "{not json x"),
        ('{"0":"{}","1":"x"}', "{} x"),
        ('{"10":"b","2":"a"}', "a b"),
        ('{"a":1}', '{"a":1}'),
        ("[1]", "[1]"),
        ("2026-01-29T15:20:01Z [-] said", "2026-01-29T15:20:01Z - said"),
        ('{"0":"x","_meta":3}', "x"),
    ],
)
def test_lines_of_other_shapes(raw: str, text: str) -> None:
    assert parse_line(raw).text(pretty=False) == text


@given(
    st.text(max_size=200) | st.dictionaries(st.text(), st.integers()).map(json.dumps)
)
def test_any_line_can_be_shown(raw: str) -> None:
    line = parse_line(raw)
    assert line.raw == raw
    assert line.to_json()["raw"] == raw
    line.text(pretty=True)
