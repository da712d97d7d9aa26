"""A run's log: what has happened, in order, and the cursors that read it.

Text and calls are stretches that grow at their end; all else is an event as it is.  A
cursor stays right however its reader comes along: neighbouring text comes as one piece,
and what has been overtaken meanwhile (an older state of a tool at work) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from moltbot_gw.agents.text import TextSegment
from moltbot_gw.events import (
    ReasoningDelta,
    RunEnded,
    RunEvent,
    RunStarted,
    SideEvent,
    SpokenEvent,
    TextDelta,
    ToolCallDelta,
    ToolFinished,
    ToolUpdated,
)
from moltbot_gw.messages import ToolCall

MAX_TAKE_CHARS = 16 * 1024
"""The most text in one event that a cursor hands out."""

GAP = "\n\n"
"""What stands between the words of two model calls of one run."""

Position = tuple[int, int]
"""A place in a run's log: an entry, and in an entry of text a number of characters."""

START: Position = (0, 0)

TextKind = type[TextDelta] | type[ReasoningDelta]


class TextEntry:
    """A stretch of the log that is all text or all reasoning.

    One that *is_gap* only keeps the words of two model calls apart.
    """

    def __init__(
        self, kind: TextKind, segment: TextSegment, *, is_gap: bool = False
    ) -> None:
        self.kind = kind
        self.is_gap = is_gap
        self.segment = segment

    def __len__(self) -> int:
        """Return the offset of its end."""
        return len(self.segment)

    def read(self, offset: int, max_chars: int) -> tuple[SpokenEvent, int] | None:
        """Return what stands at *offset*, and the offset behind; None at the end."""
        if offset >= len(self.segment):
            return None
        text = self.segment.read(offset, max_chars)
        return self.kind(text), offset + len(text)


class CallEntry:
    """A stretch of the log that belongs to one tool call.

    Where the call begins, its start takes the place of one character, at offset 0.
    What goes on after another call's piece is an entry without id and name.
    """

    def __init__(self, start: ToolCallDelta, segment: TextSegment) -> None:
        self.start = msgspec.structs.replace(start, arguments="")
        self.segment = segment

    def __len__(self) -> int:
        """Return the offset of its end."""
        return (1 if self.start.name else 0) + len(self.segment)

    def read(self, offset: int, max_chars: int) -> tuple[SpokenEvent, int] | None:
        """Return what stands at *offset*, and the offset behind; None at the end."""
        lead = 1 if self.start.name else 0
        if offset < lead:
            return self.start, lead
        if offset - lead >= len(self.segment):
            return None
        text = self.segment.read(offset - lead, max_chars)
        event = ToolCallDelta(index=self.start.index, arguments=text)
        return event, offset + len(text)


_Event = RunStarted | SideEvent | RunEnded
LogEntry = _Event | TextEntry | CallEntry | None
"""None is what has been overtaken."""


class RunLog:
    """What has happened in a run; it only grows.

    *has_text* says that the assistant has said something.
    """

    def __init__(self, entries: Iterable[LogEntry] = ()) -> None:
        """Begin with *entries*, of a run that has ended."""
        self._entries = list(entries)
        self._updates: dict[str, int] = {}
        self.has_text = bool(self._texts(TextDelta))

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, index: int) -> LogEntry:
        """Return one entry; *index* is below the length."""
        return self._entries[index]

    def holds(self, position: Position) -> bool:
        """Whether a reader of this log may have come to *position*."""
        index, offset = position
        if index >= len(self._entries):
            return index == len(self._entries) and offset == 0
        entry = self._entries[index]
        if isinstance(entry, (TextEntry, CallEntry)):
            return offset <= len(entry)
        return offset == 0

    def append(self, event: _Event) -> None:
        """Note *event*; a tool's newest state takes the place of its older one."""
        if isinstance(event, (ToolUpdated, ToolFinished)):
            overtaken = self._updates.pop(event.call_id, None)
            if overtaken is not None:
                self._entries[overtaken] = None
        if isinstance(event, ToolUpdated):
            self._updates[event.call_id] = len(self._entries)
        self._entries.append(event)

    def append_text(self, kind: TextKind, text: str) -> None:
        """Go on with text or reasoning."""
        last = self._entries[-1] if self._entries else None
        if not isinstance(last, TextEntry) or last.kind is not kind or last.is_gap:
            last = TextEntry(kind, TextSegment())
            self._entries.append(last)
        last.segment.append(text)
        self.has_text = self.has_text or kind is TextDelta

    def append_gap(self) -> None:
        """Keep what was said apart from what follows."""
        gap = TextEntry(TextDelta, TextSegment(), is_gap=True)
        gap.segment.append(GAP)
        self._entries.append(gap)

    def append_call(self, event: ToolCallDelta) -> None:
        """Begin a call, or go on with one."""
        last = self._entries[-1] if self._entries else None
        if event.name or not (
            isinstance(last, CallEntry) and last.start.index == event.index
        ):
            last = CallEntry(event, TextSegment())
            self._entries.append(last)
        if event.arguments:
            last.segment.append(event.arguments)

    def calls(self) -> dict[int, ToolCall]:
        """Return the calls that readers are shown, by index, in that order."""
        calls: dict[int, tuple[ToolCallDelta, list[str]]] = {}
        for entry in self._entries:
            if isinstance(entry, CallEntry):
                _, pieces = calls.setdefault(entry.start.index, (entry.start, []))
                pieces.append(entry.segment.whole())
        return {
            index: ToolCall(start.id, start.name, "".join(pieces))
            for index, (start, pieces) in sorted(calls.items())
        }

    def text(self, kind: TextKind = TextDelta) -> str:
        """Return all text, or all reasoning."""
        return "".join([entry.segment.whole() for entry in self._texts(kind)])

    def text_since(self, start: int, kind: TextKind) -> str:
        """Return the same from the entry *start* on, without gaps."""
        return "".join(
            [
                entry.segment.whole()
                for entry in self._texts(kind, start)
                if not entry.is_gap
            ]
        )

    def text_until(self, position: Position, max_chars: int) -> str | None:
        """Return the words before *position*; None if these are over *max_chars*."""
        index, offset = position
        pieces: list[str] = []
        for number, entry in enumerate(self._entries[: index + 1]):
            if not isinstance(entry, TextEntry) or entry.kind is not TextDelta:
                continue
            length = offset if number == index else len(entry.segment)
            max_chars -= length
            if max_chars < 0:
                return None
            pieces.append(entry.segment.whole()[:length])
        return "".join(pieces)

    def _texts(self, kind: TextKind, start: int = 0) -> list[TextEntry]:
        return [
            entry
            for entry in self._entries[start:]
            if isinstance(entry, TextEntry) and entry.kind is kind
        ]


class Cursor:
    """A reader's position in a run's log, which stays right however text was cut."""

    def __init__(self, log: RunLog, start: Position = START) -> None:
        self._log = log
        self._index, self._offset = start

    @property
    def position(self) -> Position:
        """How far this reader has come."""
        return self._index, self._offset

    @property
    def unread(self) -> int:
        """How many characters of the model's words lie before this reader."""
        left = -self._offset
        for index in range(self._index, len(self._log)):
            entry = self._log.entry(index)
            if isinstance(entry, (TextEntry, CallEntry)):
                left += len(entry.segment)
        return max(left, 0)

    def take(
        self, max_chars: int = MAX_TAKE_CHARS, *, until: Position | None = None
    ) -> RunEvent | None:
        """Return the next event and move past it; None when there is nothing unread.

        Neighbouring text comes as one delta of at most *max_chars* characters.  Nothing
        is returned from *until* on.
        """
        log = self._log
        while self._index < len(log):
            if until is not None and self.position >= until:
                return None
            entry = log.entry(self._index)
            if entry is None:
                self._index += 1
                continue
            if not isinstance(entry, (TextEntry, CallEntry)):
                self._index += 1
                return entry
            if until is not None and self._index == until[0]:
                max_chars = min(max_chars, until[1] - self._offset)
            found = entry.read(self._offset, max_chars)
            if found is not None:
                event, self._offset = found
                return event
            if self._index + 1 == len(log):
                return None  # this stretch may still grow
            self._index += 1
            self._offset = 0
        return None
