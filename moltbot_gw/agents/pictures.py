"""Pictures in a conversation, and models that take none."""

from __future__ import annotations

import msgspec

from moltbot_gw.messages import (
    AssistantMessage,
    Content,
    ImagePart,
    Message,
    TextPart,
)

IN_PLACE = TextPart("[a picture; this model takes none]")


def shows_picture(message: Message) -> bool:
    """Whether *message* shows a picture."""
    if isinstance(message, AssistantMessage) or isinstance(message.content, str):
        return False
    return any(isinstance(part, ImagePart) for part in message.content)


def has_images(messages: tuple[Message, ...]) -> bool:
    """Whether any of *messages* shows a picture."""
    return any(map(shows_picture, messages))


def without_pictures(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return *messages* with words in the place of pictures."""
    if not has_images(messages):
        return messages
    return tuple(
        msgspec.structs.replace(message, content=without_images(message.content))
        if not isinstance(message, AssistantMessage) and shows_picture(message)
        else message
        for message in messages
    )


def without_images(content: Content) -> Content:
    """Return *content* with words in the place of pictures."""
    if isinstance(content, str):
        return content
    return tuple(IN_PLACE if isinstance(part, ImagePart) else part for part in content)
