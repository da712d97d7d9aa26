"""Has a model answer for a run: within its window, or another model if it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.collect import collect
from moltbot_gw.agents.context import RunContext
from moltbot_gw.agents.failover import Candidate, Failover
from moltbot_gw.agents.pictures import without_pictures
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.speech import Speech
from moltbot_gw.agents.usage import add_usage
from moltbot_gw.errors import ContextOverflow
from moltbot_gw.events import Completion, Usage
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.messages import ModelRequest, SamplingOptions


class Speaker:
    """The models of one run, by turns.

    The one that has answered is asked first from then on: a run does not change its
    model without need.  *options_for* returns the options for a model; *side_usage* is
    what summaries have cost.
    """

    def __init__(
        self,
        *,
        run: Run,
        failover: Failover,
        candidates: Sequence[Candidate],
        context: RunContext,
        options_for: Callable[[ModelRef], SamplingOptions],
    ) -> None:
        self._run = run
        self._failover = failover
        self._candidates = list(candidates)
        self._context = context
        self._options_for = options_for
        self.side_usage = Usage()

    @property
    def model(self) -> ModelRef:
        """The model that is asked first."""
        return self._candidates[0].model

    async def speak(
        self, call: ModelRequest, begin: Callable[[], Speech]
    ) -> Completion:
        """Let the run hear an answer to *call*, and return how it ended.

        *begin* is called before each attempt.  Raises ``GatewayError``.
        """
        speech: Speech | None = None

        def began() -> None:
            nonlocal speech
            speech = begin()

        def attempt(model: ModelRef, provider: IModelProvider) -> Awaitable[Completion]:
            return self._attempt(call, model, provider, began)

        completion, model = await self._failover.call(
            self._candidates,
            attempt,
            spoken=lambda: speech is not None and speech.is_shown,
            run_id=self._run.run_id,
            told=self._run.tell,
        )
        if model != self.model:
            self._candidates.sort(key=lambda candidate: candidate.model != model)
            self._run.model = str(model)
        return completion

    async def _attempt(
        self,
        call: ModelRequest,
        model: ModelRef,
        provider: IModelProvider,
        began: Callable[[], None],
    ) -> Completion:
        async def summarize(request: ModelRequest) -> str:
            collected = await collect(provider, request)
            usage = collected.completion.usage
            self.side_usage = add_usage(self.side_usage, usage)
            return collected.text

        call = msgspec.structs.replace(
            call, model=model.model, options=self._options_for(model)
        )
        call = await self._context.fit(call, model=model, summarize=summarize)
        began()
        try:
            return await provider.stream(_fit_for(model, call), self._run)
        except ContextOverflow:
            # Refused before the first word: our estimate was too low.
            call = await self._context.overflowed(
                call, model=model, summarize=summarize
            )
        began()
        return await provider.stream(_fit_for(model, call), self._run)


def _fit_for(model: ModelRef, call: ModelRequest) -> ModelRequest:
    """Return *call* without the pictures that *model* does not take.

    Those of the request were looked at before; these are of the session's past, and of
    tools.
    """
    if model.accepts_images:
        return call
    messages = without_pictures(call.messages)
    if messages is call.messages:
        return call
    return msgspec.structs.replace(call, messages=messages)
