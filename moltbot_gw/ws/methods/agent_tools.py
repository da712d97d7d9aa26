"""``agents.show``: which tools an agent may use, and what decided; ours."""

from __future__ import annotations

from collections.abc import Callable

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.roster import Roster
from moltbot_gw.agents.toolpolicy import ToolPolicies
from moltbot_gw.config.toolnames import TOOLS
from moltbot_gw.ws.calls import Call, Method, Params, Result, invalid
from moltbot_gw.ws.methods.loose import Text1
from moltbot_gw.ws.targets import Targets


class ShowParams(Params, frozen=True, kw_only=True):
    """Which agent, and with which model; by default its own."""

    agent_id: Text1
    model: Text1 | None = None


class ToolRow(Result, frozen=True, kw_only=True):
    """A tool of ``agents.show``; *stage* and *why* are for people.

    One that is allowed and not *served* does not exist in this gateway.
    """

    name: str
    allowed: bool
    stage: str
    why: str
    served: bool


class ShownAgent(Result, frozen=True, kw_only=True):
    """The answer of ``agents.show``; the tools that are served come first."""

    agent_id: str
    model: str
    workspace: str
    tools: list[ToolRow]


class AgentTools:
    """The handler; *tool_names* returns the names of the tools that are served."""

    def __init__(
        self,
        *,
        roster: Roster,
        targets: Targets,
        policies: ToolPolicies,
        tool_names: Callable[[], tuple[str, ...]],
    ) -> None:
        self._roster = roster
        self._targets = targets
        self._policies = policies
        self._tool_names = tool_names

    async def show(self, call: Call, params: ShowParams) -> ShownAgent:
        """Return what is decided for the agent's main session."""
        agent_id = self._targets.agent("agents.show", params.agent_id)
        agent = self._roster.agents[agent_id]
        model = agent.model if params.model is None else self._model(params.model)
        served = self._tool_names()
        verdicts = self._policies.verdicts(
            agent_id,
            model.provider,
            model.model,
            (*served, *(name for name in TOOLS if name not in served)),
            session_key=self._targets.main_key(agent_id),
        )
        return ShownAgent(
            agent_id=agent_id,
            model=str(model),
            workspace=str(agent.workspace),
            tools=[
                ToolRow(
                    name=verdict.name,
                    allowed=verdict.allowed,
                    stage=verdict.stage,
                    why=verdict.why,
                    served=verdict.name in served,
                )
                for verdict in verdicts
            ],
        )

    def _model(self, text: str) -> ModelRef:
        model = self._roster.catalog.find(text)
        if not model.provider or not model.model:
            raise invalid(f'invalid agents.show params: no model "{text[:80]}"')
        return model


def methods(
    *,
    roster: Roster,
    targets: Targets,
    policies: ToolPolicies,
    tool_names: Callable[[], tuple[str, ...]],
) -> list[Method]:
    """Return the methods of this module; see ``AgentTools``."""
    does = AgentTools(
        roster=roster, targets=targets, policies=policies, tool_names=tool_names
    )
    return [Method("agents.show", "read", ShowParams, does.show)]
