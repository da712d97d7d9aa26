"""``moltbot sessions``."""

from __future__ import annotations

import json

import pytest

from moltbot_gw.cli.output import age, age_of, shorten, thousands
from moltbot_gw.cli.transcript import transcript_text
from tests.cli.support import Cli
from tests.support.fake_gateway import Failure, FakeGateway


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stdin that says it is a terminal."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)


LISTED = {
    "ts": 1_000_000_000,
    "path": "/state/sessions.db",
    "count": 2,
    "defaults": {"model": "m1", "contextTokens": 200_000},
    "sessions": [
        {
            "key": "agent:main:main",
            "kind": "direct",
            "updatedAt": 1_000_000_000 - 120_000,
            "sessionId": "0d4c",
            "thinkingLevel": "low",
            "totalTokens": 12_000,
            "displayName": "not shown",
        },
        {
            "key": "agent:main:a-very-long-key-that-goes-on",
            "kind": "direct",
            "updatedAt": None,
            "model": "m2",
            "contextTokens": 0,
            "totalTokens": 0,
            "systemSent": True,
            "abortedLastRun": True,
        },
    ],
}


def test_sessions_for_people(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["sessions.list"] = LISTED
    assert cli.succeed("sessions").splitlines() == [
        "Session store: /state/sessions.db",
        "Sessions listed: 2",
        "Kind   Key                        Age       Model          "
        "Tokens (ctx %)       Flags",
        "direct agent:main:main            2m ago    m1             "
        "12k/200k (6%)        think:low id:0d4c",
        "direct agent:main:a-ver...oes-on  unknown   m2             "
        "-                    system aborted",
    ]
    assert fake.requests == [
        ("sessions.list", {"includeGlobal": True, "includeUnknown": True})
    ]


def test_sessions_as_json(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["sessions.list"] = LISTED
    page = cli.json("sessions", "--json")
    assert (page["count"], page["activeMinutes"]) == (2, None)
    assert page["sessions"][0] == {
        "key": "agent:main:main",
        "kind": "direct",
        "updatedAt": 999_880_000,
        "ageMs": 120_000,
        "sessionId": "0d4c",
        "thinkingLevel": "low",
        "totalTokens": 12_000,
        "model": "m1",
        "contextTokens": 200_000,
    }


def test_sessions_are_filtered_by_the_gateway(cli: Cli, fake: FakeGateway) -> None:
    empty = {"ts": 1, "path": "/p", "count": 0, "sessions": []}
    fake.replies["sessions.list"] = empty
    words = ("--active", "5", "--limit", "3", "--agent", "b", "--search", "x")
    assert cli.succeed("sessions", "list", *words).splitlines()[2:] == [
        "Filtered to last 5 minutes",
        "No sessions found.",
    ]
    [(_, params)] = fake.requests
    assert (params["activeMinutes"], params["limit"]) == (5, 3)
    assert (params["agentId"], params["search"]) == ("b", "x")


@pytest.mark.parametrize("minutes", ["0", "-1", "x", "1.5"])
def test_active_minutes_are_a_positive_integer(cli: Cli, minutes: str) -> None:
    error = cli.fail("sessions", f"--active={minutes}")
    assert error == "--active must be a positive integer (minutes)\n"


MESSAGES = [
    {"role": "user", "content": "hello", "timestamp": 1769700000000},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "Let me look.\n"},
            {"type": "toolCall", "name": "read", "arguments": {"path": "a"}},
        ],
        "timestamp": "2026-01-29T15:20:00Z",
    },
    {"role": "toolResult", "toolName": "read", "content": [{"type": "text"}]},
    {"role": "assistant", "content": None, "errorMessage": "overloaded"},
    {"role": "assistant", "content": [{"x": 1}, 3], "timestamp": 10**30},
    "nonsense",
]


def test_a_conversation_for_reading(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["chat.history"] = {"sessionId": "s", "messages": MESSAGES}
    assert cli.succeed("sessions", "show", "main", "--limit", "9").splitlines() == [
        "user · 2026-01-29 15:20:00Z",
        "hello",
        "",
        "assistant · 2026-01-29T15:20:00Z",
        "[thinking]",
        "Let me look.",
        "",
        '[call read {"path": "a"}]',
        "",
        "toolResult read",
        "",
        "assistant",
        "[error: overloaded]",
        "",
        "assistant",
        "[unknown]",
    ]
    assert fake.requests == [("chat.history", {"sessionKey": "main", "limit": 9})]
    assert cli.json("sessions", "show", "main", "--json")["sessionId"] == "s"


def test_a_long_call_is_cut() -> None:
    call = {"type": "toolCall", "name": "x", "arguments": {"text": "y" * 500}}
    text = transcript_text([{"role": "assistant", "content": [call]}])
    assert text.endswith("yyy...]")
    assert len(text) < 250


def test_a_conversation_as_json_lines(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["chat.history"] = {"sessionId": "s", "messages": MESSAGES[:2]}
    lines = cli.succeed("sessions", "export", "main").splitlines()
    assert [json.loads(line) for line in lines] == MESSAGES[:2]


@pytest.mark.parametrize("verb", ["show", "export"])
def test_a_conversation_that_is_not_there(
    cli: Cli, fake: FakeGateway, verb: str
) -> None:
    fake.replies["chat.history"] = {"messages": []}
    assert cli.fail("sessions", verb, "nope") == "No such session: nope\n"


def test_a_conversation_begins_afresh(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["sessions.resolve"] = {"ok": True, "key": "agent:main:main"}
    fake.replies["sessions.reset"] = {"ok": True, "key": "agent:main:main"}
    assert cli.succeed("sessions", "reset", "main") == "Reset agent:main:main\n"
    assert cli.json("sessions", "reset", "main", "--json")["ok"] is True


def test_a_conversation_that_is_not_there_is_not_begun(
    cli: Cli, fake: FakeGateway
) -> None:
    none = Failure("INVALID_REQUEST", "No session found: x")
    fake.replies["sessions.resolve"] = none
    assert cli.fail("sessions", "reset", "x") == "No such session: x\n"
    fake.replies["sessions.resolve"] = Failure("UNAVAILABLE", "store is broken")
    assert cli.fail("sessions", "reset", "x") == "store is broken\n"
    assert {method for method, _ in fake.requests} == {"sessions.resolve"}


def test_a_conversation_is_deleted(cli: Cli, fake: FakeGateway, terminal: None) -> None:
    fake.replies["sessions.delete"] = {
        "ok": True,
        "key": "agent:main:x",
        "deleted": True,
    }
    assert cli.succeed("sessions", "delete", "x", "--yes") == "Deleted agent:main:x\n"
    assert (
        cli.succeed("sessions", "delete", "x", text="y\n") == "Deleted agent:main:x\n"
    )
    assert cli.json("sessions", "delete", "x", "--yes", "--json")["deleted"] is True
    assert fake.requests[0][1] == {"key": "x", "deleteTranscript": True}


def test_nothing_is_deleted_that_is_not_meant(
    cli: Cli, fake: FakeGateway, terminal: None
) -> None:
    assert cli.run("sessions", "delete", "x", text="n\n").exit_code == 130
    assert fake.requests == []


def test_nothing_is_deleted_where_nobody_can_be_asked(
    cli: Cli, fake: FakeGateway
) -> None:
    assert "--yes" in cli.fail("sessions", "delete", "x", text="y\n")
    assert fake.requests == []


def test_options_before_a_sub_command_count_for_it(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["sessions.list"] = LISTED
    assert cli.json("sessions", "--json", "--active", "5", "list")["activeMinutes"] == 5


def test_what_is_not_there_cannot_be_deleted(cli: Cli, fake: FakeGateway) -> None:
    fake.replies["sessions.delete"] = {"ok": True, "key": "x", "deleted": False}
    assert cli.fail("sessions", "delete", "x", "--yes") == "No such session: x\n"


@pytest.mark.parametrize(
    ("passed_ms", "words"),
    [
        (59_999, "just now"),
        (60_000, "1m ago"),
        (3_600_000, "1h ago"),
        (47 * 3_600_000, "47h ago"),
        (48 * 3_600_000, "2d ago"),
    ],
)
def test_ages(passed_ms: int, words: str) -> None:
    assert age_of(passed_ms) == age(0, passed_ms) == words


@pytest.mark.parametrize(
    ("tokens", "words"),
    [(950, "950"), (1500, "1.5k"), (2000, "2k"), (12_000, "12k"), (2_000_000, "2.0m")],
)
def test_numbers_of_tokens(tokens: int, words: str) -> None:
    assert thousands(tokens) == words


def test_long_texts_are_shortened() -> None:
    assert shorten("a" * 30, 26) == "a" * 16 + "..." + "a" * 6
    assert shorten("a" * 30, 10) == "a" * 10


def test_tokens_without_a_known_context(cli: Cli, fake: FakeGateway) -> None:
    row = {"key": "k", "kind": "direct", "updatedAt": 5, "totalTokens": 1500}
    fake.replies["sessions.list"] = {"ts": 1, "path": "/p", "sessions": [row]}
    last = cli.succeed("sessions").splitlines()[-1]
    assert last.split() == ["direct", "k", "just", "now", "-", "1.5k"]
