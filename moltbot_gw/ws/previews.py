"""What a transcript is about, in few words.

Source: upstream ``src/gateway/session-utils.fs.ts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Literal

from moltbot_gw.agents.transcripts import without_hints
from moltbot_gw.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    UserMessage,
    text_of,
)
from moltbot_gw.stored import SessionSummary, TranscriptEntry
from moltbot_gw.ws.calls import Result

MAX_TITLE_CHARS = 60
MAX_PREVIEW_CHARS = 120
SHOWN_TOOLS = 2

Role = Literal["user", "assistant", "tool", "system", "other"]


class Item(Result, frozen=True, kw_only=True):
    """A message of ``sessions.preview``."""

    role: Role
    text: str


def items_of(
    entries: Sequence[TranscriptEntry], limit: int, max_chars: int
) -> list[Item]:
    """Return the last *limit* messages that can be shown, each in *max_chars*."""
    items = []
    for entry in entries:
        text = _words(entry.message).strip() or _stand_in(entry.message)
        if text:
            text = shorten(text, max_chars, "...")
            items.append(Item(role=_role(entry.message), text=text))
    return items[-limit:]


def title_of(entries: Sequence[TranscriptEntry]) -> str | None:
    """Return what the first words of the user make a title of."""
    for entry in entries:
        if isinstance(entry.message, UserMessage):
            words = " ".join(_words(entry.message).split())
            return _cut_at_word(words) or None
    return None


def plain_title(summary: SessionSummary) -> str:
    """Return the title of a session that nobody has said a word in."""
    changed = datetime.fromtimestamp(summary.updated_at_ms / 1000, timezone.utc)
    return f"{summary.session_id[:8]} ({changed:%Y-%m-%d})"


def last_words(entries: Sequence[TranscriptEntry]) -> str | None:
    """Return the end of what user and assistant have said."""
    for entry in reversed(entries):
        if isinstance(entry.message, (UserMessage, AssistantMessage)):
            words = " ".join(_words(entry.message).split())
            if words:
                return shorten(words, MAX_PREVIEW_CHARS, "...")
    return None


def shorten(text: str, max_chars: int, mark: str) -> str:
    """Return *text* in *max_chars*; *mark* ends one that was cut."""
    if len(text) <= max_chars:
        return text
    return text[: max_chars - len(mark)] + mark


def _cut_at_word(text: str) -> str:
    if len(text) <= MAX_TITLE_CHARS:
        return text
    cut = text[: MAX_TITLE_CHARS - 1]
    space = cut.rfind(" ")
    # A first word that takes nearly all of the room is cut itself.
    return (cut[:space] if space > MAX_TITLE_CHARS * 0.6 else cut) + "…"


def _words(message: Message) -> str:
    if isinstance(message, AssistantMessage):
        return message.text
    words = text_of(message.content)
    return without_hints(words) if isinstance(message, UserMessage) else words


def _stand_in(message: Message) -> str:
    """Return what to show of a message without words; empty if there is nothing."""
    if isinstance(message, AssistantMessage):
        names = [call.name for call in message.tool_calls]
        more = f" +{len(names) - SHOWN_TOOLS}" if len(names) > SHOWN_TOOLS else ""
        return f"call {', '.join(names[:SHOWN_TOOLS])}{more}" if names else ""
    has_image = any(isinstance(part, ImagePart) for part in message.content)
    return "[image]" if has_image else ""


def _role(message: Message) -> Role:
    if isinstance(message, UserMessage):
        return "user"
    if isinstance(message, AssistantMessage) and not message.tool_calls:
        return "assistant"
    return "tool"
