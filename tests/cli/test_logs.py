"""``moltbot logs``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.cli.loglines import parse_line
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
