"""``chat.history`` and ``chat.inject``: what has been said in a session.

Source: upstream ``src/gateway/server-methods/chat.ts``.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.agents.thinking import thinking_level
from moltbot_gw.agents.transcripts import injected_message, last_messages
from moltbot_gw.errors import StoreFailed
from moltbot_gw.messages import AssistantMessage
from moltbot_gw.stored import SessionSettings
from moltbot_gw.ws.calls import Call, Method, Params, Result, invalid, unavailable
from moltbot_gw.ws.hub import Hub
from moltbot_gw.ws.methods.loose import Text1
from moltbot_gw.ws.methods.session_tools import SessionTools

MAX_HISTORY_BYTES = 6 * 1024 * 1024
"""Of the JSON of all messages together; the oldest are left out."""


class HistoryParams(Params, frozen=True, kw_only=True):
    """Whose history, and how many messages of its end."""

    session_key: Text1
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class InjectParams(Params, frozen=True, kw_only=True):
    """What the assistant shall have said; *label* stands above it."""

    session_key: Text1
    message: Text1
    label: Annotated[str, Meta(max_length=100)] | None = None


class HistoryResult(Result, frozen=True, kw_only=True):
    """The end of a session, under the key that the client gave."""

    session_key: str
    session_id: str | None = None
    messages: list[msgspec.Raw]
    thinking_level: str


class InjectResult(Result, frozen=True, kw_only=True):
    """The id of the message: 8 hexadecimal digits."""

    ok: bool
    message_id: str


class HistoryMethods:
    """The handlers."""

    def __init__(self, tools: SessionTools, hub: Hub) -> None:
        self._tools = tools
        self._hub = hub

    async def history(self, call: Call, params: HistoryParams) -> HistoryResult:
        """Show the end of a session's messages."""
        tools = self._tools
        key = tools.key("chat.history", params.session_key, "sessionKey")
        found = await tools.store.transcript(key, params.limit)
        settings = found.settings if found else SessionSettings()
        return HistoryResult(
            session_key=params.session_key,
            session_id=found.session_id if found else None,
            messages=last_messages(
                found.entries if found else (), tools.catalog, MAX_HISTORY_BYTES
            ),
            thinking_level=self._thinking(settings, key),
        )

    async def inject(self, call: Call, params: InjectParams) -> InjectResult:
        """Add a message of the assistant that no model has said."""
        tools, message_id = self._tools, new_uuid()[:8]
        key = tools.key("chat.inject", params.session_key, "sessionKey")
        run_id, now_ms = f"inject-{message_id}", tools.now_ms()
        label = (params.label or "").strip()
        text = f"[{label}]\n\n{params.message}" if label else params.message
        message = AssistantMessage(text, stop_reason="injected")
        try:
            is_known = await tools.store.inject(key, message, run_id, now_ms)
        except StoreFailed as error:
            raise unavailable(f"failed to write transcript: {error.message}") from None
        if not is_known:
            raise invalid("session not found")
        payload = {
            "runId": run_id,
            "sessionKey": params.session_key,
            "seq": 0,
            "state": "final",
            "message": injected_message(text, now_ms),
        }
        self._hub.broadcast("chat", payload, key=f"chat:{run_id}")
        return InjectResult(ok=True, message_id=message_id)

    def _thinking(self, settings: SessionSettings, key: str) -> str:
        """Return the level that a run of the session would have."""
        agent = self._tools.agents.roster.owner(key)
        model = agent.model
        if settings.model is not None:
            model = self._tools.catalog.find(settings.model)
        return thinking_level(model, settings.thinking_level, agent.thinking)


def methods(*, tools: SessionTools, hub: Hub) -> list[Method]:
    """Return the methods of this module; *hub* tells of injected messages."""
    does = HistoryMethods(tools, hub)
    return [
        Method("chat.history", "read", HistoryParams, does.history),
        Method("chat.inject", "admin", InjectParams, does.inject, advertised=False),
    ]
