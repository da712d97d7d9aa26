"""Failed calls and files, which a summary must not lose."""

from __future__ import annotations

from moltbot_gw.agents.lists import lists_of
from moltbot_gw.messages import AssistantMessage, Message, ToolCall, ToolMessage


def _call(call_id: str, name: str, arguments: str) -> AssistantMessage:
    return AssistantMessage(tool_calls=(ToolCall(call_id, name, arguments),))


def test_conversation_without_tools_has_no_lists() -> None:
    assert lists_of((AssistantMessage("hi"), ToolMessage("ok", "1"))) == ""


def test_failures_and_files_are_named() -> None:
    messages: tuple[Message, ...] = (
        _call("1", "read", '{"path":"a.txt","offset":3}'),
        _call("2", "edit", '{"file_path":"b.txt"}'),
        _call("3", "read", '{"path":"b.txt"}'),
        _call("4", "exec", '{"command":"false"}'),
        ToolMessage("exit code 1\nand more", "4", is_error=True),
        ToolMessage("who called this?", is_error=True),
        _call("5", "write", "not JSON"),
        _call("6", "read", "{}"),
    )
    assert lists_of(messages) == (
        "\n\nTool calls that failed:\n- exec: exit code 1 and more"
        "\n- a tool: who called this?"
        "\n\nFiles that were changed:\n- b.txt"
        "\n\nFiles that were read:\n- a.txt"
    )


def test_lists_are_bounded() -> None:
    messages: list[Message] = []
    for n in range(1000):
        messages.append(_call(str(n), "read", f'{{"path":"{n:0>9999}"}}'))
        messages.append(ToolMessage("x" * 9999, str(n), is_error=True))
    assert len(lists_of(messages)) < 3000
