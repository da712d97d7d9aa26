"""The items of one response of OpenAI's, as a stream brings them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import attrs

from moltbot_gw.events import (
    FinishReason,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from moltbot_gw.wire.callpieces import MAX_CALLS
from moltbot_gw.wire.openai import member
from moltbot_gw.wire.pieces import PieceJoiner
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.responses_request import API
from moltbot_gw.wire.thoughts import Place, ThoughtKeeper

_KEPT = ("type", "id", "summary", "content", "encrypted_content")
"""Of a thought; ``status`` is refused when it comes back."""


@attrs.define
class _Item:
    """What came of one item.

    *call* is its number among the calls, None for what is none; *arguments* counts the
    characters of its arguments.  A call that *is_whole* was ended by the server.
    """

    place: Place
    call: int | None = None
    call_id: str = ""
    arguments: int = 0
    has_spoken: bool = False
    is_thought: bool = False
    is_whole: bool = False


class Items:
    """The items that have begun, and what they said since the last ``take``.

    They are known by their index, or by their id on servers that give none.  *refused*
    says that the model's words are a refusal.
    """

    def __init__(self, model: str) -> None:
        self._thoughts = ThoughtKeeper(API, model)
        self._items: dict[int | str | None, _Item] = {}
        self._call_ids: list[str] = []
        self._said = PieceJoiner()
        self.refused = False

    def take(self) -> list[ModelEvent]:
        """Return what was said, and begin anew."""
        return self._said.take()

    def say(
        self, key: Any, kind: type[TextDelta] | type[ReasoningDelta], text: Any
    ) -> None:
        """Take *text* of a message or a thought."""
        if not isinstance(text, str) or not text:
            return
        item = self._find(key)
        item.has_spoken = True
        if kind is TextDelta:
            item.place.say(text)
        self._said.add(kind, text)

    def begin(self, key: Any, wire: Any) -> None:
        """Take the beginning of an item, which only calls have something in."""
        old = self._items.pop(_key(key, wire), None)
        if old is not None and old.call is not None and not old.is_whole:
            raise ProviderError("an item began inside of a tool call")
        item = self._find(_key(key, wire))
        item.place.name_phase(_text(member(wire, "phase")))
        if member(wire, "type") == "function_call":
            self._begin_call(item, wire)

    def grow(self, key: Any, piece: Any) -> None:
        """Take a piece of a call's arguments."""
        item = self._items.get(_key(key, None))
        if item is None:
            raise ProviderError("a piece of a tool call came before its beginning")
        if item.call is not None and not item.is_whole and _text(piece):
            item.arguments += len(piece)
            self._said.add(item.call, piece)

    def complete(self, key: Any, arguments: Any) -> None:
        """Take all arguments of a call at once; what came in pieces is known."""
        item = self._items.get(_key(key, None))
        if item is not None and item.call is not None and not item.is_whole:
            self._complete(item, _text(arguments))

    def end(self, key: Any, wire: Any) -> None:
        """Take a whole item."""
        key = _key(key, wire)
        kind = member(wire, "type")
        if kind == "function_call":
            item = self._items.get(key)
            if item is None or item.call is None:
                self.begin(key, wire)
            item = self._items[key]
            if not item.is_whole and member(wire, "status") != "incomplete":
                self._complete(item, _text(member(wire, "arguments")))
            return
        item = self._find(key)
        if kind == "reasoning":
            if not item.has_spoken:
                self.say(key, ReasoningDelta, _summary(wire))
            item.is_thought = True
            _keep(item, wire)
        elif kind == "message":
            item.place.name_phase(_text(member(wire, "phase")))
            if not item.has_spoken:
                self._speak(key, member(wire, "content"))

    def fill(self, output: Sequence[Any]) -> None:
        """Take what the stream had not, out of the whole *output*.

        Some servers tell of calls, or of their ends, only there, and of what encrypts
        a thought.
        """
        if not self._items:
            for number, wire in enumerate(output):
                self.end(number, wire)
            return
        calls = {i.call_id: k for k, i in self._items.items() if i.call is not None}
        for number, wire in enumerate(output):
            kind, call_id = member(wire, "type"), _text(member(wire, "call_id"))
            if kind == "function_call" and (call_id or not calls):
                self.end(calls.get(call_id, f"output {number}"), wire)
            elif kind == "reasoning":
                self._fill_thought(number, wire)

    def _fill_thought(self, number: int, wire: Any) -> None:
        item = self._items.get(number)
        if item is not None and item.is_thought:
            _keep(item, wire)

    def finish(self) -> FinishReason:
        """Return why the model stopped, now that it has."""
        if any(_is_open(item) for item in self._items.values()):
            raise ProviderError("the response ended inside of a tool call")
        if self.refused:
            return "content_filter"
        if not self._call_ids:
            return "stop"
        self._said.put(*self._thoughts.state())
        return "tool_calls"

    def _find(self, key: Any) -> _Item:
        """Return the item *key*; it begins here if it has not."""
        item = self._items.get(_key(key, None))
        if item is None:
            item = self._items[_key(key, None)] = _Item(self._thoughts.begin())
        return item

    def _begin_call(self, item: _Item, wire: Any) -> None:
        name = _text(member(wire, "name"))
        if not name:
            raise ProviderError("a tool call has no name")
        if len(self._call_ids) >= MAX_CALLS:
            raise ProviderError(f"more than {MAX_CALLS} tool calls in one message")
        item.call = len(self._call_ids)
        item.call_id = _text(member(wire, "call_id"))
        call_id = item.call_id
        if not call_id or call_id in self._call_ids:
            # Its result could not be told from the other one's.
            call_id = f"call_{uuid4().hex}"
        self._call_ids.append(call_id)
        item.place.call(item.call)
        self._said.put(ToolCallDelta(index=item.call, id=call_id, name=name))

    def _complete(self, item: _Item, arguments: str) -> None:
        assert item.call is not None, "only calls have arguments"
        if arguments and len(arguments) < item.arguments:
            raise ProviderError("a tool call ended with less than it had")
        rest = arguments[item.arguments :]
        if not item.arguments and not rest:
            rest = "{}"  # clients parse it as JSON
        if rest:
            item.arguments += len(rest)
            self._said.add(item.call, rest)
        item.is_whole = True

    def _speak(self, key: Any, parts: Any) -> None:
        """Say a message that came without its pieces."""
        for part in parts if isinstance(parts, list) else ():
            refusal = _text(member(part, "refusal"))
            self.refused = self.refused or bool(refusal)
            self.say(key, TextDelta, refusal or _text(member(part, "text")))


def _is_open(item: _Item) -> bool:
    return item.call is not None and not item.is_whole


def _key(key: Any, wire: Any) -> int | str | None:
    """Return what an item is known by: *key*, or the id in *wire*."""
    if isinstance(key, (int, str)):
        return key
    found = member(wire, "id")
    return found if isinstance(found, str) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _keep(item: _Item, wire: Any) -> None:
    """Keep the thought *wire*, if it can go back.

    Without what it holds it is a mere name, and the service has forgotten whose.
    """
    if member(wire, "encrypted_content") or member(wire, "content"):
        kept = {name: wire[name] for name in _KEPT if wire.get(name) is not None}
        item.place.think(kept)


def _summary(wire: Any) -> str:
    """Return what a whole thought shows of itself."""
    for name in ("summary", "content"):
        parts = member(wire, name)
        if isinstance(parts, list) and parts:
            return "\n\n".join(_text(member(part, "text")) for part in parts)
    return ""
