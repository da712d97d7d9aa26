"""Pieces of one kind that one read brought, joined: each event costs the run."""

from __future__ import annotations

from moltbot_gw.events import ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta

Kind = type[TextDelta] | type[ReasoningDelta] | int
"""Words, thoughts, or arguments of the call with this number."""


class PieceJoiner:
    """What a model said since the last ``take``, neighbours of one kind joined."""

    def __init__(self) -> None:
        self._events: list[ModelEvent] = []
        self._kind: Kind = TextDelta
        self._pieces: list[str] = []

    def add(self, kind: Kind, piece: str) -> None:
        """Add *piece*, which is not empty, to what is said of its *kind*."""
        if kind != self._kind:
            self._join()
            self._kind = kind
        self._pieces.append(piece)

    def put(self, *events: ModelEvent) -> None:
        """Add *events* as they are."""
        self._join()
        self._events += events

    def take(self) -> list[ModelEvent]:
        """Return all, in order, and begin anew."""
        self._join()
        events, self._events = self._events, []
        return events

    def _join(self) -> None:
        if not self._pieces:
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        if isinstance(self._kind, int):
            self._events.append(ToolCallDelta(index=self._kind, arguments=text))
        else:
            self._events.append(self._kind(text))
