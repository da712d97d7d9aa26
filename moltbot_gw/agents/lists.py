"""What a summary must not lose: which tool calls failed, and which files were used.

Source: upstream ``src/agents/pi-extensions/compaction-safeguard.ts``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from moltbot_gw.messages import AssistantMessage, Message, ToolMessage, text_of

_MAX_FAILURES = 5
_MAX_FAILURE_CHARS = 120
_MAX_FILES = 10
_MAX_PATH_CHARS = 120
_READERS = frozenset({"read"})
_WRITERS = frozenset({"write", "edit"})


class _Target(msgspec.Struct, frozen=True):
    """The parameters of a file tool that matter here."""

    path: str | None = None
    file_path: str | None = None


_decode = msgspec.json.Decoder(_Target).decode


def lists_of(messages: Sequence[Message]) -> str:
    """Return the lists for *messages*, to be put behind a summary; may be empty.

    Of each list the last lines.
    """
    names = {
        call.id: call.name
        for message in messages
        if isinstance(message, AssistantMessage)
        for call in message.tool_calls
    }
    failures = [
        f"{names.get(message.tool_call_id or '', 'a tool')}:"
        f" {' '.join(text_of(message.content).split())[:_MAX_FAILURE_CHARS]}"
        for message in messages
        if isinstance(message, ToolMessage) and message.is_error
    ]
    written = _files(messages, _WRITERS)
    read = [path for path in _files(messages, _READERS) if path not in written]
    return (
        _list("Tool calls that failed", failures[-_MAX_FAILURES:])
        + _list("Files that were changed", written[-_MAX_FILES:])
        + _list("Files that were read", read[-_MAX_FILES:])
    )


def _files(messages: Iterable[Message], tools: frozenset[str]) -> list[str]:
    """Return the paths that calls of *tools* name, each once."""
    paths: dict[str, None] = {}
    for message in messages:
        if not isinstance(message, AssistantMessage):
            continue
        for call in message.tool_calls:
            if call.name in tools:
                path = _path(call.arguments)
                paths.update({path[:_MAX_PATH_CHARS]: None} if path else {})
    return list(paths)


def _path(arguments: str) -> str | None:
    try:
        target = _decode(arguments)
    except msgspec.DecodeError:
        return None
    return target.path or target.file_path


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"\n- {line}" for line in lines)
    return f"\n\n{title}:{items}" if items else ""
