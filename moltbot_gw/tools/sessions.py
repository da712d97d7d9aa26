"""Tools that look at sessions: ``sessions_list``, ``sessions_history``,
``session_status``, ``agents_list``.

Source of names and parameters: upstream ``src/agents/tools/sessions-*.ts``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from moltbot_gw.agents.roster import Roster
from moltbot_gw.agents.statuscard import StatusCards
from moltbot_gw.agents.transcripts import last_messages
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import ToolMessage
from moltbot_gw.stored import SessionQuery, SessionSummary
from moltbot_gw.tooling import (
    Tool,
    ToolContext,
    ToolFailed,
    ToolParams,
    ToolResult,
    json_result,
)
from moltbot_gw.tools.access import NotAllowed, SessionAccess

MAX_ROWS = 200
MAX_ROW_MESSAGES = 20
MAX_MESSAGES = 200
MAX_HISTORY_BYTES = 80 * 1024
_HIDDEN_KEYS = frozenset({"unknown"})
"""What one look at a session brings at most; the oldest messages are left out."""

Kind = Literal["main", "group", "cron", "hook", "node", "other"]
_SessionKey = Annotated[
    str, Meta(description="A session's key, or its id; 'main' is your main session.")
]


class ListParams(ToolParams, frozen=True, kw_only=True):
    """Of ``sessions_list``."""

    kinds: tuple[Kind, ...] | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    active_minutes: Annotated[int, Meta(ge=1)] | None = None
    message_limit: Annotated[
        int, Meta(ge=0, description="How many last messages of each to show.")
    ] = 0


class HistoryParams(ToolParams, frozen=True, kw_only=True):
    """Of ``sessions_history``."""

    session_key: _SessionKey
    limit: Annotated[int, Meta(ge=1)] | None = None
    include_tools: Annotated[
        bool, Meta(description="Show what tools have brought, too.")
    ] = False


class StatusParams(ToolParams, frozen=True, kw_only=True):
    """Of ``session_status``."""

    session_key: _SessionKey | None = None
    model: (
        Annotated[
            str,
            Meta(
                description="Use this model from now on in your own session;"
                " 'default' goes back to the usual one."
            ),
        ]
        | None
    ) = None


class NoParams(ToolParams, frozen=True, kw_only=True):
    """Of a tool that asks nothing."""


class SessionTools:
    """The handlers."""

    def __init__(
        self,
        *,
        roster: Roster,
        store: ISessionStore,
        access: SessionAccess,
        cards: StatusCards,
        unix_time: Callable[[], float],
        new_session_id: Callable[[], str],
    ) -> None:
        self._roster = roster
        self._store = store
        self._access = access
        self._cards = cards
        self._unix_time = unix_time
        self._new_session_id = new_session_id

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools of this module."""
        return (
            Tool(
                name="sessions_list",
                description="List the sessions that you can see, the last used first.",
                params=ListParams,
                run=self.list_sessions,
            ),
            Tool(
                name="sessions_history",
                description="Read the last messages of a session.",
                params=HistoryParams,
                run=self.history,
                label=lambda params: params.session_key,
            ),
            Tool(
                name="session_status",
                description="Show time, model and size of a session (yours, unless"
                " told otherwise); or choose another model for your session.",
                params=StatusParams,
                run=self.status,
                label=lambda params: params.session_key,
            ),
            Tool(
                name="agents_list",
                description="List the agents that you can send messages to.",
                params=NoParams,
                run=self.agents,
            ),
        )

    async def list_sessions(
        self, params: ListParams, context: ToolContext
    ) -> ToolResult:
        rows: list[dict[str, Any]] = []
        limit = min(params.limit or MAX_ROWS, MAX_ROWS)
        oldest_ms = None
        if params.active_minutes is not None:
            oldest_ms = int((self._unix_time() - params.active_minutes * 60) * 1000)
        query = SessionQuery(
            anonymous=False, hidden=_HIDDEN_KEYS, updated_since_ms=oldest_ms
        )
        for session in await self._store.list_sessions(query):
            if len(rows) == limit:
                break
            if self._is_listed(session, context, params.kinds):
                rows.append(await self._row(session, context, params.message_limit))
        return json_result({"count": len(rows), "sessions": rows})

    async def history(self, params: HistoryParams, context: ToolContext) -> ToolResult:
        key = await self._access.find(context, params.session_key)
        try:
            self._access.check(context.agent_id, key, "history")
        except NotAllowed as refusal:
            return json_result({"status": "forbidden", "error": str(refusal)})
        limit = min(params.limit or MAX_MESSAGES, MAX_MESSAGES)
        messages = await self._messages(key, limit, with_tools=params.include_tools)
        shown = self._access.shown(context, key)
        return json_result({"sessionKey": shown, "messages": messages})

    async def status(self, params: StatusParams, context: ToolContext) -> ToolResult:
        key = context.session_key
        if params.session_key is not None:
            key = await self._access.find(context, params.session_key)
        try:
            self._access.check(context.agent_id, key, "status")
        except NotAllowed as refusal:
            raise ToolFailed(str(refusal)) from None
        if params.model is not None:
            if key != context.session_key:
                raise ToolFailed("model: only that of your own session can be set.")
            await self._set_model(params.model, context)
        text = await self._cards.card(key)
        details = {
            "ok": True,
            "sessionKey": self._access.shown(context, key),
            "changedModel": params.model is not None,
            "statusText": text,
        }
        return ToolResult(content=text, details=details)

    async def agents(self, params: NoParams, context: ToolContext) -> ToolResult:
        own = context.agent_id
        rows = []
        for agent_id in self._access.reachable(own):
            agent = self._roster.agents.get(agent_id)
            row: dict[str, Any] = {"id": agent_id, "configured": agent is not None}
            if agent is not None and agent.name:
                row["name"] = agent.name
            rows.append(row)
        return json_result({"requester": own, "allowAny": False, "agents": rows})

    async def _set_model(self, text: str, context: ToolContext) -> None:
        chosen = None
        if text.strip().lower() != "default":
            model = self._roster.catalog.find(text)
            agent = self._roster.agents[context.agent_id]
            if not self._roster.catalog.allows(model, agent.model):
                raise ToolFailed(f"model: {model} is not allowed here.")
            chosen = str(model)
        await self._store.patch(
            context.session_key,
            {"model": chosen},
            agent_id=context.agent_id,
            new_session_id=self._new_session_id(),
            now_ms=int(self._unix_time() * 1000),
        )

    def _is_listed(
        self,
        session: SessionSummary,
        context: ToolContext,
        kinds: Sequence[Kind] | None,
    ) -> bool:
        key = session.session_key
        reaches = self._access.reaches(context.agent_id, self._access.owner(key))
        return reaches and (not kinds or self._kind(key, context) in kinds)

    async def _row(
        self, session: SessionSummary, context: ToolContext, messages: int
    ) -> dict[str, Any]:
        key = session.session_key
        row: dict[str, Any] = {
            "key": self._access.shown(context, key),
            "kind": self._kind(key, context),
            "sessionId": session.session_id,
            "updatedAt": session.updated_at_ms,
            "totalTokens": session.total_tokens,
            "abortedLastRun": session.aborted_last_run,
        }
        if session.settings.label:
            row["label"] = session.settings.label
        if session.provider and session.model:
            row["model"] = f"{session.provider}/{session.model}"
        if messages:
            limit = min(messages, MAX_ROW_MESSAGES)
            row["messages"] = await self._messages(key, limit, with_tools=False)
        return row

    def _kind(self, key: str, context: ToolContext) -> Kind:
        if self._access.shown(context, key) == "main":
            return "main"
        kinds: tuple[tuple[str, Kind], ...] = (
            (":group:", "group"),
            (":channel:", "group"),
            (":cron:", "cron"),
            (":hook:", "hook"),
            (":node", "node"),
        )
        return next((kind for mark, kind in kinds if mark in key), "other")

    async def _messages(
        self, key: str, limit: int, *, with_tools: bool
    ) -> list[msgspec.Raw]:
        found = await self._store.transcript(key, limit)
        entries = found.entries if found else ()
        if not with_tools:
            entries = tuple(
                one for one in entries if not isinstance(one.message, ToolMessage)
            )
        return last_messages(entries, self._roster.catalog, MAX_HISTORY_BYTES)
