"""Agents at work, as clients of both edges see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from moltbot_gw.agents.toolrunner import UPDATE_SECONDS
from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import (
    AttemptFailed,
    CompactionEnded,
    CompactionStarted,
    ToolCallDelta,
)
from moltbot_gw.messages import Message, ToolCall
from tests.agents.tools import SHOUT, Slow, toolbox
from tests.support.control import Client, Control
from tests.support.gateway import Call

MAIN = "agent:main:main"
Make = Callable[..., Control]
SHOUTED = ToolCall("c1", "shout", '{"text":"a"}')


def use(call: Call, *calls: ToolCall) -> None:
    """Let the model call tools."""
    for index, one in enumerate(calls):
        call.sink.extend(
            [
                ToolCallDelta(index=index, id=one.id, name=one.name),
                ToolCallDelta(index=index, arguments=one.arguments),
            ]
        )
    call.finish("tool_calls")


def converse(control: Control) -> None:
    """Play the same conversation, whoever has asked."""
    control.model.calls[-1].say("I shout.")
    use(control.model.calls[-1], SHOUTED)
    control.model.calls[-1].say("Done.")
    control.model.calls[-1].finish()


def streams(client: Client) -> dict[str, list[Any]]:
    """Return what has come since the last look, by stream."""
    found: dict[str, list[Any]] = {}
    for event in client.events("agent"):
        payload = event["payload"]
        found.setdefault(payload["stream"], []).append(payload["data"])
    return found


def by_http(control: Control, stream: bool) -> str:
    headers = {"x-moltbot-session-key": MAIN}
    connection, _ = control.chat(stream=stream, headers=headers)
    converse(control)
    answer = connection.answer()
    if not stream:
        text: str = answer.json["choices"][0]["message"]["content"]
        return text
    deltas = [c["choices"][0]["delta"] for c in answer.chunks if c["choices"]]
    assert not any("tool_calls" in delta for delta in deltas)
    return "".join(delta.get("content", "") for delta in deltas)


def by_chat(control: Control) -> str:
    client = control.member()
    client.call(
        "chat.send",
        {"sessionKey": "main", "message": "hi", "idempotencyKey": "k1"},
    )
    converse(control)
    message = client.events("chat")[-1]["payload"]["message"]
    text: str = message["content"][0]["text"]
    return text


def by_agent(control: Control) -> str:
    client = control.member()
    client.ask("agent", {"agentId": "main", "message": "hi", "idempotencyKey": "k1"})
    converse(control)
    result = client.answers()[-1]["payload"]["result"]
    text: str = result["payloads"][0]["text"]
    return text


@pytest.mark.parametrize("way", ["stream", "whole", "chat.send", "agent"])
def test_the_same_talk_leaves_the_same_transcript(make_control: Make, way: str) -> None:
    control = make_control(toolbox=toolbox())
    ways: dict[str, Callable[[Control], str]] = {
        "stream": lambda control: by_http(control, True),
        "whole": lambda control: by_http(control, False),
        "chat.send": by_chat,
        "agent": by_agent,
    }
    assert ways[way](control) == "I shout.\n\nDone."
    transcript: tuple[Message, ...] = control.history(MAIN)
    assert [type(message).__name__ for message in transcript] == [
        "UserMessage",
        "AssistantMessage",
        "ToolMessage",
        "AssistantMessage",
    ]
    assert str(transcript[0]) == "UserMessage(content='hi', name=None)"
    assert str(transcript[2]) == (
        "ToolMessage(content='A', tool_call_id='c1', name='shout', is_error=False)"
    )


def test_history_shows_tools_in_the_originals_shapes(make_control: Make) -> None:
    control = make_control(toolbox=toolbox())
    by_chat(control)
    client = control.member()
    told = client.call("chat.history", {"sessionKey": "main"})["payload"]["messages"]
    assert told[1]["content"][1] == {
        "type": "toolCall",
        "id": "c1",
        "name": "shout",
        "arguments": {"text": "a"},
    }
    assert told[1]["stopReason"] == "toolUse"
    assert told[2]["role"] == "toolResult"
    assert told[2]["toolName"] == "shout"
    assert told[2]["isError"] is False


def test_who_wants_it_sees_tools_at_work(make_control: Make) -> None:
    tool = Slow()
    control = make_control(toolbox=toolbox(tool.tool, SHOUT))
    client = control.member(scopes=["operator.admin"])
    client.call("sessions.patch", {"key": "main", "verboseLevel": "on"})
    client.call(
        "chat.send", {"sessionKey": "main", "message": "go", "idempotencyKey": "k1"}
    )
    slow = ToolCall("c2", "slow", '{"text":"b"}')
    use(control.model.calls[-1], SHOUTED, slow)
    tool.calls[0].context.update("half")
    control.advance(UPDATE_SECONDS)
    tool.calls[0].done.callback("whole")
    control.advance(1)
    shown = streams(client)["tool"]
    assert shown == [
        {
            "phase": "start",
            "name": "shout",
            "toolCallId": "c1",
            "args": {"text": "a"},
        },
        {
            "phase": "result",
            "name": "shout",
            "toolCallId": "c1",
            "isError": False,
            "result": {"content": [{"type": "text", "text": "A"}]},
            "meta": "a",
        },
        {"phase": "start", "name": "slow", "toolCallId": "c2", "args": {"text": "b"}},
        {
            "phase": "update",
            "name": "slow",
            "toolCallId": "c2",
            "partialResult": {"content": [{"type": "text", "text": "half"}]},
        },
        {
            "phase": "result",
            "name": "slow",
            "toolCallId": "c2",
            "isError": False,
            "result": {"content": [{"type": "text", "text": "whole"}]},
            "meta": "b",
        },
    ]
    control.model.calls[-1].finish()


def test_others_see_only_the_words(make_control: Make) -> None:
    control = make_control(toolbox=toolbox())
    client = control.member()
    by_chat(control)
    control.advance(1)
    shown = streams(client)
    assert "tool" not in shown
    assert shown["assistant"][-1]["text"] == "I shout.\n\nDone."


def test_summaries_and_failed_models_are_told(control: Control) -> None:
    client = control.member()
    client.call(
        "chat.send", {"sessionKey": "main", "message": "go", "idempotencyKey": "k1"}
    )
    (run,) = control.agents.active
    run.tell(CompactionStarted())
    run.tell(CompactionEnded(will_retry=True))
    for following in ("b/m", None):
        run.tell(
            AttemptFailed(
                model="a/m",
                reason="rate_limit",
                message="Later.",
                retry_after=1,
                next_model=following,
            )
        )
    control.advance(1)
    shown = streams(client)
    assert shown["compaction"] == [
        {"phase": "start"},
        {"phase": "end", "willRetry": True},
    ]
    failed = {
        "phase": "failed",
        "model": "a/m",
        "reason": "rate_limit",
        "message": "Later.",
    }
    assert shown["attempt"] == [failed | {"nextModel": "b/m"}, failed]
    control.model.calls[-1].finish()


def test_a_failure_after_tools_is_not_to_be_retried(make_control: Make) -> None:
    control = make_control(toolbox=toolbox())
    connection, _ = control.chat()
    use(control.model.calls[-1], SHOUTED)
    control.model.calls[-1].fail(ProviderFailed("It broke."))
    answer = connection.answer()
    assert answer.status == 502
    assert ("x-should-retry", "false") in [
        (name.lower(), value) for name, value in answer.headers
    ]
