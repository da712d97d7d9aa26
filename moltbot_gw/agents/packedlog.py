"""The log of a run that has ended, in values that the garbage collector leaves alone.

A thousand of them are kept.  The collector walks through everything that could be part
of a circle, while all else stands still; these are tuples of plain values, which could
not.
"""

from __future__ import annotations

from typing import Union

import msgspec

from moltbot_gw.agents.log import CallEntry, LogEntry, RunLog, TextEntry
from moltbot_gw.agents.text import PackedText, TextSegment
from moltbot_gw.events import (
    ReasoningDelta,
    RunEnded,
    RunOutcome,
    RunStarted,
    TextDelta,
    ToolCallDelta,
)

ENTRY_BYTES = 500
"""About what a stretch of the log takes beside its text."""


class _Words(msgspec.Struct, frozen=True, gc=False):
    text: PackedText
    is_reasoning: bool
    is_gap: bool


class _Call(msgspec.Struct, frozen=True, gc=False):
    text: PackedText
    start: ToolCallDelta


class _End(msgspec.Struct, frozen=True, gc=False):
    """The outcome, which is kept beside the log, stands here."""


_Entry = Union[_Words, _Call, RunStarted, _End, None]
PackedLog = tuple[_Entry, ...]


def pack(log: RunLog) -> PackedLog:
    """Return what *log* holds, but for its outcome and what its agent's tools did.

    The texts are shared with it, not copied.
    """
    return tuple([_packed(log.entry(index)) for index in range(len(log))])


def unpack(packed: PackedLog, outcome: RunOutcome) -> RunLog:
    """Return the log of a run that has ended with *outcome*; positions stay right."""
    return RunLog(_unpacked(entry, outcome) for entry in packed)


def footprint(packed: PackedLog) -> int:
    """Return about how many bytes of memory what was said takes."""
    said = [entry.text for entry in packed if isinstance(entry, (_Words, _Call))]
    return sum([ENTRY_BYTES + text.footprint for text in said])


def _packed(entry: LogEntry) -> _Entry:
    if isinstance(entry, TextEntry):
        is_reasoning = entry.kind is ReasoningDelta
        return _Words(entry.segment.packed(), is_reasoning, entry.is_gap)
    if isinstance(entry, CallEntry):
        return _Call(entry.segment.packed(), entry.start)
    if isinstance(entry, RunEnded):
        return _End()
    return entry if isinstance(entry, RunStarted) else None


def _unpacked(entry: _Entry, outcome: RunOutcome) -> LogEntry:
    if isinstance(entry, _Words):
        kind = ReasoningDelta if entry.is_reasoning else TextDelta
        return TextEntry(kind, TextSegment(entry.text), is_gap=entry.is_gap)
    if isinstance(entry, _Call):
        return CallEntry(entry.start, TextSegment(entry.text))
    return RunEnded(outcome) if isinstance(entry, _End) else entry
