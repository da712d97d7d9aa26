"""``agent`` and ``agent.wait``: runs that programs start and wait for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.finished import REMEMBERED_SECONDS
from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.thinking import Thinking
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import UserMessage
from moltbot_gw.stored import SessionQuery
from moltbot_gw.ws.attachments import Attachment, images_of
from moltbot_gw.ws.calls import Call, Method, Params, invalid
from moltbot_gw.ws.starting import (
    MAX_MESSAGE_CHARS,
    RunKey,
    check_send_policy,
    content_of,
    key_of,
    log_run,
    result_of,
)
from moltbot_gw.ws.targets import Target, Targets

DEFAULT_WAIT_MS = 30_000
MAX_WAIT_MS = 24 * 3600 * 1000
MAX_TIMEOUT = 7 * 24 * 3600

_CHANNELS = frozenset(
    {"webchat", "last", "whatsapp", "telegram", "discord", "slack", "signal"}
    | {"imessage", "googlechat", "msteams", "line", "matrix", "bluebubbles"}
)
_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class AgentParams(Params, frozen=True, kw_only=True):
    """The parameters of ``agent``; those for channels are checked and not used."""

    message: Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_CHARS)]
    idempotency_key: RunKey
    agent_id: str | None = None
    session_key: str | None = None
    session_id: str | None = None
    to: str | None = None
    thinking: Thinking | None = None
    timeout: Annotated[int, Meta(ge=0, le=MAX_TIMEOUT)] | None = None
    deliver: bool | None = None
    attachments: tuple[Attachment, ...] = ()
    extra_system_prompt: str | None = None
    lane: str | None = None
    label: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    spawned_by: str | None = None
    reply_to: str | None = None
    channel: str | None = None
    reply_channel: str | None = None
    account_id: str | None = None
    reply_account_id: str | None = None
    thread_id: str | None = None
    group_id: str | None = None
    group_channel: str | None = None
    group_space: str | None = None


class WaitParams(Params, frozen=True, kw_only=True):
    """The parameters of ``agent.wait``."""

    run_id: RunKey
    timeout_ms: Annotated[int, Meta(ge=0)] = DEFAULT_WAIT_MS


class AgentMethods:
    """Starts runs for programs; the run goes on when the program has gone."""

    def __init__(
        self,
        *,
        agents: AgentService,
        store: ISessionStore,
        targets: Targets,
        clock: IReactorTime,
        unix_time: Callable[[], float],
    ) -> None:
        self._agents = agents
        self._store = store
        self._targets = targets
        self._clock = clock
        self._unix_time = unix_time

    def methods(self) -> list[Method]:
        """Return the methods of this module."""
        return [
            Method("agent", "write", AgentParams, self.agent, waits=True, metered=True),
            Method("agent.wait", "write", WaitParams, self.wait, waits=True),
        ]

    async def agent(self, call: Call, params: AgentParams) -> Any:
        """Run an agent: answer that it is accepted, and again when it has ended."""
        message = params.message.strip()
        images = images_of(params.attachments)
        if not message and not images:
            raise invalid("Message (--message) is required")
        for channel in (params.channel, params.reply_channel):
            if channel is not None and channel.strip().lower() not in _CHANNELS:
                raise invalid(f"invalid agent params: unknown channel: {channel[:80]}")
        target = await self._target(params)
        await check_send_policy(self._store, target.store_key)
        run = await self._agents.start_or_join(
            RunRequest(
                run_id=params.idempotency_key,
                agent_id=target.agent_id,
                session_key=target.session_key,
                store_key=target.store_key,
                new_session_id=new_uuid(),
                anonymous=False,
                messages=(UserMessage(content_of(message, images)),),
                extra_system=params.extra_system_prompt or "",
                key=key_of("agent", params, params.idempotency_key),
                timeout=float(params.timeout) if params.timeout else None,
                session_id=params.session_id or None,
                thinking=params.thinking,
                principal=call.caller.principal,
            )
        )
        if run.outcome is None:
            log_run(run, call.caller, self._agents.reporter)
            now_ms = int(self._unix_time() * 1000)
            accepted = {"runId": run.run_id, "status": "accepted", "acceptedAt": now_ms}
            call.answer_early(accepted)
        return result_of(run, await run.when_ended())

    async def wait(self, call: Call, params: WaitParams) -> Any:
        """Wait for the end of any run, one that is still to come included."""
        ended = self._agents.when_run_ended(params.run_id)
        if not ended.called and self._agents.find_run(params.run_id) is None:
            kept = await self._kept(params.run_id)
            if kept is not None:
                ended.cancel()
                ended.addErrback(lambda failure: failure.trap(CancelledError))
                return kept
        if not ended.called:
            seconds = min(params.timeout_ms, MAX_WAIT_MS) / 1000
            ended.addTimeout(seconds, self._clock)
        try:
            outcome = await ended
        except DeferredTimeout:
            return {"runId": params.run_id, "status": "timeout"}
        error = outcome.error if outcome.state == "failed" else None
        return _waited(
            params.run_id,
            outcome.started_at_ms,
            outcome.ended_at_ms,
            None if error is None else error.message,
        )

    async def _kept(self, run_id: str) -> Any:
        """Return the answer for a run of an earlier process; None if there is none."""
        after_ms = int((self._unix_time() - REMEMBERED_SECONDS) * 1000)
        kept = await self._store.find_kept(run_id, after_ms)
        if kept is None or kept.outcome is None or kept.run_id != run_id:
            return None
        error = kept.outcome.error if kept.outcome.state == "failed" else None
        return _waited(
            run_id,
            kept.outcome.started_at_ms,
            kept.outcome.ended_at_ms,
            None if error is None else error.message,
        )

    async def _target(self, params: AgentParams) -> Target:
        agent, session_id = params.agent_id or None, params.session_id or None
        if session_id is not None and not _SESSION_ID.fullmatch(session_id):
            raise invalid("invalid agent params: at /sessionId: not a session id")
        if params.session_key and params.session_key.strip():
            return self._targets.find("agent", params.session_key, agent)
        if session_id is not None:
            query = SessionQuery(session_id=session_id, limit=1)
            for session in await self._store.list_sessions(query):
                return self._targets.find("agent", session.session_key, agent)
        agent_id = self._targets.default_agent_id
        if agent is not None:
            agent_id = self._targets.agent("agent", agent)
        if session_id is not None:
            # A session of its own: it must not take the place of the main one.
            own = f"agent:{agent_id}:session:{session_id}"
            return self._targets.find("agent", own)
        if agent is not None or params.to:
            return self._targets.main(agent_id)
        raise invalid("Pass --to <E.164>, --session-id, or --agent to choose a session")


def _waited(
    run_id: str, started_at_ms: int | None, ended_at_ms: int, error: str | None
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "runId": run_id,
        "status": "ok" if error is None else "error",
        "endedAt": ended_at_ms,
    }
    if started_at_ms is not None:
        answer["startedAt"] = started_at_ms
    if error is not None:
        answer["error"] = error
    return answer
