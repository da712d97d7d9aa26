"""Asking a model for a text that nobody follows while it is written."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from moltbot_gw.events import Completion, ModelEvent, TextDelta
from moltbot_gw.interfaces import IModelProvider, IRunSink
from moltbot_gw.messages import ModelRequest

MAX_CHARS = 131_072


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What a model has said, with how it ended and what it cost."""

    text: str
    completion: Completion


@implementer(IRunSink)
class TextCollector:
    """Keeps the first *max_chars* characters of what a model says.

    Its reasoning and its calls are not kept.  The source is never paused.
    """

    def __init__(self, max_chars: int = MAX_CHARS) -> None:
        self._pieces: list[str] = []
        self._left = max_chars

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self._pieces)

    def extend(self, events: Iterable[ModelEvent]) -> None:
        """See ``IRunSink``."""
        for event in events:
            if isinstance(event, TextDelta) and self._left:
                piece = event.text[: self._left]
                self._pieces.append(piece)
                self._left -= len(piece)

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See ``IRunSink``; there is nobody who could be slow."""

    def unregisterProducer(self) -> None:
        """See ``IRunSink``."""


async def collect(
    provider: IModelProvider, request: ModelRequest, max_chars: int = MAX_CHARS
) -> Collected:
    """Call the model; return its words, at most *max_chars* of them.

    Raises what ``IModelProvider.stream`` fails with.  Cancelling closes the provider's
    socket.
    """
    sink = TextCollector(max_chars)
    completion = await provider.stream(request, sink)
    return Collected(text=sink.text, completion=completion)
