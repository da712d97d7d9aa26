"""Where a long conversation is cut: older messages are summarised, later ones kept.

What must hold: a call is never separated from its results.  So a cut is only made
before a message of the user (the turns, where it is best) or of the assistant (the
rounds inside a turn); results stand right behind the message that called.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import msgspec


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation by its numbers: the tokens of each message, and where to cut.

    A cut at *n* keeps the messages from the index *n* on; *turns* and *rounds* are in
    order, and none is 0.
    """

    sizes: Sequence[int]
    turns: Sequence[int]
    rounds: Sequence[int] = ()

    @property
    def total(self) -> int:
        """The tokens of all messages."""
        return sum(self.sizes)

    def choose(self, *, recent: int, turn: int) -> int | None:
        """Return where to cut, so that *recent* tokens are kept at most.

        As many turns as fit are kept.  If not even the last one fits, it is still kept
        whole when it has *turn* tokens at most; otherwise as many rounds of it as fit
        in *recent*, or the least that can be.  None if nothing can be cut off.
        """
        kept = [*accumulate(reversed(self.sizes))][::-1]
        for place in self.turns:
            if kept[place] <= recent:
                return place
        if self.turns and kept[self.turns[-1]] <= turn:
            return self.turns[-1]
        for place in self.rounds:
            if kept[place] <= recent:
                return place
        return max((*self.turns, *self.rounds), default=None)
