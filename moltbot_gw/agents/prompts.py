"""The prompts of all agents; what they read of the disk is read in a thread.

A look at a dozen files takes a fraction of a millisecond, until the disk is busy with
something else (a commit of our own store, a backup): then it takes half a second, in
which a reactor that waits for it stands still for everybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from moltbot_gw.agents.prompt import PromptBuilder
from moltbot_gw.agents.roster import Agent
from moltbot_gw.agents.sharedwork import SharedWork
from moltbot_gw.interfaces import RunInThread

_log = Logger()

PATIENCE = 5.0
"""Seconds that a run waits for the disk; then it goes on with what was there before."""


class Prompts:
    """Makes the system prompts of *agents*.

    A file that changes counts from the next second on: under load, one look a second
    serves all runs of an agent, and there is never more than one under way.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        *,
        run_in_thread: RunInThread,
        clock: IReactorTime,
    ) -> None:
        self._builders = {agent.id: PromptBuilder(agent) for agent in agents}
        self._run_in_thread = run_in_thread
        self._clock = clock
        self._looks: SharedWork[PromptBuilder] = SharedWork()

    async def build(self, agent_id: str, extra: str, unix_time: float) -> str:
        """Return the prompt of a known agent; *extra* is the client's own system text.

        Never raises for what is on the disk.
        """
        builder = self._builders[agent_id]
        if not builder.is_fresh(unix_time):
            await self._look(builder, unix_time)
        return builder.join(extra)

    async def _look(self, builder: PromptBuilder, unix_time: float) -> None:
        def begin() -> Deferred[None]:
            looking = self._run_in_thread(partial(builder.look, unix_time))
            taken = looking.addCallback(builder.take, unix_time)
            return taken.addErrback(self._report)

        waiting = self._looks.join(builder, begin)
        try:
            await waiting.addTimeout(PATIENCE, self._clock)
        except TimeoutError:
            _log.warn("the workspace's files cannot be read in time")

    def _report(self, failure: Failure) -> None:
        _log.failure("the workspace's files could not be read", failure)
