"""Which agents and models there are.

Source: upstream ``src/gateway/server-methods/{agents,models,agent}.ts``,
``src/gateway/assistant-identity.ts``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moltbot_gw.agents.catalog import KnownModel
from moltbot_gw.agents.identity import IdentityFile, IdentityLines
from moltbot_gw.agents.keys import split_key
from moltbot_gw.agents.roster import Agent
from moltbot_gw.agents.service import AgentService
from moltbot_gw.config import Assistant, normalize_agent_id
from moltbot_gw.interfaces import RunInThread
from moltbot_gw.ws.calls import Call, Method, NoParams, Params, Result, invalid
from moltbot_gw.ws.methods.loose import Text1
from moltbot_gw.ws.targets import Targets

MAX_NAME_CHARS = 50
MAX_AVATAR_CHARS = 200
MAX_EMOJI_CHARS = 4

_URL = re.compile(r"https?://|data:image/", re.IGNORECASE)


class AgentIdentity(Result, frozen=True, kw_only=True):
    """How an agent presents itself."""

    name: str | None = None
    theme: str | None = None
    emoji: str | None = None
    avatar: str | None = None
    avatar_url: str | None = None


class AgentRow(Result, frozen=True, kw_only=True):
    """An agent of ``agents.list``."""

    id: str
    name: str | None = None
    identity: AgentIdentity | None = None


class AgentsResult(Result, frozen=True, kw_only=True):
    """The answer of ``agents.list``; the default agent comes first."""

    default_id: str
    main_key: str
    scope: str
    agents: list[AgentRow]


class ModelRow(Result, frozen=True, kw_only=True):
    """A model of ``models.list``; *context_window* in tokens."""

    id: str
    name: str
    provider: str
    context_window: int | None = None
    reasoning: bool
    input: tuple[str, ...]


class IdentityParams(Params, frozen=True, kw_only=True):
    """Whose identity; by default the default agent's."""

    agent_id: Text1 | None = None
    session_key: str | None = None


class IdentityResult(Result, frozen=True, kw_only=True):
    """The answer of ``agent.identity.get``."""

    agent_id: str
    name: str
    avatar: str


class CatalogueMethods:
    """The handlers; *find_assistant* returns ``ui.assistant``."""

    def __init__(
        self,
        *,
        agents: AgentService,
        targets: Targets,
        find_assistant: Callable[[], Assistant | None],
        run_in_thread: RunInThread,
    ) -> None:
        self._agents = agents
        self._targets = targets
        self._find_assistant = find_assistant
        self._run_in_thread = run_in_thread
        self._files: dict[Path, IdentityFile] = {}

    async def agents_list(self, call: Call, params: NoParams) -> AgentsResult:
        """List the agents, the default one first."""
        roster = self._agents.roster
        default_id, agents = roster.default_id, roster.agents
        others = sorted(set(agents) - {default_id})
        return AgentsResult(
            default_id=default_id,
            main_key="main",
            scope=self._targets.scope,
            agents=[_agent_row(agents[agent_id]) for agent_id in (default_id, *others)],
        )

    async def models_list(self, call: Call, params: NoParams) -> Any:
        """List the models that can be chosen."""
        models = self._agents.roster.catalog.models
        return {"models": [_model_row(known) for known in models]}

    async def identity(self, call: Call, params: IdentityParams) -> IdentityResult:
        """Say how an agent presents itself."""
        agent_id = self._agent_id(params)
        agent = self._agents.roster.agents.get(agent_id)
        lines = await self._identity_lines(agent) if agent else IdentityLines()
        assistant = self._find_assistant()
        names = (
            assistant.name if assistant else None,
            agent.name if agent else None,
            lines.name,
        )
        avatars = (
            assistant.avatar if assistant else None,
            agent.avatar if agent else None,
            agent.emoji if agent else None,
            lines.avatar,
            lines.emoji,
        )
        return IdentityResult(
            agent_id=agent_id,
            name=_first_name(names) or "Assistant",
            avatar=_first_avatar(avatars) or "A",
        )

    def _agent_id(self, params: IdentityParams) -> str:
        """Return whom *params* mean; there need be no such agent."""
        given = (params.agent_id or "").strip()
        asked = normalize_agent_id(given) if given else None
        owner = split_key((params.session_key or "").strip())[0]
        if owner is not None and asked is not None and owner != asked:
            raise invalid(
                f'invalid agent.identity.get params: agent "{given[:80]}" does not'
                f' match session key agent "{owner}"'
            )
        return owner or asked or self._agents.roster.default_id

    async def _identity_lines(self, agent: Agent) -> IdentityLines:
        known = {one.workspace for one in self._agents.roster.agents.values()}
        for gone in set(self._files) - known:
            del self._files[gone]
        file = self._files.get(agent.workspace)
        if file is None:
            file = self._files[agent.workspace] = IdentityFile(agent.workspace)
        return await self._run_in_thread(file.read)


def methods(
    *,
    agents: AgentService,
    targets: Targets,
    find_assistant: Callable[[], Assistant | None],
    run_in_thread: RunInThread,
) -> list[Method]:
    """Return the methods of this module; see ``CatalogueMethods``."""
    does = CatalogueMethods(
        agents=agents,
        targets=targets,
        find_assistant=find_assistant,
        run_in_thread=run_in_thread,
    )
    return [
        Method("models.list", "read", NoParams, does.models_list),
        Method("agents.list", "read", NoParams, does.agents_list),
        Method("agent.identity.get", "read", IdentityParams, does.identity),
    ]


def _agent_row(agent: Agent) -> AgentRow:
    avatar = agent.avatar
    is_url = avatar is not None and _URL.match(avatar) is not None
    identity = AgentIdentity(
        name=agent.name,
        theme=agent.theme,
        emoji=agent.emoji,
        avatar=avatar,
        avatar_url=avatar if is_url else None,
    )
    is_empty = identity == AgentIdentity()
    return AgentRow(
        id=agent.id, name=agent.name, identity=None if is_empty else identity
    )


def _model_row(known: KnownModel) -> ModelRow:
    return ModelRow(
        id=known.ref.model,
        name=known.name,
        provider=known.ref.provider,
        context_window=known.ref.context_window,
        reasoning=known.ref.reasons,
        input=known.input,
    )


def _first_name(names: tuple[str | None, ...]) -> str | None:
    texts = ((name or "").strip()[:MAX_NAME_CHARS] for name in names)
    return next((text for text in texts if text), None)


def _first_avatar(avatars: tuple[str | None, ...]) -> str | None:
    """Return the first that a page can show: a URL, or a few characters.

    A path inside the workspace is passed over: nothing serves it.
    """
    for avatar in avatars:
        text = (avatar or "").strip()
        if len(text) <= MAX_AVATAR_CHARS and _URL.match(text):
            return text
        if _is_short(text):
            return text
    return None


def _is_short(text: str) -> bool:
    has_path = any(character in " /\\." for character in text)
    return 0 < len(text) <= MAX_EMOJI_CHARS and not has_path
