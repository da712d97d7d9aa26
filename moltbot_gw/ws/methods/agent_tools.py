"""``agents.show``: which tools an agent may use, and what decided; ours."""

from __future__ import annotations

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.service import AgentService
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
    """The handler."""

    def __init__(self, *, agents: AgentService, targets: Targets) -> None:
        self._agents = agents
        self._targets = targets

    async def show(self, call: Call, params: ShowParams) -> ShownAgent:
        """Return what is decided for the agent's main session."""
        agent_id = self._targets.agent("agents.show", params.agent_id)
        setup = self._agents.setup
        agent = setup.roster.agents[agent_id]
        model = agent.model if params.model is None else self._model(params.model)
        served = setup.toolbox.names
        verdicts = setup.policies.verdicts(
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
        model = self._agents.roster.catalog.find(text)
        if not model.provider or not model.model:
            raise invalid(f'invalid agents.show params: no model "{text[:80]}"')
        return model


def methods(*, agents: AgentService, targets: Targets) -> list[Method]:
    """Return the methods of this module; see ``AgentTools``."""
    does = AgentTools(agents=agents, targets=targets)
    return [Method("agents.show", "read", ShowParams, does.show)]
