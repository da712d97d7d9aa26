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
from moltbot_gw.ws.methods.history import MAX_HISTORY_BYTES
from tests.ws.methods.support import KEY, NOW_MS, TREE, Desk, caller_of, wait

READER = caller_of("read")
NO_COST = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}
NO_USAGE = {
    "input": 0,
    "output": 0,
    "cacheRead": 0,
    "cacheWrite": 0,
    "totalTokens": 0,
    "cost": NO_COST,
}


def history(desk: Desk, **params: Any) -> list[Any]:
    told = desk.ask("chat.history", {"sessionKey": "main", **params}, READER)
    return told["messages"]  # type: ignore[no-any-return]


def texts(messages: list[Any]) -> list[str]:
    return [message["content"][0]["text"] for message in messages]


def test_history_is_told_under_the_key_that_the_client_gave(desk: Desk) -> None:
    desk.turn()
    told = desk.ask("chat.history", {"sessionKey": " main "}, READER)
    assert told.pop("messages")
    assert told == {
        "sessionKey": " main ",
        "sessionId": "id-1",
        "thinkingLevel": "off",
    }


def test_history_of_an_unknown_session_is_empty(desk: Desk) -> None:
    for key in ("nothing", "agent:nobody:x"):
        assert desk.ask("chat.history", {"sessionKey": key}) == {
            "sessionKey": key,
            "messages": [],
            "thinkingLevel": "off",
        }


def test_messages_of_a_turn(desk: Desk) -> None:
    usage = Usage(
        prompt_tokens=1000, completion_tokens=200, total_tokens=1200, cached_tokens=400
    )
    desk.turn(
        AssistantMessage(
            "so be it",
            "let me see",
            (ToolCall("c1", "look", '{"at": "it"}'),),
            stop_reason="tool_calls",
        ),
        ToolMessage("seen", "c1", "look"),
        usage=usage,
    )
    assert history(desk) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "hello"}],
            "timestamp": NOW_MS,
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "let me see"},
                {"type": "text", "text": "so be it"},
                {
                    "type": "toolCall",
                    "id": "c1",
                    "name": "look",
                    "arguments": {"at": "it"},
                },
            ],
            "api": "openai-completions",
            "provider": "local",
            "model": "m1",
            "usage": {
                "input": 600,
                "output": 200,
                "cacheRead": 400,
                "cacheWrite": 0,
                "totalTokens": 1200,
                "cost": {
                    "input": pytest.approx(0.0012),
                    "output": pytest.approx(0.002),
                    "cacheRead": pytest.approx(0.0004),
                    "cacheWrite": 0,
                    "total": pytest.approx(0.0036),
                },
            },
            "stopReason": "toolUse",
            "timestamp": NOW_MS,
        },
        {
            "role": "toolResult",
            "toolCallId": "c1",
            "toolName": "look",
            "content": [{"type": "text", "text": "seen"}],
            "isError": False,
            "timestamp": NOW_MS,
        },
    ]


def test_result_without_names(desk: Desk) -> None:
    desk.turn(ToolMessage("seen"))
    result = history(desk)[1]
    assert (result["toolCallId"], result["toolName"]) == ("", "")


@pytest.mark.parametrize("arguments", ["{", "[1]", "", "[" * 9999])
def test_call_with_arguments_that_are_no_object(desk: Desk, arguments: str) -> None:
    desk.turn(AssistantMessage(tool_calls=(ToolCall("c1", "look", arguments),)))
    assert history(desk)[1]["content"][0]["arguments"] == {}


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "toolUse"),
        ("content_filter", "error"),
        ("aborted", "aborted"),
        ("error", "error"),
        (None, "stop"),
    ],
)
def test_why_the_model_stopped(desk: Desk, reason: str | None, told: str) -> None:
    desk.turn(AssistantMessage("x", stop_reason=reason))
    assert history(desk)[1]["stopReason"] == told


def test_model_that_nobody_knows_costs_nothing(desk: Desk) -> None:
    usage = Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15)
    desk.turn(model="gone", usage=usage)
    answer = history(desk)[1]
    assert answer["usage"]["totalTokens"] == 15
    assert answer["usage"]["cost"] == NO_COST


def test_pictures_are_parts_of_their_own(desk: Desk) -> None:
    desk.turn(
        said=UserMessage(
            (
                TextPart("see"),
                ImagePart("data:image/png;base64,AAAA"),
                ImagePart("https://example.org/a.png"),
            )
        )
    )
    assert history(desk)[0]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image", "data": "AAAA", "mimeType": "image/png"},
        {"type": "text", "text": "[image]"},
    ]


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("hi\n[message_id: run-1]", "hi"),
        ("[message_id: run-1]\nhi", "hi"),
        ("a\n  [message_id: x]\nb", "a\nb"),
        ("[2026-01-29 10:00] hi", "hi"),
        ("[2026-01-29T10:00Z] hi", "hi"),
        ("[WebChat 2026-01-29] hi", "hi"),
        ("[Telegram Eve +1m] hi", "hi"),
        ("[todo] hi", "[todo] hi"),
        ("see [WebChat x] hi", "see [WebChat x] hi"),
        ("say [message_id: x] hi", "say [message_id: x] hi"),
        ("hi\n", "hi\n"),
    ],
)
def test_hints_of_channels_are_left_out(desk: Desk, stored: str, told: str) -> None:
    desk.turn(AssistantMessage(stored), said=stored)
    assert texts(history(desk)) == [told, stored]


def test_history_has_the_last_messages(desk: Desk) -> None:
    desk.turn(*[AssistantMessage(str(number)) for number in range(300)])
    assert len(history(desk)) == 200
    assert texts(history(desk, limit=2)) == ["298", "299"]


def test_history_fits_into_an_answer(desk: Desk) -> None:
    size = MAX_HISTORY_BYTES // 3
    desk.turn(*[AssistantMessage(mark + "x" * size) for mark in "abcde"])
    assert [text[0] for text in texts(history(desk))] == ["d", "e"]


def test_last_message_is_told_whatever_its_size(desk: Desk) -> None:
    desk.turn(AssistantMessage("x" * (MAX_HISTORY_BYTES + 1)))
    [message] = history(desk)
    assert message["role"] == "assistant"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"sessionKey": ""},
        {"sessionKey": "a", "limit": 0},
        {"sessionKey": "a", "limit": 1001},
        {"sessionKey": "a", "what": 1},
        {"sessionKey": "cron:x"},
    ],
)
def test_history_is_strict(desk: Desk, params: Any) -> None:
    code, message = desk.refusal("chat.history", params)
    assert code == "INVALID_REQUEST"
    assert message.startswith("invalid chat.history params: ")


def test_history_that_cannot_be_read(desk: Desk) -> None:
    desk.store.failure = StoreFailed("damaged")
    params = {"sessionKey": "main"}
    assert desk.refusal("chat.history", params) == ("UNAVAILABLE", "damaged")


def test_level_of_thinking_of_a_session(desk: Desk) -> None:
    def level() -> str:
        told = desk.ask("chat.history", {"sessionKey": "main"})
        return told["thinkingLevel"]  # type: ignore[no-any-return]

    assert level() == "off"
    desk.ask("sessions.patch", {"key": "main", "model": "local/m2"})
    assert level() == "low"
    desk.ask("sessions.patch", {"key": "main", "thinkingLevel": "high"})
    assert level() == "high"


def test_configured_level_of_thinking(desk: Desk) -> None:
    defaults = {**TREE["agents"]["defaults"], "thinkingDefault": "medium"}
    other = Desk(desk.home, {**TREE, "agents": {"defaults": defaults}})
    told = other.ask("chat.history", {"sessionKey": "main"})
    assert told["thinkingLevel"] == "medium"


def test_injected_message_is_kept_and_told(desk: Desk) -> None:
    desk.turn()
    told = desk.ask("chat.inject", {"sessionKey": "main", "message": "psst"})
    message_id = told["messageId"]
    assert told == {"ok": True, "messageId": message_id}
    assert len(message_id) == 8
    assert int(message_id, 16) >= 0
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "psst"}],
        "usage": NO_USAGE,
        "stopReason": "injected",
        "timestamp": NOW_MS,
    }
    assert history(desk)[-1] == message
    [event] = desk.hub.told
    assert event.name == "chat"
    assert event.key == f"chat:inject-{message_id}"
    assert event.payload == {
        "runId": f"inject-{message_id}",
        "sessionKey": "main",
        "seq": 0,
        "state": "final",
        "message": message,
    }


def test_label_stands_above_an_injected_message(desk: Desk) -> None:
    desk.turn()
    for label, text in (("Cron", "[Cron]\n\nhi"), (" ", "hi")):
        params = {"sessionKey": KEY, "message": "hi", "label": label}
        desk.ask("chat.inject", params)
        assert texts(history(desk))[-1] == text


def test_nothing_is_injected_into_nothing(desk: Desk) -> None:
    params = {"sessionKey": "main", "message": "hi"}
    assert desk.refusal("chat.inject", params) == (
        "INVALID_REQUEST",
        "session not found",
    )
    assert desk.hub.told == []


def test_injected_message_that_cannot_be_kept(desk: Desk) -> None:
    desk.store.failure = StoreFailed("no disk")
    params = {"sessionKey": "main", "message": "hi"}
    assert desk.refusal("chat.inject", params) == (
        "UNAVAILABLE",
        "failed to write transcript: no disk",
    )
    assert desk.hub.told == []


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"sessionKey": "a"},
        {"sessionKey": "a", "message": ""},
        {"sessionKey": "a", "message": "x", "label": "x" * 101},
        {"sessionKey": "a", "message": "x", "what": 1},
    ],
)
def test_inject_is_strict(desk: Desk, params: Any) -> None:
    _, message = desk.refusal("chat.inject", params)
    assert message.startswith("invalid chat.inject params: ")


@pytest.mark.parametrize(
    ("method", "scopes", "right"),
    [
        ("chat.history", ("approvals",), "read"),
        ("chat.inject", ("write", "read"), "admin"),
    ],
)
def test_history_needs_its_scope(
    desk: Desk, method: str, scopes: tuple[str, ...], right: str
) -> None:
    assert desk.refusal(method, {}, caller_of(*scopes)) == (
        "INVALID_REQUEST",
        f"missing scope: operator.{right}",
    )


def test_inject_is_not_advertised(desk: Desk) -> None:
    assert "chat.inject" not in desk.table().advertised
    assert "chat.history" in desk.table().advertised


def test_message_outside_any_run_names_no_model(desk: Desk) -> None:
    desk.turn()
    wait(desk.store.inject(KEY, AssistantMessage("x"), "inject-1", NOW_MS))
    assert {"api", "provider", "model"}.isdisjoint(history(desk)[-1])
