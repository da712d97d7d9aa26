"""Tool calls in a conversation: what must hold of them, and what is mended.

Providers refuse a conversation in which a call has no result, or a result no call; and
both come about when a client gives up between the two.
"""

from __future__ import annotations

from collections import Counter

from moltbot_gw.errors import ProviderFailed
from moltbot_gw.events import Completion
from moltbot_gw.messages import (
    AssistantMessage,
    Message,
    ModelRequest,
    NamedTool,
    ToolCall,
    ToolMessage,
)

NO_RESULT = "There is no result: the tool was not run, or its result was not sent."


def check_calls(
    request: ModelRequest,
    completion: Completion,
    calls: tuple[ToolCall, ...],
    *,
    answers_all: bool = False,
) -> None:
    """Raise ``ProviderFailed`` unless *calls* are what *request* allows and demands.

    A call that nobody can answer would keep its client waiting for ever; with
    *answers_all* there is somebody who tells the model that there is no such tool.
    """
    offered = {tool.name for tool in request.tools}
    for call in calls:
        if call.name not in offered and not answers_all:
            raise ProviderFailed(
                "The model called a tool that it was not offered.", code="bad_tool_call"
            )
    choice = request.tool_choice
    if choice == "none":
        if calls:
            raise _ignored("the model called a tool, although it was told not to")
        return
    is_cut = completion.finish_reason in ("length", "content_filter")
    if not offered or choice == "auto" or (is_cut and not calls):
        return
    if not isinstance(choice, NamedTool):
        if not calls:
            raise _ignored("the model did not call a tool, as was demanded")
    elif not calls or any(call.name != choice.name for call in calls):
        name = choice.name
        raise _ignored(f'the model did not call the tool "{name}", as was demanded')


def _ignored(what: str) -> ProviderFailed:
    return ProviderFailed(
        f"tool_choice: {what}.", param="tool_choice", code="tool_choice_ignored"
    )


def repaired(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return *messages* with a result for each call, and without results of no call.

    Results stand right behind the message that called, in any order.
    """
    if not any(
        isinstance(message, ToolMessage) or _calls(message) for message in messages
    ):
        return messages
    fixed: list[Message] = []
    open_ids: Counter[str] = Counter()
    for message in messages:
        if isinstance(message, ToolMessage) and message.tool_call_id is not None:
            if open_ids[message.tool_call_id]:
                open_ids[message.tool_call_id] -= 1
                fixed.append(message)
            continue
        fixed += [ToolMessage(NO_RESULT, call_id) for call_id in open_ids.elements()]
        open_ids = Counter(call.id for call in _calls(message))
        fixed.append(message)
    fixed += [ToolMessage(NO_RESULT, call_id) for call_id in open_ids.elements()]
    return tuple(fixed)


def answers_nothing(
    news: tuple[Message, ...], conversation: tuple[Message, ...]
) -> bool:
    """Whether none of *news* has its place in the repaired *conversation*."""
    kept = set(map(id, conversation))
    return not any(id(message) in kept for message in news)


def _calls(message: Message) -> tuple[ToolCall, ...]:
    return message.tool_calls if isinstance(message, AssistantMessage) else ()
