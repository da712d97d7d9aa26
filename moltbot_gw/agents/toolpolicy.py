"""Which tools an agent may use, and what says so.

A tool must pass every stage, in this order: profile, profile of the provider, the lists
of ``tools``, those of its ``byProvider``, the agent's lists, those of its
``byProvider``, the sandbox's, the sub-agents'.  Profiles replace each other (the
agent's counts before the general one); lists never do: all that is written counts.

An agent of which no configuration says what it may use has the profile ``minimal``.
``profile`` says so, and ``allow`` if it names a tool; ``deny``, ``alsoAllow``,
``byProvider`` and the lists for sandboxes and sub-agents only change what there is.

Source: upstream ``src/agents/{tool-policy,pi-tools.policy}.ts``; the default is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

import msgspec

from moltbot_gw.agents.keys import split_key
from moltbot_gw.agents.toolstages import (
    DEFAULT_PROFILE,
    Finding,
    Scope,
    Stage,
    allows_something,
    list_stage,
    profile_stage,
    provider_scopes,
    subagent_stage,
)
from moltbot_gw.config import AgentEntry, Config
from moltbot_gw.config.model_tools import AgentTools, ToolNames, Tools, ToolScope
from moltbot_gw.config.toolnames import normal_tool_name

MAX_REMEMBERED = 256
"""Of so many agents and models the stages, and what they allow, are remembered."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an agent may use the tool *name*, and which *stage* decided.

    For a denied tool *stage* is the first that denied it, for an allowed one the first
    whose list has it; *why* names the entry of that list.  Both are for people.
    """

    name: str
    allowed: bool
    stage: str
    why: str


class _Case(msgspec.Struct, frozen=True):
    """All that stages depend on."""

    agent_id: str
    provider: str
    model: str
    is_subagent: bool
    is_sandboxed: bool


class ToolPolicies:
    """Decides by a parsed configuration, which never changes."""

    def __init__(self, config: Config) -> None:
        self._tools = config.tools or Tools()
        self._agents = {entry.id: entry for entry in config.agents.list}
        sandbox = config.agents.defaults.sandbox
        self._sandbox_mode = (sandbox and sandbox.mode) or "off"
        remember = lru_cache(MAX_REMEMBERED)
        # Of functions, not methods: a circle would keep what a reload has replaced.
        self._stages = remember(partial(_build_stages, self._tools, self._agents))
        self._allowed = remember(partial(_find_allowed, self._stages))

    def verdicts(
        self,
        agent_id: str,
        provider: str,
        model: str,
        names: tuple[str, ...],
        *,
        session_key: str | None = None,
    ) -> tuple[Verdict, ...]:
        """Return what is decided of each of *names*, in their order.

        *session_key* is the store's; without it the agent's main session is meant.
        """
        stages = self._stages(self._case(agent_id, provider, model, session_key))
        return tuple(_verdict(name, stages) for name in names)

    def allowed(
        self,
        agent_id: str,
        provider: str,
        model: str,
        names: tuple[str, ...],
        *,
        session_key: str | None = None,
    ) -> frozenset[str]:
        """Return those of *names* that the agent may use; see ``verdicts``."""
        case = self._case(agent_id, provider, model, session_key)
        return self._allowed(case, names)

    def _case(
        self, agent_id: str, provider: str, model: str, session_key: str | None
    ) -> _Case:
        rest = "main" if session_key is None else split_key(session_key)[1].lower()
        entry = self._agents.get(agent_id)
        mode = (entry and entry.sandbox and entry.sandbox.mode) or self._sandbox_mode
        is_main = rest in ("main", "global")
        return _Case(
            agent_id,
            provider,
            model,
            is_subagent=rest.startswith("subagent:"),
            is_sandboxed=mode == "all" or (mode == "non-main" and not is_main),
        )


def _find_allowed(
    find_stages: Callable[[_Case], tuple[Stage, ...]],
    case: _Case,
    names: tuple[str, ...],
) -> frozenset[str]:
    stages = find_stages(case)
    return frozenset(name for name in names if _verdict(name, stages).allowed)


def _build_stages(
    tools: Tools, agents: Mapping[str, AgentEntry], case: _Case
) -> tuple[Stage, ...]:
    """Return the stages that hold anything back in this *case*."""
    entry = agents.get(case.agent_id)
    general = Scope("tools", tools)
    own = Scope(
        f"agents.list[{case.agent_id}].tools",
        (entry and entry.tools) or AgentTools(),
    )
    for_all = provider_scopes(
        general.path, tools.by_provider, case.provider, case.model
    )
    for_own = provider_scopes(
        own.path, own.policy.by_provider, case.provider, case.model
    )
    is_said = allows_something(tools) or allows_something(own.policy)
    stages = [
        profile_stage((own, general), None if is_said else DEFAULT_PROFILE),
        profile_stage((*for_own, *for_all)),
        *(
            list_stage(scope.path, scope.policy)
            for scope in (general, *for_all, own, *for_own)
        ),
    ]
    if case.is_sandboxed:
        for scope in (general, own):
            lists = _inside(scope.policy.sandbox)
            stages.append(list_stage(f"{scope.path}.sandbox.tools", lists))
    if case.is_subagent:
        lists = _inside(tools.subagents)
        stages.append(subagent_stage("tools.subagents.tools", lists))
    return tuple(stage for stage in stages if stage.grants or stage.denials)


def _inside(scope: ToolScope | None) -> ToolNames | None:
    return None if scope is None else scope.tools


def _verdict(name: str, stages: tuple[Stage, ...]) -> Verdict:
    normal, granted = normal_tool_name(name), None
    for stage in stages:
        found = stage.judge(normal)
        if found is not None and not found.allowed:
            return _told(name, found)
        granted = granted or found
    assert granted is not None, "a profile or an allow is always there"
    return _told(name, granted)


def _told(name: str, found: Finding) -> Verdict:
    why = "not in this list"
    if found.entry is not None:
        verb = "allowed" if found.allowed else "denied"
        why = f'{verb} by "{found.entry}"'
    return Verdict(name=name, allowed=found.allowed, stage=found.where, why=why)
