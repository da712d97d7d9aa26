from __future__ import annotations

from typing import Any

import pytest

from moltbot_gw.errors import StoreFailed
from moltbot_gw.events import Usage
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from tests.ws.methods.support import KEY, NOW_MS, STORE_PATH, Desk, caller_of, wait

READER = caller_of("read")
USAGE = Usage(prompt_tokens=200, completion_tokens=50, total_tokens=250)


def keys(desk: Desk, **params: Any) -> list[str]:
    told = desk.ask("sessions.list", params, READER)
    assert told["count"] == len(told["sessions"])
    return [row["key"] for row in told["sessions"]]


def settings(desk: Desk, key: str, **changes: str) -> None:
    wait(
        desk.store.patch(
            key, changes, agent_id="main", new_session_id=key, now_ms=NOW_MS
        )
    )


def items(desk: Desk, *messages: Any, **params: Any) -> list[tuple[str, str]]:
    desk.turn(*messages)
    [preview] = desk.ask("sessions.preview", {"keys": ["main"], **params})["previews"]
    return [(item["role"], item["text"]) for item in preview["items"]]


def test_list_shows_sessions_with_their_settings(desk: Desk) -> None:
    desk.turn(usage=USAGE)
    settings(
        desk,
        KEY,
        label="home",
        thinking_level="high",
        verbose_level="on",
        reasoning_level="stream",
        elevated_level="ask",
        response_usage="full",
        send_policy="deny",
        spawned_by="x",
        exec_host="node",
    )
    assert desk.ask("sessions.list", {}, READER) == {
        "ts": NOW_MS,
        "path": STORE_PATH,
        "count": 1,
        "defaults": {"modelProvider": "local", "model": "m1", "contextTokens": 100_000},
        "sessions": [
            {
                "key": KEY,
                "kind": "direct",
                "sessionId": "id-1",
                "updatedAt": NOW_MS,
                "abortedLastRun": False,
                "inputTokens": 200,
                "outputTokens": 50,
                "totalTokens": 250,
                "modelProvider": "local",
                "model": "m1",
                "contextTokens": 100_000,
                "label": "home",
                "thinkingLevel": "high",
                "verboseLevel": "on",
                "reasoningLevel": "stream",
                "elevatedLevel": "ask",
                "responseUsage": "full",
                "sendPolicy": "deny",
                "spawnedBy": "x",
            }
        ],
    }


def test_chosen_model_counts_before_that_of_the_last_run(desk: Desk) -> None:
    desk.turn()
    settings(desk, KEY, model="openai/gpt-5.2")
    [row] = desk.ask("sessions.list")["sessions"]
    assert (row["modelProvider"], row["model"]) == ("openai", "gpt-5.2")


def test_session_without_a_run_has_no_model(desk: Desk) -> None:
    settings(desk, KEY)
    [row] = desk.ask("sessions.list")["sessions"]
    assert {"model", "modelProvider", "contextTokens"}.isdisjoint(row)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("agent:main:x:group:1", "group"),
        ("agent:main:x:channel:1", "group"),
        ("agent:main:openai:1", "direct"),
        ("global", "global"),
        ("unknown", "unknown"),
    ],
)
def test_kind_of_a_session(desk: Desk, key: str, kind: str) -> None:
    desk.turn(key=key)
    told = desk.ask("sessions.list", {"includeGlobal": True, "includeUnknown": True})
    assert told["sessions"][0]["kind"] == kind


@pytest.fixture
def several(desk: Desk) -> Desk:
    """Five sessions, the oldest first."""
    names = ("agent:main:a", "agent:main:b", "agent:ops:c", "global", "unknown")
    for minutes, key in enumerate(names):
        agent_id = "ops" if ":ops:" in key else "main"
        desk.turn(
            key=key,
            session_id=f"id-{key}",
            agent_id=agent_id,
            at_ms=NOW_MS - 600_000 + minutes * 60_000,
        )
    return desk


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["agent:ops:c", "agent:main:b", "agent:main:a"]),
        ({"limit": 1}, ["agent:ops:c"]),
        ({"limit": 10**30}, ["agent:ops:c", "agent:main:b", "agent:main:a"]),
        ({"activeMinutes": 9}, ["agent:ops:c", "agent:main:b"]),
        ({"includeGlobal": True, "limit": 1}, ["global"]),
        ({"includeUnknown": True, "limit": 1}, ["unknown"]),
        ({"agentId": "OPS"}, ["agent:ops:c"]),
        ({"agentId": "main"}, ["agent:main:b", "agent:main:a"]),
        ({"search": "MAIN:B"}, ["agent:main:b"]),
        ({"search": "id-agent:main:a"}, ["agent:main:a"]),
        ({"search": "  "}, ["agent:ops:c", "agent:main:b", "agent:main:a"]),
        ({"label": "home"}, []),
        ({"spawnedBy": "x"}, []),
    ],
)
def test_filters_of_the_list(
    several: Desk, params: dict[str, Any], expected: list[str]
) -> None:
    assert keys(several, **params) == expected


def test_list_finds_labels_and_parents(several: Desk) -> None:
    settings(several, "agent:main:a", label="Home", spawned_by="p")
    assert keys(several, label="Home") == ["agent:main:a"]
    assert keys(several, label="home") == []
    assert keys(several, search="home") == ["agent:main:a"]
    assert keys(several, spawnedBy="p") == ["agent:main:a"]


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 1.5},
        {"activeMinutes": 0},
        {"label": ""},
        {"label": "x" * 65},
        {"agentId": ""},
        {"includeGlobal": 1},
        {"what": 1},
    ],
)
def test_list_is_strict(desk: Desk, params: Any) -> None:
    code, message = desk.refusal("sessions.list", params)
    assert code == "INVALID_REQUEST"
    assert message.startswith("invalid sessions.list params: ")


def told_of(desk: Desk, **params: Any) -> dict[str, Any]:
    [row] = desk.ask("sessions.list", params)["sessions"]
    return {
        name: row[name]
        for name in ("derivedTitle", "lastMessagePreview")
        if name in row
    }


def test_rows_tell_of_transcripts_when_asked(desk: Desk) -> None:
    desk.turn(AssistantMessage("fine,\nthanks"), said="how  are\nyou?")
    assert told_of(desk) == {}
    assert told_of(desk, includeDerivedTitles=True) == {"derivedTitle": "how are you?"}
    assert told_of(desk, includeLastMessage=True) == {
        "lastMessagePreview": "fine, thanks"
    }


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("word " * 20, "word " * 10 + "word…"),
        ("x" * 70, "x" * 59 + "…"),
        ("x" * 60, "x" * 60),
        ("[WebChat Eve] hi", "hi"),
        (" ", "id-1 (2026-01-30)"),
    ],
)
def test_title_is_made_of_the_first_words(desk: Desk, said: str, title: str) -> None:
    desk.turn(said=said)
    assert told_of(desk, includeDerivedTitles=True) == {"derivedTitle": title}


def test_session_without_words_has_a_plain_title_and_no_preview(desk: Desk) -> None:
    settings(desk, KEY)
    told = told_of(desk, includeDerivedTitles=True, includeLastMessage=True)
    assert told == {"derivedTitle": "agent:ma (2026-01-30)"}


def test_title_is_made_of_the_words_of_the_user(desk: Desk) -> None:
    settings(desk, KEY)
    wait(desk.store.inject(KEY, AssistantMessage("welcome"), "inject-1", NOW_MS))
    wanted = {"includeDerivedTitles": True}
    assert told_of(desk, **wanted) == {"derivedTitle": "agent:ma (2026-01-30)"}
    desk.turn(said="thanks", session_id=KEY)
    assert told_of(desk, **wanted) == {"derivedTitle": "thanks"}


def test_title_of_a_long_conversation_is_plain(desk: Desk) -> None:
    desk.turn(*[AssistantMessage("x") for _ in range(250)])
    assert told_of(desk, includeDerivedTitles=True) == {
        "derivedTitle": "id-1 (2026-01-30)"
    }


def test_last_words_pass_over_tools(desk: Desk) -> None:
    call = AssistantMessage("", tool_calls=(ToolCall("1", "look", "{}"),))
    desk.turn(AssistantMessage("y" * 200), call, ToolMessage("seen", "1", "look"))
    told = told_of(desk, includeLastMessage=True)
    assert told == {"lastMessagePreview": "y" * 117 + "..."}


def test_damaged_transcript_does_not_spoil_the_list(desk: Desk) -> None:
    desk.turn()

    def damaged(session_key: str, limit: int) -> Any:
        raise StoreFailed("damaged")

    desk.store.transcript = damaged  # type: ignore[method-assign]
    told = told_of(desk, includeDerivedTitles=True, includeLastMessage=True)
    assert told == {"derivedTitle": "id-1 (2026-01-30)"}


def test_only_the_first_rows_tell_of_their_transcripts(desk: Desk) -> None:
    for number in range(102):
        desk.turn(key=f"agent:main:{number}", session_id=f"id-{number}")
    rows = desk.ask("sessions.list", {"includeDerivedTitles": True})["sessions"]
    assert [("derivedTitle" in row) for row in rows] == [True] * 100 + [False] * 2


def test_preview_shows_the_end_of_sessions(desk: Desk) -> None:
    desk.turn()
    settings(desk, "agent:main:blank")
    wanted = ["main", KEY, "blank", "nothing", "cron:x"]
    told = desk.ask("sessions.preview", {"keys": wanted}, READER)
    said = [{"role": "user", "text": "hello"}, {"role": "assistant", "text": "hi"}]
    assert told == {
        "ts": NOW_MS,
        "previews": [
            {"key": "main", "status": "ok", "items": said},
            {"key": KEY, "status": "ok", "items": said},
            {"key": "blank", "status": "empty", "items": []},
            {"key": "nothing", "status": "missing", "items": []},
            {"key": "cron:x", "status": "missing", "items": []},
        ],
    }


def test_preview_that_cannot_be_read(desk: Desk) -> None:
    desk.store.failure = StoreFailed("damaged")
    assert desk.ask("sessions.preview", {"keys": ["main"]})["previews"] == [
        {"key": "main", "status": "error", "items": []}
    ]


def test_preview_of_calls_results_and_pictures(desk: Desk) -> None:
    def calls(*names: str) -> AssistantMessage:
        return AssistantMessage(
            tool_calls=tuple(ToolCall(name, name, "{}") for name in names)
        )

    found = items(
        desk,
        calls("look"),
        calls("look", "read", "write", "run"),
        ToolMessage("seen", "1"),
        UserMessage((ImagePart("data:image/png;base64,AA=="),)),
        UserMessage((TextPart("see"), ImagePart("data:image/png;base64,AA=="))),
        UserMessage(()),
        AssistantMessage(""),
    )
    assert found == [
        ("user", "hello"),
        ("tool", "call look"),
        ("tool", "call look, read +2"),
        ("tool", "seen"),
        ("user", "[image]"),
        ("user", "see"),
    ]


def test_preview_is_cut(desk: Desk) -> None:
    long = AssistantMessage("x" * 3000)
    assert items(desk, long, maxChars=20) == [
        ("user", "hello"),
        ("assistant", "x" * 17 + "..."),
    ]


def test_preview_is_never_longer_than_the_gateway_wants(desk: Desk) -> None:
    many = [AssistantMessage("x" * 3000) for _ in range(80)]
    found = items(desk, *many, maxChars=10**9, limit=10**9)
    assert len(found) == 50
    assert {len(text) for _, text in found} == {2000}


def test_preview_looks_at_the_first_keys_only(desk: Desk) -> None:
    wanted = [str(number) for number in range(70)]
    told = desk.ask("sessions.preview", {"keys": wanted})
    assert [one["key"] for one in told["previews"]] == wanted[:64]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"keys": []},
        {"keys": [""]},
        {"keys": ["a"], "limit": 0},
        {"keys": ["a"], "maxChars": 19},
        {"keys": ["a"], "what": 1},
    ],
)
def test_preview_is_strict(desk: Desk, params: Any) -> None:
    _, message = desk.refusal("sessions.preview", params)
    assert message.startswith("invalid sessions.preview params: ")


@pytest.mark.parametrize(
    ("params", "key"),
    [
        ({"key": "a"}, "agent:main:a"),
        ({"key": "agent:ops:c"}, "agent:ops:c"),
        ({"sessionId": "id-agent:main:b"}, "agent:main:b"),
        ({"sessionId": "agent:main:b"}, "agent:main:b"),
        ({"label": "home"}, "agent:main:a"),
        ({"sessionId": "id-global", "includeGlobal": True}, "global"),
        ({"sessionId": "id-unknown", "includeUnknown": True}, "unknown"),
    ],
)
def test_resolve_finds_a_session(several: Desk, params: Any, key: str) -> None:
    settings(several, "agent:main:a", label="home")
    assert several.ask("sessions.resolve", params) == {"ok": True, "key": key}


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({}, "Either key, sessionId, or label is required"),
        (
            {"key": "a", "label": "x"},
            "Provide either key, sessionId, or label (not multiple)",
        ),
        ({"key": "nothing"}, "No session found: nothing"),
        ({"sessionId": "id-9"}, "No session found: id-9"),
        ({"sessionId": "id-global"}, "No session found: id-global"),
        ({"label": "x"}, "No session found with label: x"),
        (
            {"label": "home", "agentId": "ops"},
            "No session found with label: home",
        ),
        (
            {"label": "home", "spawnedBy": "x"},
            "No session found with label: home",
        ),
        (
            {"label": "twice"},
            "Multiple sessions found with label: twice (agent:ops:y, agent:main:x)",
        ),
        (
            {"sessionId": "same"},
            "Multiple sessions found for sessionId: same (agent:ops:y, agent:main:x)",
        ),
    ],
)
def test_resolve_says_why_not(several: Desk, params: Any, problem: str) -> None:
    settings(several, "agent:main:a", label="home")
    for agent_id, key in (("main", "agent:main:x"), ("ops", "agent:ops:y")):
        several.clock.advance(1)
        several.turn(
            key=key,
            session_id="same",
            agent_id=agent_id,
            at_ms=int(several.now() * 1000),
        )
        wait(
            several.store.patch(
                key,
                {"label": "twice"},
                agent_id=agent_id,
                new_session_id="same",
                now_ms=NOW_MS,
            )
        )
    assert several.refusal("sessions.resolve", params) == ("INVALID_REQUEST", problem)


def test_resolve_is_not_advertised(desk: Desk) -> None:
    assert "sessions.resolve" not in desk.table().advertised
    assert "sessions.list" in desk.table().advertised


@pytest.mark.parametrize("key", ["cron:x", "a\nb", "x" * 513, " "])
@pytest.mark.parametrize(
    "method",
    ["sessions.resolve", "sessions.patch", "sessions.reset", "sessions.delete"],
)
def test_key_that_no_client_may_name(desk: Desk, method: str, key: str) -> None:
    code, message = desk.refusal(method, {"key": key})
    assert code == "INVALID_REQUEST"
    assert message.startswith(f"invalid {method} params: at /")


@pytest.mark.parametrize(
    ("method", "right"),
    [
        ("sessions.list", "read"),
        ("sessions.preview", "read"),
        ("sessions.resolve", "admin"),
        ("sessions.patch", "admin"),
        ("sessions.reset", "admin"),
        ("sessions.delete", "admin"),
        ("sessions.compact", "admin"),
    ],
)
def test_methods_of_sessions_need_their_scope(
    desk: Desk, method: str, right: str
) -> None:
    scopes = ("pairing",) if right == "read" else ("write", "read")
    assert desk.refusal(method, {}, caller_of(*scopes)) == (
        "INVALID_REQUEST",
        f"missing scope: operator.{right}",
    )
