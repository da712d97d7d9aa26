"""``GET /v1/models``: the agents, under the names that a request may call them by."""

from __future__ import annotations

from moltbot_gw.agents.roster import Roster
from moltbot_gw.errors import ModelNotFound
from moltbot_gw.http.answers import prepare_json
from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.wire.chat_response import render_model, render_models


class ModelsHandler:
    """Answers from the roster; *created* is the start of the process (Unix seconds)."""

    def __init__(self, roster: Roster, created: int) -> None:
        self._roster = roster
        self._created = created

    def get_list(self, request: GatewayRequest) -> bytes:
        """Return the list: ``moltbot`` for the default agent, then each by its id."""
        names = ["moltbot", *(f"moltbot:{agent}" for agent in self._roster.agents)]
        return prepare_json(request, render_models(names, self._created))

    def get_one(self, request: GatewayRequest, name: str) -> bytes:
        """Return one model, by any name that a request may use for it."""
        agent_id = self._roster.from_model(name)
        if name != "moltbot" and agent_id not in self._roster.agents:
            raise ModelNotFound(f'There is no model "{name[:100]}".', param="model")
        return prepare_json(request, render_model(name, self._created))
