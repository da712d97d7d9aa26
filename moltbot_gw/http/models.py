"""``GET /v1/models``: the agents, under the names that a request may call them by."""

from __future__ import annotations

from moltbot_gw.agents.service import AgentService
from moltbot_gw.errors import ModelNotFound
from moltbot_gw.http.answers import prepare_json
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.wire.chat_response import render_model, render_models


class ModelsHandler:
    """Tells of *agents*; *created* is the start of the process (Unix seconds)."""

    def __init__(self, agents: AgentService, created: int) -> None:
        self._agents = agents
        self._created = created

    def get_list(self, request: GatewayRequest) -> bytes:
        """Return the list: ``moltbot`` for the default agent, then each by its id.

        A named key sees the agents that it may use.
        """
        may_use, roster = request.principal.may_use, self._agents.roster
        names = ["moltbot"] if may_use(roster.default_id) else []
        names += [f"moltbot:{agent}" for agent in roster.agents if may_use(agent)]
        return prepare_json(request, render_models(names, self._created))

    def get_one(self, request: GatewayRequest, name: str) -> bytes:
        """Return one model, by any name that a request may use for it."""
        roster = self._agents.roster
        agent_id = roster.default_id if name == "moltbot" else roster.from_model(name)
        if agent_id is not None:
            request.principal.check_agent(agent_id, "model")
        if agent_id not in roster.agents:
            raise ModelNotFound(f'There is no model "{name[:100]}".', param="model")
        return prepare_json(request, render_model(name, self._created))
