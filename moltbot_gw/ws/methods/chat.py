"""``chat.send`` and ``chat.abort``: conversations of people at a screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.agents.keys import MAX_KEY_CHARS
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.service import AgentService
from moltbot_gw.agents.thinking import Thinking
from moltbot_gw.errors import RunAborted
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import UserMessage
from moltbot_gw.ws.attachments import Attachment, images_of
from moltbot_gw.ws.calls import Call, Method, MethodError, Params, invalid
from moltbot_gw.ws.methods.commands import GREETING, Commands
from moltbot_gw.ws.starting import (
    MAX_MESSAGE_CHARS,
    RunKey,
    check_send_policy,
    content_of,
    key_of,
    log_run,
)
from moltbot_gw.ws.system_events import SystemEvents
from moltbot_gw.ws.targets import Targets

Key1 = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]
RunId = Annotated[str, Meta(min_length=1)]
_STOP_WORDS = frozenset({"/stop", "stop", "esc", "abort", "wait", "exit", "interrupt"})


class SendParams(Params, frozen=True, kw_only=True):
    """The parameters of ``chat.send``; *deliver* has no meaning here."""

    session_key: Key1
    message: Annotated[str, Meta(max_length=MAX_MESSAGE_CHARS)]
    idempotency_key: RunKey
    thinking: Thinking | None = None
    deliver: bool | None = None
    attachments: tuple[Attachment, ...] = ()
    timeout_ms: Annotated[int, Meta(ge=0)] | None = None


class AbortParams(Params, frozen=True, kw_only=True):
    """The parameters of ``chat.abort``; without *run_id* all runs of the session."""

    session_key: Key1
    run_id: RunId | None = None


class ChatMethods:
    """Starts runs for people, who follow them by events, and stops them.

    *system_events* is what a session's agent is to be told before its next message.
    """

    def __init__(
        self,
        *,
        agents: AgentService,
        store: ISessionStore,
        targets: Targets,
        unix_time: Callable[[], float],
        system_events: SystemEvents,
        commands: Commands,
    ) -> None:
        self._agents = agents
        self._store = store
        self._targets = targets
        self._unix_time = unix_time
        self._system_events = system_events
        self._commands = commands

    def methods(self) -> list[Method]:
        """Return the methods of this module."""
        return [
            Method("chat.abort", "write", AbortParams, self.abort),
            Method("chat.send", "write", SendParams, self.send, metered=True),
        ]

    async def send(self, call: Call, params: SendParams) -> Any:
        """Start a run and answer at once; what it says comes as events."""
        images = images_of(params.attachments)
        if not params.message.strip() and not images:
            raise invalid("message or attachment required")
        target = self._targets.find("chat.send", params.session_key)
        if params.message.strip().lower() in _STOP_WORDS and not images:
            return self._stop(target.store_key, None, "stop")
        await check_send_policy(self._store, target.store_key)
        run_id = params.idempotency_key
        running = self._agents.find_run(run_id)
        key = key_of("chat.send", params, run_id)
        message = params.message
        command = None if images else self._commands.find(message)
        if command is not None and command.name == "new":
            if not self._commands.is_known(run_id):
                await self._commands.begin_anew(target)
            message = command.rest or GREETING
        elif command is not None:
            if self._commands.is_known(run_id):
                return {"runId": run_id, "status": "ok"}
            self._commands.carry_out(command, target, run_id)
            return {"runId": run_id, "status": "started"}
        news = self._system_events.peek(target.store_key)
        content = content_of(self._text(message, news), images)
        run = await self._agents.start_or_join(
            RunRequest(
                run_id=run_id,
                agent_id=target.agent_id,
                # Clients compare this with their own spelling, blanks included.
                session_key=params.session_key,
                store_key=target.store_key,
                new_session_id=new_uuid(),
                anonymous=False,
                messages=(UserMessage(content),),
                key=key,
                thinking=params.thinking,
                principal=call.caller.principal,
            )
        )
        if run.outcome is None and run is running:
            return {"runId": run.run_id, "status": "in_flight"}
        if run.outcome is None:
            log_run(run, call.caller, self._agents.reporter)
            self._system_events.forget(target.store_key, news)
            return {"runId": run.run_id, "status": "started"}
        if run.outcome.state == "failed" and run.outcome.error is not None:
            summary = run.outcome.error.message
            raise MethodError(
                "UNAVAILABLE",
                summary,
                payload={"runId": run.run_id, "status": "error", "summary": summary},
            )
        return {"runId": run.run_id, "status": "ok"}

    async def abort(self, call: Call, params: AbortParams) -> Any:
        """Cut off one run of a session, or all."""
        target = self._targets.find("chat.abort", params.session_key)
        if params.run_id is not None:
            run = self._agents.find_run(params.run_id)
            if run is not None and run.store_key != target.store_key:
                raise invalid("runId does not match sessionKey")
        return self._stop(target.store_key, params.run_id, "rpc")

    def _stop(self, store_key: str, run_id: str | None, reason: str) -> dict[str, Any]:
        runs = [
            run
            for run in self._agents.runs_of(store_key)
            if run_id is None or run.run_id == run_id
        ]
        for run in runs:
            run.cancel(RunAborted("The run was aborted.", stop_reason=reason))
        run_ids = [run.run_id for run in runs]
        return {"ok": True, "aborted": bool(runs), "runIds": run_ids}

    def _text(self, message: str, events: list[str]) -> str:
        """Return the message, after what its agent has not been told yet."""
        now = time.strftime("%Y-%m-%d %H:%M", time.localtime(self._unix_time()))
        lines = [f"System: [{now}] {event}" for event in events]
        return "\n".join([*lines, message])
