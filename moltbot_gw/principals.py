"""Who a request comes from, once it has proved it, and what that allows."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase

import msgspec

from moltbot_gw.errors import Forbidden

CHAT = "chat"
ADMIN, READ, WRITE = "operator.admin", "operator.read", "operator.write"
ALL_AGENTS = ("*",)
AGENT_NOT_ALLOWED = "agent_not_allowed"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a principal may use; None for as much as it likes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent_runs: int | None = None


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: a named key, or the owner of the shared secret, whose *name* is empty.

    *agents* are patterns of agent ids; *expires* is in Unix seconds.
    """

    name: str
    scopes: frozenset[str]
    agents: tuple[str, ...] = ALL_AGENTS
    expires: float = math.inf
    limits: Limits = Limits()

    @property
    def is_owner(self) -> bool:
        """Whether it is the one with the shared secret, who may do everything."""
        return not self.name

    def check_scope(self, scope: str) -> None:
        """Raise ``Forbidden`` (``missing_scope``) unless it has *scope*."""
        if not self.is_owner and scope not in self.scopes:
            raise Forbidden(
                f'The key "{self.name}" has not the scope {scope} that this needs.',
                code="missing_scope",
            )

    def may_use(self, agent_id: str) -> bool:
        """Whether it may use the agent *agent_id*, which need not exist."""
        if self.agents == ALL_AGENTS:
            return True
        return any(fnmatchcase(agent_id, pattern) for pattern in self.agents)

    def check_agent(self, agent_id: str, param: str) -> None:
        """Raise ``Forbidden`` (``agent_not_allowed``); *param* names the agent."""
        if not self.may_use(agent_id):
            raise Forbidden(
                f'{param}: the key "{self.name}" may not use the agent "{agent_id}".',
                param=param,
                code=AGENT_NOT_ALLOWED,
            )

    def bound(self, wanted: tuple[str, ...]) -> frozenset[str]:
        """Return what an operator gets who asks for the scopes *wanted*."""
        held = self.scopes - {CHAT}
        if self.is_owner or ADMIN in held:
            return frozenset(wanted)
        if ADMIN in wanted:
            return held
        implied = held | ({READ} if WRITE in held else set())
        return implied & frozenset(wanted)


OWNER = Principal(name="", scopes=frozenset())
"""Whoever knows the shared secret, and a device that he has let in."""
