"""What a configuration says of agents, ready for use; a new one brings another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.context import Compactor
from moltbot_gw.agents.failover import Candidate, Failover, find_candidates
from moltbot_gw.agents.pictures import has_images
from moltbot_gw.agents.prompts import Prompts
from moltbot_gw.agents.roster import Agent, Roster
from moltbot_gw.agents.toolbox import Toolbox
from moltbot_gw.agents.toolpolicy import ToolPolicies
from moltbot_gw.agents.toolrunner import ToolLimits
from moltbot_gw.errors import InvalidRequest, ProviderFailed
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.messages import Message
from moltbot_gw.stored import SessionSettings


@attrs.frozen(kw_only=True, eq=False)
class AgentSetup:
    """Everything about agents that may be another tomorrow.

    A run keeps the one that it began with.  *fresh_after_ms* maps a store key to the
    time (Unix ms) before which its session counts as too old; *prepare_workspace* never
    raises; *verbose* is the level of sessions that have none of their own; with
    *global_scope* all clients share one conversation.  *with_keys* says of each
    configured provider whether it has an API key.
    """

    roster: Roster
    providers: Mapping[str, IModelProvider]
    fresh_after_ms: Callable[[str], int]
    max_run_bytes: int
    prepare_workspace: Callable[[Agent], Awaitable[None]]
    prompts: Prompts
    failover: Failover
    compactor: Compactor
    policies: ToolPolicies
    toolbox: Toolbox = attrs.Factory(Toolbox)
    tool_limits: ToolLimits = attrs.Factory(ToolLimits)
    verbose: str | None = None
    global_scope: bool = False
    with_keys: Mapping[str, bool] = attrs.Factory(dict)

    def model_of(self, agent: Agent, settings: SessionSettings) -> ModelRef:
        """Return the model of a session of *agent*: its own one, or the agent's.

        One that the session names counts only while *agent* may use it.
        """
        if settings.model is not None:
            wanted = self.roster.catalog.find(settings.model)
            known = wanted.provider in self.providers
            if known and self.roster.catalog.allows(wanted, agent.model):
                return wanted
        return agent.model

    def candidates(
        self, model: ModelRef, agent: Agent, news: tuple[Message, ...]
    ) -> tuple[Candidate, ...]:
        """Return what to try for a run of *agent* with *model* that adds *news*.

        Raises ``InvalidRequest`` for pictures that *model* does not take, and
        ``ProviderFailed`` when none has a provider.
        """
        shows = has_images(news)
        found = find_candidates(
            model,
            agent,
            catalog=self.roster.catalog,
            providers=self.providers,
            with_images=shows,
        )
        if shows and not model.accepts_images:
            raise InvalidRequest(
                f"messages: the model {model} does not take images.", param="messages"
            )
        if found:
            return found
        raise ProviderFailed(
            f'Agent "{agent.id}" uses the model {model}, but the provider'
            f' "{model.provider}" is not configured (models.providers).'
        )

    def check(
        self, model: ModelRef, agent: Agent, messages: tuple[Message, ...]
    ) -> None:
        """Raise what ``candidates`` would; the usual case costs nothing."""
        if model.provider not in self.providers or has_images(messages):
            self.candidates(model, agent, messages)

    def shows_tools(self, settings: SessionSettings) -> bool:
        """Whether those who watch a session are told of tools."""
        return (settings.verbose_level or self.verbose) in ("on", "full")
