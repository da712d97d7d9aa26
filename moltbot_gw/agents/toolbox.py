"""The agents' own tools, and which of them a run may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.request import RunRequest
from moltbot_gw.tooling import Tool


class ToolPolicy(Protocol):
    """Who may use what; see ``toolpolicy``."""

    def allowed(
        self,
        agent_id: str,
        provider: str,
        model: str,
        names: tuple[str, ...],
        *,
        session_key: str | None = None,
    ) -> frozenset[str]:
        """Return those of *names* that the agent may use with this model."""


class Toolbox:
    """All tools of the gateway; without a *policy* nobody may use any.

    Tools that act upon agents come later than the service of agents; so they are added.
    """

    def __init__(self, policy: ToolPolicy | None = None) -> None:
        self._policy = policy
        self._tools: dict[str, Tool] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tools."""
        return tuple(self._tools)

    def add(self, tools: Iterable[Tool]) -> None:
        """Add *tools*; each has another name."""
        for tool in tools:
            assert tool.name not in self._tools, "tools have different names"
            self._tools[tool.name] = tool

    def for_run(
        self, request: RunRequest, agent_id: str, model: ModelRef
    ) -> Mapping[str, Tool]:
        """Return the tools that a run may use, by name.

        A tool that the client brings takes the place of the agent's tool of the same
        name.  A client that says which tool is to be called, or that none is, means
        its own: the agent's are left out then.
        """
        if self._policy is None or not self._tools:
            return {}
        if request.tool_choice != "auto" or not model.takes_tools:
            return {}
        allowed = self._policy.allowed(
            agent_id,
            model.provider,
            model.model,
            self.names,
            session_key=request.store_key,
        )
        taken = {spec.name for spec in request.tools}
        return {
            name: tool
            for name, tool in self._tools.items()
            if name in allowed and name not in taken
        }
