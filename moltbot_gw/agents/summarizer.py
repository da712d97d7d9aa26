"""Getting a summary from a model, with all that can go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moltbot_gw.agents.lists import lists_of
from moltbot_gw.agents.summary import Summarize, SummaryTask, write_summary
from moltbot_gw.errors import InvalidRequest, ProviderFailed, ProviderTimedOut
from moltbot_gw.events import CompactionEnded, CompactionEvent, CompactionStarted
from moltbot_gw.unheld import from_coroutine

SUMMARY_SECONDS = 300.0
"""How long all calls for one summary may take."""

_log = Logger()


@attrs.frozen(kw_only=True, eq=False)
class Summarizer:
    """Asks for the summaries of one session; *on_event* hears when one is made.

    With *with_lists*, failed calls and files stand behind the summary.
    """

    clock: IReactorTime
    on_event: Callable[[CompactionEvent], None]
    session_id: str
    with_lists: bool

    async def write(self, task: SummaryTask, summarize: Summarize) -> str:
        """Return a summary; raise what the provider fails with."""
        self.on_event(CompactionStarted())
        try:
            return await self._write(task, summarize)
        finally:
            self.on_event(CompactionEnded())

    async def attempt(
        self, task: SummaryTask, summarize: Summarize, *, will_retry: bool = False
    ) -> str | None:
        """Return a summary, None if the model does not give one.

        With *will_retry*, the call that was too long is repeated in both cases.
        """
        self.on_event(CompactionStarted())
        goes_on = False
        try:
            text = await self._write(task, summarize)
            goes_on = True
            return text
        # Not the reasons for which runs are cut off: those are for the run.
        except (ProviderFailed, ProviderTimedOut, InvalidRequest) as error:
            goes_on = True
            _log.warn(
                "no summary of session {session_id}: {why}",
                session_id=self.session_id,
                why=error.message,
            )
            return None
        finally:
            self.on_event(CompactionEnded(will_retry=will_retry and goes_on))

    async def _write(self, task: SummaryTask, summarize: Summarize) -> str:
        writing = from_coroutine(write_summary(task, summarize))
        try:
            text = await writing.addTimeout(SUMMARY_SECONDS, self.clock)
        except defer.TimeoutError:
            raise ProviderTimedOut("The summary took too long.") from None
        return text + lists_of(task.messages) if self.with_lists else text
