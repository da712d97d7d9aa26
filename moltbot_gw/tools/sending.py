"""``sessions_send``: an agent speaks to another session, and may wait for the answer.

The message is a run of that session like any other.  It does not count among those that
run at once, because who waits for it does already: otherwise agents that all wait for
each other would hold all the places.  How deep such messages go is bounded instead.

Source of names and texts: upstream ``src/agents/tools/sessions-send-tool.ts``; the
exchange of further messages after the answer, and the announcement, are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.config import normalize_agent_id
from moltbot_gw.errors import GatewayError, RunAborted
from moltbot_gw.messages import UserMessage
from moltbot_gw.principals import OWNER
from moltbot_gw.tooling import (
    Tool,
    ToolContext,
    ToolFailed,
    ToolParams,
    ToolResult,
    json_result,
)
from moltbot_gw.tools.access import NotAllowed, SessionAccess

MAX_DEPTH = 3
"""How many agents may wait for one another in a row."""

MAX_AT_ONCE = 16
"""Messages between sessions whose runs have not ended."""

MAX_WAIT_SECONDS = 3600


class SendParams(ToolParams, frozen=True, kw_only=True):
    """Of ``sessions_send``."""

    message: Annotated[str, Meta(min_length=1, max_length=400_000)]
    session_key: (
        Annotated[str, Meta(description="The session's key, or its id.")] | None
    ) = None
    label: (
        Annotated[str, Meta(description="The session's label, instead of its key.")]
        | None
    ) = None
    agent_id: (
        Annotated[str, Meta(description="Whose session has the label.")] | None
    ) = None
    timeout_seconds: Annotated[
        float,
        Meta(ge=0, description="How long to wait for the answer; 0 does not wait."),
    ] = 30


class SendTool:
    """The handler, and the messages under way."""

    def __init__(
        self,
        *,
        agents: AgentService,
        access: SessionAccess,
        clock: IReactorTime,
        new_uuid: Callable[[], str],
    ) -> None:
        self._agents = agents
        self._access = access
        self._clock = clock
        self._new_uuid = new_uuid
        self._depths: dict[str, int] = {}

    @property
    def tool(self) -> Tool:
        """The tool."""
        return Tool(
            name="sessions_send",
            description="Send a message to another session, and wait for its answer.",
            params=SendParams,
            run=self.send,
            label=lambda params: params.session_key or params.label,
        )

    async def send(self, params: SendParams, context: ToolContext) -> ToolResult:
        key = await self._target(params, context)
        shown = self._access.shown(context, key)
        answer: dict[str, Any] = {"runId": self._new_uuid(), "sessionKey": shown}
        try:
            self._access.check(context.agent_id, key, "messaging")
        except NotAllowed as refusal:
            return _result(answer, status="forbidden", error=str(refusal))
        if key == context.session_key:
            raise ToolFailed("sessionKey: this is your own session; just say it.")
        depth = self._depths.get(context.run_id, 0) + 1
        if depth > MAX_DEPTH or len(self._depths) >= MAX_AT_ONCE:
            raise ToolFailed("Too many messages between sessions are under way.")
        try:
            run = self._start(answer["runId"], key, params.message, context)
        except GatewayError as error:
            return _result(answer, status="error", error=error.message)
        self._depths[run.run_id] = depth
        run.when_ended().addCallback(lambda _: self._depths.pop(run.run_id))
        if not params.timeout_seconds:
            return _result(answer, status="accepted")
        return await self._answer(run, answer, params.timeout_seconds)

    async def _target(self, params: SendParams, context: ToolContext) -> str:
        if (params.session_key is None) == (params.label is None):
            raise ToolFailed("Give either sessionKey or label.")
        if params.session_key is not None:
            return await self._access.find(context, params.session_key)
        agent = normalize_agent_id(params.agent_id) if params.agent_id else None
        found = await self._access.labelled(context, params.label or "", agent)
        return found.session_key

    def _start(self, run_id: str, key: str, text: str, context: ToolContext) -> Run:
        asking = self._agents.find_run(context.run_id)
        return self._agents.start_run(
            RunRequest(
                run_id=run_id,
                agent_id=self._access.owner(key),
                session_key=key,
                store_key=key,
                new_session_id=self._new_uuid(),
                anonymous=False,
                messages=(UserMessage(text),),
                extra_system=(
                    f"This message comes from agent {context.agent_id}, session"
                    f" {context.session_key}; your answer is sent back to it."
                ),
                nested=True,
                principal=OWNER if asking is None else asking.caller,
            )
        )

    async def _answer(
        self, run: Run, answer: dict[str, Any], seconds: float
    ) -> ToolResult:
        waiting: Deferred[Any] = Deferred()
        timer = self._clock.callLater(
            min(seconds, MAX_WAIT_SECONDS), waiting.callback, None
        )
        ended = run.when_ended()
        ended.addCallbacks(
            lambda outcome: None if waiting.called else waiting.callback(outcome),
            lambda failure: failure.trap(CancelledError),
        )
        try:
            outcome = await waiting
        except CancelledError:
            # Who asked is gone, and nobody else is waiting for the answer.
            run.cancel(RunAborted("The session that asked was stopped."))
            raise
        finally:
            if timer.active():
                timer.cancel()
        if outcome is None:
            ended.cancel()
            return _result(answer, status="timeout", error="No answer yet.")
        if outcome.error is not None:
            return _result(answer, status="error", error=outcome.error.message)
        return _result(answer, status="ok", reply=run.text().strip())


def _result(answer: dict[str, Any], **more: str) -> ToolResult:
    return json_result({**answer, **more})
