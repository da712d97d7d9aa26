"""What a run's session has stored, as far as the model still reads it, and its size."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from moltbot_gw.agents.cut import Places
from moltbot_gw.agents.summary import summary_message
from moltbot_gw.agents.tokens import message_tokens, overhead_tokens
from moltbot_gw.events import Usage
from moltbot_gw.messages import AssistantMessage, Message, ModelRequest, UserMessage
from moltbot_gw.stored import History

_MAX_FACTOR = 4.0


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A call by its size, in tokens.

    *messages* are those behind the summary, *sizes* what each has, *summary* what that
    one has, and *overhead* what all the rest has.  *indexes* says which of the entries
    each message is, None for one that is not stored; those of *asked* stay together.
    *factor* is how much our own estimates were too low.
    """

    messages: tuple[Message, ...]
    indexes: tuple[int | None, ...]
    sizes: tuple[int, ...]
    summary: int
    overhead: int
    tokens: int
    factor: float
    asked: range

    def without(self, cut: int) -> int:
        """Return the tokens without the summary and what lies before *cut*."""
        return max(0, self.tokens - self.summary - sum(self.sizes[:cut]))

    def at_least(self, tokens: int) -> Measure:
        """Return this measure, corrected by who says that it is *tokens* or more."""
        if self.tokens >= tokens:
            return self
        scale = tokens / max(1, self.tokens)
        return msgspec.structs.replace(
            self,
            sizes=tuple(int(size * scale) for size in self.sizes),
            summary=int(self.summary * scale),
            overhead=int(self.overhead * scale),
            tokens=tokens,
            factor=self.factor * scale,
        )

    def places(self) -> Places:
        """Return where the conversation may be cut.

        Not inside of what the user has asked, nor before a result.
        """
        turns: list[int] = []
        rounds: list[int] = []
        for place, (message, index) in enumerate(
            zip(self.messages, self.indexes, strict=True)
        ):
            if not place or index is None or index in self.asked[1:]:
                continue
            if isinstance(message, UserMessage):
                turns.append(place)
            elif isinstance(message, AssistantMessage):
                rounds.append(place)
        return Places(sizes=self.sizes, turns=turns, rounds=rounds)


class Entries:
    """The stored messages that the model still reads, and what stands before them.

    *summary* stands for those before *first_seq*.  *lead* is what a call begins with:
    the summary as a message, and the user's request once it was cut off itself (so
    that a long run does not lose sight of it).
    """

    def __init__(self, history: History) -> None:
        self.first_seq = history.first_seq
        self.summary = history.summary
        self.lead: tuple[Message, ...] = ()
        if history.summary is not None:
            self.lead = (summary_message(history.summary),)
        self._messages = list(history.messages)
        self._context_tokens = history.context_tokens
        self._counted = history.counted
        self._asked = range(0)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The stored messages, from *first_seq* on."""
        return tuple(self._messages)

    def ask(self, news: tuple[Message, ...]) -> None:
        """Append what the user has asked."""
        start = len(self._messages)
        self._messages += news
        self._asked = range(start, len(self._messages))

    def add(self, messages: tuple[Message, ...], usage: Usage | None) -> None:
        """Append a part of a round; see ``RunContext.kept``."""
        is_answer = bool(messages) and isinstance(messages[0], AssistantMessage)
        if usage is not None and usage.total_tokens and is_answer:
            self._context_tokens = usage.total_tokens
            self._counted = len(self._messages) + 1
        self._messages += messages

    def surely_fits(self, call: ModelRequest, tokens: int) -> bool:
        """Whether *call* has nothing to be put in front, and no more than *tokens*.

        So it is with most calls; to find that out costs a fifth of ``measure``.
        """
        if self.summary is not None:
            return False
        whole = overhead_tokens(call) + sum(map(message_tokens, call.messages))
        return whole + (self._context_tokens or 0) <= tokens

    def measure(self, call: ModelRequest) -> Measure:
        """Return how large *call* is with the summary in front.

        What the provider has counted last, and an estimate of the rest.  Some providers
        leave out what they had cached: a count of less than half of our own estimate is
        not believed.
        """
        messages, indexes = self._behind_summary(call.messages)
        sizes = [message_tokens(message) for message in messages]
        overhead = overhead_tokens(call) + sum(map(message_tokens, self.lead[1:]))
        summary = sum(map(message_tokens, self.lead[:1]))
        tokens = whole = overhead + summary + sum(sizes)
        factor = 1.0
        if self._context_tokens is not None:
            new = sum(
                size
                for size, index in zip(sizes, indexes, strict=True)
                if index is None or index >= self._counted
            )
            if self._context_tokens + new >= whole // 2:
                tokens = self._context_tokens + new
                factor = self._context_tokens / max(1, whole - new)
                factor = min(_MAX_FACTOR, max(1.0, factor))
        return Measure(
            messages=messages,
            indexes=indexes,
            sizes=tuple(int(size * factor) for size in sizes),
            summary=int(summary * factor),
            overhead=int(overhead * factor),
            tokens=tokens,
            factor=factor,
            asked=self._asked,
        )

    def seq_of(self, measure: Measure, cut: int) -> int:
        """Return the sequence number of the first message that *cut* keeps."""
        return self.first_seq + self._index_of(measure, cut)

    def cut(self, measure: Measure, cut: int, summary: str) -> None:
        """Let *summary* stand for what lies before *cut*."""
        index = self._index_of(measure, cut)
        pinned = self.lead[1:]
        if self._asked and index >= self._asked.stop:
            pinned = _without_results(self._messages[slice(*_ends(self._asked))])
        self.lead = (summary_message(summary), *pinned)
        self.summary = summary
        self.first_seq += index
        del self._messages[:index]
        self._context_tokens, self._counted = None, 0
        start, stop = (max(0, end - index) for end in _ends(self._asked))
        self._asked = range(start, stop)

    def _index_of(self, measure: Measure, cut: int) -> int:
        index = measure.indexes[cut]
        assert index is not None  # see Measure.places
        return index

    def _behind_summary(
        self, messages: tuple[Message, ...]
    ) -> tuple[tuple[Message, ...], tuple[int | None, ...]]:
        """Return those that the summary does not stand for, and their indexes."""
        indexes = self._find(messages)
        start = 0
        if self.summary is not None:
            # Before the first entry is what we have put there, or have cut off.
            known = (place for place, index in enumerate(indexes) if index is not None)
            start = next(known, 0)
        return messages[start:], tuple(indexes[start:])

    def _find(self, messages: tuple[Message, ...]) -> list[int | None]:
        """Return the index of each message, which is known by being the same object."""
        places: dict[int, deque[int]] = {}
        for index, message in enumerate(self._messages):
            places.setdefault(id(message), deque()).append(index)
        found: list[int | None] = []
        after = -1
        for message in messages:
            queue = places.get(id(message), deque())
            while queue and queue[0] <= after:
                queue.popleft()
            found.append(queue[0] if queue else None)
            after = queue[0] if queue else after
        return found


def _ends(some: range) -> tuple[int, int]:
    return some.start, some.stop


def _without_results(news: Sequence[Message]) -> tuple[Message, ...]:
    """Return *news* from the user's first words on: results belong to cut-off calls."""
    for place, message in enumerate(news):
        if isinstance(message, UserMessage):
            return tuple(news[place:])
    return ()
