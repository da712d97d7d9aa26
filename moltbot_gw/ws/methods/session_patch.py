"""``sessions.patch``: what is set for a session, field by field.

A field that is not sent stays as it is, null clears it.

Source: upstream ``src/gateway/sessions-patch.ts``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.stored import SessionSettings, SessionSummary
from moltbot_gw.ws import levels
from moltbot_gw.ws.calls import Call, Params, Result, invalid
from moltbot_gw.ws.methods.loose import Text1
from moltbot_gw.ws.methods.session_tools import SessionTools
from moltbot_gw.ws.rows import Entry

Words = Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType | None
Label = Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType | None
Changes = dict[str, str | None]
"""Attributes of ``SessionSettings`` with what to set them to."""

_SPAWNED_BY = "spawnedBy is only supported for subagent:* sessions"

_CHECKS: dict[str, Callable[[str], str | None]] = {
    "label": lambda text: levels.not_blank(text, "label"),
    "verbose_level": levels.verbose_level,
    "reasoning_level": levels.reasoning_level,
    "response_usage": levels.response_usage,
    "elevated_level": levels.elevated_level,
    "exec_host": levels.exec_host,
    "exec_security": levels.exec_security,
    "exec_ask": levels.exec_ask,
    "exec_node": lambda text: levels.not_blank(text, "execNode"),
    "send_policy": str,
    "group_activation": str,
}
"""What makes of a field's words what is stored."""


class PatchParams(Params, frozen=True, kw_only=True):
    """The fields to change in the session *key*."""

    key: Text1
    label: Label = UNSET
    thinking_level: Words = UNSET
    verbose_level: Words = UNSET
    reasoning_level: Words = UNSET
    response_usage: Literal["off", "tokens", "full", "on"] | UnsetType | None = UNSET
    elevated_level: Words = UNSET
    exec_host: Words = UNSET
    exec_security: Words = UNSET
    exec_ask: Words = UNSET
    exec_node: Words = UNSET
    model: Words = UNSET
    spawned_by: Words = UNSET
    send_policy: Literal["allow", "deny"] | UnsetType | None = UNSET
    group_activation: Literal["mention", "always"] | UnsetType | None = UNSET


class PatchResult(Result, frozen=True, kw_only=True):
    """The session after the change, under its key in the store."""

    ok: bool
    path: str
    key: str
    entry: Entry


class SessionPatch:
    """The handler."""

    def __init__(self, tools: SessionTools) -> None:
        self._tools = tools

    async def patch(self, call: Call, params: PatchParams) -> PatchResult:
        """Change what is set for a session: model, thinking, label and others."""
        tools = self._tools
        target = tools.targets.find("sessions.patch", params.key)
        found = await tools.store.find_session(target.store_key)
        agent_id = found.agent_id if found else target.agent_id
        summary = await tools.store.patch(
            target.store_key,
            self._changes(params, found, agent_id),
            agent_id=agent_id,
            new_session_id=new_uuid(),
            now_ms=tools.now_ms(),
        )
        return PatchResult(
            ok=True,
            path=tools.store_path,
            key=summary.session_key,
            entry=tools.entry(summary),
        )

    def _changes(
        self, params: PatchParams, found: SessionSummary | None, agent_id: str
    ) -> Changes:
        settings = found.settings if found else SessionSettings()
        own = self._own_model(agent_id)
        changes = _plain_changes(params)
        if isinstance(params.spawned_by, str):
            # Those sessions are reserved, so a client has none to name.
            raise invalid(_SPAWNED_BY)
        if params.model is not UNSET:
            changes["model"] = self._model(params.model, own)
        chosen = changes.get("model", settings.model)
        model = str(own if chosen is None else self._tools.catalog.find(chosen))
        _add_thinking(changes, params, settings, model)
        return changes

    def _own_model(self, agent_id: str) -> ModelRef:
        roster = self._tools.agents.roster
        return roster.agents.get(agent_id, roster.agents[roster.default_id]).model

    def _model(self, text: str | UnsetType | None, own: ModelRef) -> str | None:
        """Return the model to store: None if it is the agent's own anyway."""
        if not isinstance(text, str):
            return None
        ref = self._tools.catalog.find(levels.not_blank(text, "model"))
        if not ref.provider or not ref.model:
            raise invalid(f"invalid model: {text}")
        if not self._tools.catalog.allows(ref, own):
            raise invalid(f"model not allowed: {ref}")
        return None if ref == own else str(ref)


def _plain_changes(params: PatchParams) -> Changes:
    """Return the changes that need no look at anything else."""
    changes: Changes = {}
    for name, check in _CHECKS.items():
        value = getattr(params, name)
        if value is not UNSET:
            changes[name] = None if value is None else check(value)
    return changes


def _add_thinking(
    changes: Changes, params: PatchParams, settings: SessionSettings, model: str
) -> None:
    """Add the level of thinking, as far as *model* has it."""
    wish: Any = params.thinking_level
    if wish is not UNSET:
        level = None if wish is None else levels.thinking_level(wish, model)
        if level == "xhigh" and model not in levels.XHIGH_MODELS:
            raise levels.no_xhigh()
        changes["thinking_level"] = level
    elif settings.thinking_level == "xhigh" and model not in levels.XHIGH_MODELS:
        changes["thinking_level"] = "high"
