"""What a request adds to a conversation that the session may already know."""

from __future__ import annotations

from moltbot_gw.errors import InvalidRequest
from moltbot_gw.messages import (
    AssistantMessage,
    Message,
    ToolMessage,
    UserMessage,
)


def news_of(messages: tuple[Message, ...], *, has_history: bool) -> tuple[Message, ...]:
    """Return those of *messages* that are to be added to the session.

    A fresh session takes all; one with turns takes what follows the last message of the
    assistant, because it has the rest.  So a client may send the whole conversation or
    only the news.  Raises ``InvalidRequest`` when there is no news.
    """
    if not has_history:
        return messages
    start = len(messages)
    while start and not isinstance(messages[start - 1], AssistantMessage):
        start -= 1
    if start == len(messages):
        raise InvalidRequest(
            "messages: nothing follows the last message of the assistant; this session"
            " knows the rest, so add a new message of role user or tool.",
            param="messages",
        )
    return messages[start:]


def without_retry(
    history: tuple[Message, ...], news: tuple[Message, ...]
) -> tuple[Message, ...]:
    """Return *history* without an unanswered copy of *news* at its end.

    Clients send a request again when it failed; the model should read it once.  Results
    of tools that come again take the place of the earlier ones, with what the model
    said to those: a result without a call of its own is of no use.
    """
    if not history:
        return history
    while news and len(history) >= len(news) and history[-len(news) :] == news:
        history = history[: -len(news)]
    again = {m.tool_call_id for m in news if isinstance(m, ToolMessage)} - {None}
    start = _called(history, again) if again else len(history)
    results = [m for m in history[start:] if isinstance(m, ToolMessage)]
    if again.isdisjoint(result.tool_call_id for result in results):
        return history
    # What the agent's own tools brought for calls of the same message stays.
    results = results[: _answers(history[start:])]
    kept = [result for result in results if result.tool_call_id not in again]
    return history[:start] + tuple(kept)


def _called(history: tuple[Message, ...], ids: set[str | None]) -> int:
    """Return the place behind the calls *ids*, unless the user has spoken since."""
    for place in range(len(history), 0, -1):
        message = history[place - 1]
        if isinstance(message, UserMessage):
            break
        calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
        if any(call.id in ids for call in calls):
            return place
    return len(history)


def _answers(messages: tuple[Message, ...]) -> int:
    """Return how many results stand at the beginning of *messages*."""
    for count, message in enumerate(messages):
        if not isinstance(message, ToolMessage):
            return count
    return len(messages)
