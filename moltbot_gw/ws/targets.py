"""Which agent and session a call means."""

from __future__ import annotations

import msgspec

from moltbot_gw.agents.keys import BadSessionKey, check_key, split_key, store_key
from moltbot_gw.agents.roster import Roster
from moltbot_gw.agents.service import AgentService
from moltbot_gw.config import normalize_agent_id
from moltbot_gw.wire.connect import SessionDefaults
from moltbot_gw.ws.calls import invalid


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A session: *session_key* in its client's spelling, *store_key* in the store's."""

    agent_id: str
    session_key: str
    store_key: str


class Targets:
    """Finds sessions by their keys; a bare key belongs to the default agent."""

    def __init__(self, agents: AgentService) -> None:
        self._agents = agents

    @property
    def _roster(self) -> Roster:
        return self._agents.setup.roster

    @property
    def _global_scope(self) -> bool:
        return self._agents.setup.global_scope

    @property
    def default_agent_id(self) -> str:
        """The agent of who names none."""
        return self._roster.default_id

    @property
    def scope(self) -> str:
        """``global`` if all share one conversation, else ``per-sender``."""
        return "global" if self._global_scope else "per-sender"

    def main_key(self, agent_id: str | None = None) -> str:
        """Return the key of an agent's main session; by default the default agent's."""
        agent_id = agent_id or self._roster.default_id
        return store_key("main", agent_id, global_scope=self._global_scope)

    def session_defaults(self) -> SessionDefaults:
        """Return what a client is told of sessions when it comes."""
        return SessionDefaults(
            default_agent_id=self.default_agent_id,
            main_key="main",
            main_session_key=self.main_key(),
            scope=self.scope,
        )

    def find(self, method: str, key: str, agent: str | None = None) -> Target:
        """Return the session *key*; *agent*, if given, must be the one that it names.

        Raises a ``MethodError`` in the words of *method*.
        """
        trimmed = key.strip()
        try:
            check_key(trimmed)
        except BadSessionKey as error:
            raise invalid(f"invalid {method} params: at /sessionKey: {error}") from None
        owner = split_key(trimmed)[0]
        asked = None if agent is None else self.agent(method, agent)
        if owner is not None and asked is not None and owner != asked:
            raise invalid(
                f'invalid {method} params: agent "{agent}" does not match session key'
                f' agent "{owner}"'
            )
        agent_id = owner or asked or self._roster.default_id
        if agent_id not in self._roster.agents:
            raise invalid(f'invalid {method} params: unknown agent id "{agent_id}"')
        return Target(
            agent_id=agent_id,
            session_key=trimmed,
            store_key=store_key(trimmed, agent_id, global_scope=self._global_scope),
        )

    def main(self, agent_id: str) -> Target:
        """Return the main session of a known agent."""
        key = self.main_key(agent_id)
        return Target(agent_id=agent_id, session_key=key, store_key=key)

    def agent(self, method: str, text: str) -> str:
        """Return the id of the known agent that *text* names."""
        agent_id = normalize_agent_id(text)
        if agent_id not in self._roster.agents:
            raise invalid(f'invalid {method} params: unknown agent id "{text[:80]}"')
        return agent_id
