"""``POST /v1/chat/completions``: a request becomes a run, and the run an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.errors import InvalidRequest, RunAborted
from moltbot_gw.http.answers import prepare_json
from moltbot_gw.http.naming import find_target
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.http.sse import SSEStream
from moltbot_gw.wire.chat_request import ChatRequest, parse_chat_request
from moltbot_gw.wire.chat_response import ChunkRenderer, render_completion

DEFAULT_MODEL_NAME = "moltbot"


class CompletionsHandler:
    """Answers completions.

    The run belongs to the agent service, not to the request: when the client goes, this
    handler is cancelled, and tells the run so (*on_disconnect* ``"cancel"``) or not.
    """

    def __init__(
        self,
        *,
        agents: AgentService,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        on_disconnect: Literal["cancel", "finish"],
        keep_alive: float,
        global_scope: bool,
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._unix_time = unix_time
        self._cancels = on_disconnect == "cancel"
        self._keep_alive = keep_alive
        self._global_scope = global_scope

    async def post(self, request: GatewayRequest) -> bytes | None:
        """Return the body of the answer; None when it was streamed already."""
        chat = parse_chat_request(request.take_body())
        run = self._start(request, chat)
        try:
            if chat.stream:
                await self._stream(request, chat, run)
                return None
            return await self._complete(request, chat, run)
        finally:
            # After a whole answer the run has ended, and this does nothing.
            if self._cancels:
                run.cancel(RunAborted("The client closed the connection."))

    def _start(self, request: GatewayRequest, chat: ChatRequest) -> Run:
        target = find_target(
            request.requestHeaders,
            chat,
            self._agents.roster,
            global_scope=self._global_scope,
        )
        agent = self._agents.roster.agents[target.agent_id]
        if chat.image_path is not None and not agent.model.accepts_images:
            raise InvalidRequest(
                f"{chat.image_path}: the model of agent {agent.id} takes no images.",
                param=chat.image_path,
            )
        run = self._agents.start_run(
            RunRequest(
                run_id=f"chatcmpl_{new_uuid()}",
                agent_id=target.agent_id,
                session_key=target.session_key,
                store_key=target.store_key,
                new_session_id=target.new_session_id,
                anonymous=target.anonymous,
                messages=chat.messages,
                extra_system=chat.system,
                options=chat.options,
            )
        )
        request.run_id = run.run_id
        headers = request.responseHeaders
        headers.setRawHeaders(b"X-Moltbot-Agent-Id", [target.agent_id.encode("ascii")])
        session = target.session_key.encode("ascii")
        headers.setRawHeaders(b"X-Moltbot-Session-Key", [session])
        return run

    async def _stream(
        self, request: GatewayRequest, chat: ChatRequest, run: Run
    ) -> None:
        renderer = ChunkRenderer(
            completion_id=run.run_id,
            created=int(self._unix_time()),
            model=_echo(chat),
            include_usage=chat.include_usage,
        )
        await SSEStream(request, renderer, self._clock, self._keep_alive).serve(run)

    async def _complete(
        self, request: GatewayRequest, chat: ChatRequest, run: Run
    ) -> bytes:
        created = int(self._unix_time())
        outcome = await run.when_ended()
        if outcome.error is not None:
            raise outcome.error
        body = render_completion(
            completion_id=run.run_id,
            created=created,
            model=_echo(chat),
            text=run.text(),
            reasoning=run.reasoning(),
            outcome=outcome,
        )
        return prepare_json(request, body)


def _echo(chat: ChatRequest) -> str:
    return DEFAULT_MODEL_NAME if chat.model is None else chat.model
