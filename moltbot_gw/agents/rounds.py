"""The loop of a run: the model speaks, its tools are called, it reads, and goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from moltbot_gw.agents.run import Run
from moltbot_gw.agents.speech import Speech
from moltbot_gw.agents.toolcalls import check_calls
from moltbot_gw.agents.toolrunner import ToolRunner
from moltbot_gw.agents.usage import add_usage
from moltbot_gw.errors import TooManyRounds
from moltbot_gw.events import Completion, Usage
from moltbot_gw.messages import (
    AssistantMessage,
    Message,
    ModelRequest,
    ToolCall,
    ToolMessage,
)

_CUT_REASONS = ("length", "content_filter")

Speak = Callable[[ModelRequest, Callable[[], Speech]], Awaitable[Completion]]
"""Calls a model; asks for a new ``Speech`` before each attempt of that."""

Keep = Callable[[tuple[Message, ...]], Awaitable[None]]
"""Stores messages of the turn under way."""


class Rounds:
    """Plays one run's rounds.

    What has not been stored when it ends, well or not, is in ``unsaved``.  *usage* is
    the sum over the model calls, *context* that of the last one.
    """

    def __init__(
        self, *, run: Run, runner: ToolRunner, speak: Speak, keep: Keep
    ) -> None:
        self._run = run
        self._runner = runner
        self._speak = speak
        self._keep = keep
        self._speech: Speech | None = None
        self._results: tuple[ToolMessage, ...] = ()
        self._is_whole = False
        self.usage = Usage()
        self.context = Usage()
        self.called_tools = False

    async def play(self, call: ModelRequest) -> Completion:
        """Call the model until it is done, and return why it stopped.

        *call* offers the client's tools; those of the runner are offered beside them.
        Raises ``GatewayError``; ``TooManyRounds`` for a model that does not come to an
        end.
        """
        offered = frozenset(tool.name for tool in call.tools)
        own = tuple(tool.spec() for tool in self._runner.tools.values())
        if own:
            call = msgspec.structs.replace(call, tools=own + call.tools)
        for left in reversed(range(self._runner.limits.rounds)):
            is_last = bool(own) and not left
            if is_last:
                call = msgspec.structs.replace(call, tool_choice="none")
            completion, calls = await self._listen(call, offered)
            if completion.finish_reason in _CUT_REASONS:
                return completion
            if not is_last:
                check_calls(call, completion, calls, answers_all=bool(own))
            self._is_whole = True
            mine = tuple(call for call in calls if not call.for_client)
            if not mine:
                return completion
            if is_last:
                break
            said = self.unsaved()
            await self._make_calls(said, mine)
            if len(mine) < len(calls):
                return msgspec.structs.replace(completion, finish_reason="tool_calls")
            results = await self._keep_results()
            call = msgspec.structs.replace(
                call, messages=call.messages + said + results
            )
        raise TooManyRounds(
            f"The model called tools {self._runner.limits.rounds} times and came to no"
            " end."
        )

    def unsaved(self, reason: str | None = None) -> tuple[Message, ...]:
        """Return what was said and brought since something was stored last.

        *reason* is why the last message stopped, if that is not the calling of tools.
        """
        speech = self._speech
        if speech is None:
            return self._results
        # Half a call is of no use to anybody.
        calls = speech.calls() if self._is_whole else ()
        text, reasoning = speech.text(), speech.reasoning()
        if not (text or reasoning or calls or reason not in ("aborted", "error")):
            return self._results
        message = AssistantMessage(
            text,
            reasoning,
            calls,
            reason or "tool_calls",
            speech.reasoning_state if calls else "",
        )
        return (*self._results, message)

    async def _listen(
        self, call: ModelRequest, offered: frozenset[str]
    ) -> tuple[Completion, tuple[ToolCall, ...]]:
        """Let the model speak; return how that ended, and what it calls."""
        self._is_whole = False

        def begin() -> Speech:
            self._speech = self._run.begin_round(offered)
            return self._speech

        completion = await self._speak(call, begin)
        self._run.end_round()
        self.usage = add_usage(self.usage, completion.usage)
        self.context = completion.usage
        return completion, self._speech.calls() if self._speech else ()

    async def _make_calls(
        self, said: tuple[Message, ...], calls: tuple[ToolCall, ...]
    ) -> None:
        """Store the calls before they are made: what happens is to be known."""
        self.called_tools = True
        self._speech = None
        await self._keep(said)
        self._results = await self._runner.run(calls)
        if self._run.cancelled is not None:
            raise self._run.cancelled.unraised()

    async def _keep_results(self) -> tuple[ToolMessage, ...]:
        results, self._results = self._results, ()
        await self._keep(results)
        return results
