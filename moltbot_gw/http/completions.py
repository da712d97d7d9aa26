"""``POST /v1/chat/completions``: a request becomes a run, and the run an answer."""

from __future__ import annotations

from functools import partial

import attrs
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.errors import InvalidRequest
from moltbot_gw.http.answers import prepare_json
from moltbot_gw.http.audience import Audience
from moltbot_gw.http.eventids import wants_event_ids
from moltbot_gw.http.idempotency import find_key
from moltbot_gw.http.naming import OwnHeaders, find_target, own_headers
from moltbot_gw.http.pictures import Pictures
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.http.sse import Reading, SSEStream
from moltbot_gw.stored import IdempotencyKey
from moltbot_gw.wire.chat_request import ChatRequest, parse_chat_request
from moltbot_gw.wire.chat_response import ChunkRenderer, render_completion

DEFAULT_MODEL_NAME = "moltbot"


@attrs.frozen(kw_only=True, eq=False)
class CompletionOptions:
    """What a configuration says of completions; *keep_alive* in seconds."""

    pictures: Pictures
    keep_alive: float


class CompletionsHandler:
    """Answers completions.

    The run belongs to the agent service, not to the request: when the client goes, this
    handler is cancelled, and the *audience* decides what becomes of the run.
    *options* may be replaced at any time; a request keeps those that it began with.
    """

    def __init__(
        self,
        *,
        agents: AgentService,
        clock: IReactorTime,
        audience: Audience,
        options: CompletionOptions,
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._audience = audience
        self.options = options

    async def post(self, request: GatewayRequest) -> bytes | None:
        """Return the body of the answer; None when it was streamed already."""
        options = self.options
        chat, key = _read(request, options.pictures)
        own = own_headers(request.requestHeaders)
        wants_ids = wants_event_ids(own)
        run = await self._start(request, own, chat, key, options.pictures)
        self._audience.join(run)
        try:
            if chat.stream:
                # A replay has a log of its own, to which nobody can attach.
                reading = Reading(event_ids=wants_ids and not run.is_replay)
                stream = SSEStream(
                    request,
                    _renderer(chat, run),
                    self._clock,
                    options.keep_alive,
                    reading,
                )
                await stream.serve(run)
                return None
            return await self._complete(request, chat, run)
        finally:
            # After a whole answer the run has ended, and this does nothing.
            self._audience.leave(run)

    async def _start(
        self,
        request: GatewayRequest,
        own: OwnHeaders,
        chat: ChatRequest,
        key: IdempotencyKey | None,
        pictures: Pictures,
    ) -> Run:
        setup = self._agents.setup
        target = find_target(
            own,
            chat,
            setup.roster,
            global_scope=setup.global_scope,
            principal=request.principal,
        )
        agent = setup.roster.agents[target.agent_id]
        model = target.model or agent.model
        if chat.image_path is not None and not model.accepts_images:
            raise InvalidRequest(
                f"{chat.image_path}: the model of agent {agent.id} takes no images.",
                param=chat.image_path,
            )
        messages = await pictures.settle(chat)
        run_id = f"chatcmpl_{new_uuid()}"
        run = await self._agents.start_or_join(
            RunRequest(
                run_id=run_id,
                agent_id=target.agent_id,
                session_key=target.session_key,
                store_key=target.store_key,
                new_session_id=target.new_session_id,
                anonymous=target.anonymous,
                messages=messages,
                extra_system=chat.system,
                options=chat.options,
                model=target.model,
                tools=chat.tools,
                tool_choice=chat.tool_choice,
                key=key,
                echo=_echo(chat),
                wants_usage=chat.include_usage,
                principal=request.principal,
            )
        )
        request.run_id = run.run_id
        request.run_report = partial(self._agents.reporter.report, run)
        headers = request.responseHeaders
        if run.run_id != run_id and run.outcome is not None:
            headers.setRawHeaders(b"Idempotent-Replayed", [b"true"])
        headers.setRawHeaders(b"X-Moltbot-Agent-Id", [target.agent_id.encode("ascii")])
        # An anonymous session is that of the run, whichever request has started it.
        spelled = run.session_key if target.anonymous else target.session_key
        session = spelled.encode("ascii")
        headers.setRawHeaders(b"X-Moltbot-Session-Key", [session])
        return run

    async def _complete(
        self, request: GatewayRequest, chat: ChatRequest, run: Run
    ) -> bytes:
        outcome = await run.when_ended()
        if outcome.error is not None:
            raise outcome.error.unraised()
        body = render_completion(
            completion_id=run.run_id,
            created=run.created,
            model=_echo(chat),
            text=run.text(),
            reasoning=run.reasoning(),
            tool_calls=run.tool_calls()
            if outcome.finish_reason == "tool_calls"
            else (),
            outcome=outcome,
        )
        return prepare_json(request, body)


def _read(
    request: GatewayRequest, pictures: Pictures
) -> tuple[ChatRequest, IdempotencyKey | None]:
    """Return what is asked for, and its key; nobody keeps the body itself."""
    body = request.take_body()
    chat = parse_chat_request(body, remote_images=pictures.allow_remote)
    return chat, find_key(request.requestHeaders, body, request.principal.name)


def _renderer(chat: ChatRequest, run: Run) -> ChunkRenderer:
    return ChunkRenderer(
        completion_id=run.run_id,
        created=run.created,
        model=_echo(chat),
        include_usage=chat.include_usage,
    )


def _echo(chat: ChatRequest) -> str:
    return DEFAULT_MODEL_NAME if chat.model is None else chat.model
