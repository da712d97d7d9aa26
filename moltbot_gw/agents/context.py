"""Keeping what a model is sent within its context window.

The transcript keeps everything.  What the model reads is, in this order: the system
prompt, a summary of what is older, the recent messages, the request.  The model itself
makes the summary when the window is nearly full, before a call or between the rounds of
a run; when the provider says that a call was too long; and when a user asks for it.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.cut import Places
from moltbot_gw.agents.entries import Entries, Measure
from moltbot_gw.agents.summarizer import Summarizer
from moltbot_gw.agents.summary import (
    PLACEHOLDER,
    Summarize,
    SummaryTask,
    clipped,
)
from moltbot_gw.agents.tokens import text_tokens
from moltbot_gw.agents.toolcalls import repaired
from moltbot_gw.agents.window import (
    LOW_WINDOW,
    Budget,
    CompactionSettings,
    Window,
    window_of,
)
from moltbot_gw.errors import InvalidRequest
from moltbot_gw.events import CompactionEvent, Usage
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import Message, ModelRequest
from moltbot_gw.stored import History, Summary

OVERFLOW = (
    "Context overflow: prompt too large for the model. Try again with less input or a"
    " larger-context model."
)

_log = Logger()


class Shortened(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction has done to the context, in tokens by estimate."""

    tokens_before: int
    tokens_after: int


@attrs.frozen(kw_only=True, eq=False)
class Compactor:
    """Makes the ``RunContext`` of each run.

    *unix_time* is the wall clock in seconds; *clock* times summaries out.
    """

    store: ISessionStore
    clock: IReactorTime
    unix_time: Callable[[], float]
    settings: CompactionSettings
    _warned: set[str] = attrs.field(factory=set, init=False)

    def open(
        self,
        history: History,
        *,
        session_key: str,
        session_id: str,
        on_event: Callable[[CompactionEvent], None],
    ) -> RunContext:
        """Return the context of a run that goes on with *history*.

        *session_key* is the store's.  *on_event* hears of each summary.
        """
        return RunContext(
            tools=self,
            history=history,
            session_key=session_key,
            session_id=session_id,
            on_event=on_event,
        )

    def window(self, model: ModelRef) -> Window:
        """Return the window of *model*; raise ``InvalidRequest`` if it is too small."""
        window = window_of(model, self.settings)
        # The configuration bounds how many models there are.
        if window.size < LOW_WINDOW and str(model) not in self._warned:
            self._warned.add(str(model))
            _log.warn(
                "{model} has a context window of {size} tokens only; an agent does"
                " better with {enough}",
                model=str(model),
                size=window.size,
                enough=LOW_WINDOW,
            )
        return window


class RunContext:
    """What one run sends to its model.

    The run says what it has stored (``asked``, ``kept``) and lets each call be fitted.
    Nothing here waits but for a summary; cancelling that leaves all as it was.
    """

    def __init__(
        self,
        *,
        tools: Compactor,
        history: History,
        session_key: str,
        session_id: str,
        on_event: Callable[[CompactionEvent], None],
    ) -> None:
        self._tools = tools
        self._entries = Entries(history)
        self._session_key = session_key
        self._session_id = session_id
        self._summarizer = Summarizer(
            clock=tools.clock,
            on_event=on_event,
            session_id=session_id,
            with_lists=tools.settings.lists,
        )

    @property
    def messages(self) -> tuple[Message, ...]:
        """What is stored and still read, without the summary."""
        return self._entries.messages

    def asked(self, news: tuple[Message, ...]) -> None:
        """Say that *news* of the user are stored behind the history."""
        self._entries.ask(news)

    def kept(self, messages: tuple[Message, ...], usage: Usage | None = None) -> None:
        """Say that what the model said or its tools brought is stored.

        *usage* is that of the last model call; it counts where the answer to that is
        the first of *messages*.
        """
        self._entries.add(messages, usage)

    async def fit(
        self, call: ModelRequest, *, model: ModelRef, summarize: Summarize
    ) -> ModelRequest:
        """Return *call* with the summary in front, shortened if it is time for that.

        The messages of *call* are those of the history, of ``asked`` and of ``kept``,
        as the same objects and in their order; some may be missing, and others between
        them.  A call that was returned before may be extended and fitted again.

        If the model gives no summary, nothing is left out while the call fits; then a
        placeholder stands for it.  Raises ``InvalidRequest`` if the window is too small
        for an agent, and ``StoreFailed``.
        """
        window = self._tools.window(model)
        if self._entries.surely_fits(call, window.threshold):
            return call
        measure = self._entries.measure(call)
        budget = window.budget(measure.overhead)
        cut = None
        if measure.tokens > window.threshold:
            cut = self._cut(measure, budget, window)
        if cut is None:
            return self._fitted(call, measure.messages)
        task = self._task(measure, cut, budget, model)
        text = await self._summarizer.attempt(task, summarize)
        if text is None and measure.tokens <= window.size:
            return self._fitted(call, measure.messages)
        await self._keep(text or _without_summary(task), measure, cut)
        return self._fitted(call, measure.messages[cut:])

    async def overflowed(
        self, call: ModelRequest, *, model: ModelRef, summarize: Summarize
    ) -> ModelRequest:
        """Return *call*, which the provider found too long, so that it may be repeated.

        Raises ``InvalidRequest`` (``context_length_exceeded``) if nothing of it can be
        left out; see ``fit`` for the rest.
        """
        window = self._tools.window(model)
        # Whatever we believed, it was more than the window.
        measure = self._entries.measure(call).at_least(window.size + 1)
        budget = window.budget(measure.overhead)
        cut = self._forced(measure, budget)
        if cut is None:
            raise InvalidRequest(OVERFLOW, code="context_length_exceeded")
        task = self._task(measure, cut, budget, model)
        text = await self._summarizer.attempt(task, summarize, will_retry=True)
        await self._keep(text or _without_summary(task), measure, cut)
        return self._fitted(call, measure.messages[cut:])

    async def compact(
        self, *, model: ModelRef, summarize: Summarize, instructions: str = ""
    ) -> Shortened | None:
        """Summarise all but the last turns, because a user has asked for it.

        *instructions* say what the summary should heed.  None if there is but one turn.
        Raises what the provider fails with, and then nothing has changed.
        """
        messages = repaired(self._entries.messages)
        if not messages:
            return None
        call = ModelRequest(model=model.model, system="", messages=messages)
        measure = self._entries.measure(call)
        budget = self._tools.window(model).budget(measure.overhead)
        cut = self._forced(measure, budget, within_turns=False)
        if cut is None:
            return None
        task = self._task(measure, cut, budget, model, instructions)
        text = await self._summarizer.write(task, summarize)
        await self._keep(text, measure, cut)
        after = measure.without(cut) + text_tokens(text)
        return Shortened(tokens_before=measure.tokens, tokens_after=after)

    def _cut(self, measure: Measure, budget: Budget, window: Window) -> int | None:
        """Return where to cut, None if that would be of little use."""
        places = measure.places()
        if places.total <= budget.recent:
            return None
        cut = None
        # The last turn is kept whole, unless it is what fills the window.
        for turn in (budget.turn, budget.recent):
            cut = places.choose(recent=budget.recent, turn=turn)
            if cut is not None and sum(places.sizes[:cut]) >= budget.worthwhile:
                return cut
        return cut if measure.tokens > window.size else None

    def _forced(
        self, measure: Measure, budget: Budget, *, within_turns: bool = True
    ) -> int | None:
        places = measure.places()
        if not within_turns:
            places = Places(sizes=places.sizes, turns=places.turns)
        recent = min(budget.recent, places.total // 2)
        return places.choose(recent=recent, turn=budget.turn)

    def _task(
        self,
        measure: Measure,
        cut: int,
        budget: Budget,
        model: ModelRef,
        instructions: str = "",
    ) -> SummaryTask:
        previous = self._entries.summary
        return SummaryTask(
            model=model.model,
            messages=measure.messages[:cut],
            # It may be of a model with a larger window.
            previous=previous and clipped(previous, budget.chunk),
            max_tokens=budget.summary,
            # It is cut into chunks by our own estimates, which were found too low.
            chunk_tokens=int(budget.chunk / measure.factor),
            instructions=instructions,
        )

    async def _keep(self, text: str, measure: Measure, cut: int) -> None:
        """Store *text* in the place of what lies before *cut*, and go on from there."""
        kept = await self._tools.store.summarize(
            Summary(
                session_key=self._session_key,
                session_id=self._session_id,
                # Too low where somebody has injected a message meanwhile: then the
                # next run reads a little more than it must.
                first_seq=self._entries.seq_of(measure, cut),
                text=text,
                tokens_before=measure.tokens,
                at_ms=int(self._tools.unix_time() * 1000),
            )
        )
        self._entries.cut(measure, cut, text)
        _log.info(
            "summarised {count} messages of session {session_id}, of {tokens} tokens"
            " in all; stored: {kept}",
            count=cut,
            session_id=self._session_id,
            tokens=measure.tokens,
            kept=kept,
        )

    def _fitted(
        self, call: ModelRequest, messages: tuple[Message, ...]
    ) -> ModelRequest:
        return msgspec.structs.replace(call, messages=(*self._entries.lead, *messages))


def _without_summary(task: SummaryTask) -> str:
    before = (task.previous or "").removesuffix(PLACEHOLDER).rstrip()
    before = clipped(before, task.max_tokens)
    return f"{before}\n\n{PLACEHOLDER}".strip()
