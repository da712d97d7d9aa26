"""Tool calls as servers stream them: in pieces, and not all in the same manner.

OpenAI gives each call an index, and id and name with its first piece.  Others leave the
index out, give the same one to several whole calls, repeat the name, or send arguments
as an object; the call is meant all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union
from uuid import uuid4

import attrs
import msgspec
from msgspec import Struct

from moltbot_gw.events import ToolCallDelta
from moltbot_gw.wire.providererror import ProviderError

MAX_CALLS = 128
"""Of one message; a model that asks for more has lost its way."""


class FunctionPiece(Struct, gc=False):
    """What a piece says of the function to call."""

    name: str | None = None
    arguments: Union[str, dict[str, Any], None] = None


class CallPiece(Struct, gc=False):
    """A piece of a call, as it came."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing: some servers send such ones beside their text."""
        said = self.function
        return not self.id and (said is None or not (said.name or said.arguments))


@attrs.define
class _Begun:
    position: int
    id: str | None
    name: str
    has_arguments: bool = False


class CallAssembler:
    """Tells which call a piece belongs to; counts the calls of one message."""

    def __init__(self) -> None:
        self._by_index: dict[int | None, _Begun] = {}
        self._by_id: dict[str, _Begun] = {}
        self._last: _Begun | None = None
        self._begun: list[_Begun] = []

    @property
    def count(self) -> int:
        """How many calls have begun."""
        return len(self._begun)

    def take(self, piece: CallPiece) -> ToolCallDelta:
        """Return what *piece* adds; raise ``ProviderError`` if that is nothing sane."""
        function = piece.function or FunctionPiece()
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        begun = self._find(piece, function.name)
        if begun is None:
            return self._begin(piece, function.name, arguments)
        begun.has_arguments = begun.has_arguments or bool(arguments)
        self._last = begun
        return ToolCallDelta(index=begun.position, arguments=arguments)

    def finish(self) -> Iterator[ToolCallDelta]:
        """Give arguments to the calls that have none: clients parse them as JSON."""
        for begun in self._begun:
            if not begun.has_arguments:
                begun.has_arguments = True
                yield ToolCallDelta(index=begun.position, arguments="{}")

    def _begin(
        self, piece: CallPiece, name: str | None, arguments: str
    ) -> ToolCallDelta:
        if not name:
            raise ProviderError("a piece of a tool call came before its name")
        if self.count >= MAX_CALLS:
            raise ProviderError(f"more than {MAX_CALLS} tool calls in one message")
        begun = _Begun(self.count, piece.id, name, bool(arguments))
        # Its result could not be told from the other one's if two calls shared an id.
        is_own = bool(piece.id) and piece.id not in self._by_id
        call_id = piece.id if piece.id and is_own else f"call_{uuid4().hex}"
        self._begun.append(begun)
        self._by_index[piece.index] = self._last = self._by_id[call_id] = begun
        return ToolCallDelta(
            index=begun.position, id=call_id, name=name, arguments=arguments
        )

    def _find(self, piece: CallPiece, name: str | None) -> _Begun | None:
        """Return the call that *piece* goes on with; None if it begins one."""
        by_index = self._by_index.get(piece.index)
        begun = self._last if piece.index is None else by_index
        if begun is None:
            return None
        if piece.id and piece.id != begun.id:
            # Some send a fresh id with each piece, but the name only with the first.
            return self._by_id.get(piece.id) or (None if name else begun)
        if name and (name != begun.name or (piece.index is None and not piece.id)):
            return None
        return begun
