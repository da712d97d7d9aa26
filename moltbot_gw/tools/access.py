"""Which sessions an agent may see: its own; others' where the config says so."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from moltbot_gw.agents.keys import BadSessionKey, check_key, split_key, store_key
from moltbot_gw.agents.roster import Roster
from moltbot_gw.config import AgentToAgent
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.stored import SessionQuery, SessionSummary
from moltbot_gw.tooling import ToolContext, ToolFailed


class NotAllowed(Exception):
    """The agent may not; the text says what would have to be configured."""


class SessionAccess:
    """Finds sessions for the agents that ask.

    Another agent's needs ``tools.agentToAgent.enabled``, and both ids among its
    ``allow`` (all, where that is empty).
    """

    def __init__(
        self,
        *,
        roster: Roster,
        store: ISessionStore,
        rule: AgentToAgent | None,
        global_scope: bool,
    ) -> None:
        self._roster = roster
        self._store = store
        self._rule = rule
        self._global_scope = global_scope

    def reaches(self, own: str, other: str) -> bool:
        """Whether agent *own* may look at, and speak to, agent *other*."""
        if own == other:
            return True
        rule = self._rule
        if rule is None or not rule.enabled:
            return False
        return _matches(rule.allow, own) and _matches(rule.allow, other)

    def reachable(self, own: str) -> list[str]:
        """Return the agents that *own* reaches, itself first."""
        others = [name for name in self._roster.agents if name != own]
        return [own, *(name for name in others if self.reaches(own, name))]

    def owner(self, key: str) -> str:
        """Return the agent to whom the session *key* of the store belongs."""
        return self._roster.owner_id(key)

    def check(self, own: str, key: str, what: str) -> None:
        """Raise ``NotAllowed`` unless *own* may do *what* with the session *key*."""
        if self.reaches(own, self.owner(key)):
            return
        if self._rule is None or not self._rule.enabled:
            raise NotAllowed(
                f"Agent-to-agent {what} is disabled. Set"
                " tools.agentToAgent.enabled=true to allow it."
            )
        raise NotAllowed(
            f"Agent-to-agent {what} is not allowed by tools.agentToAgent.allow."
        )

    async def find(self, context: ToolContext, text: str) -> str:
        """Return the store's spelling of the session that *text* names.

        ``main`` is the asking agent's own; a session's id will do, too.  Raises
        ``ToolFailed``; whether the agent may use it is another question.
        """
        name = text.strip()
        try:
            check_key(name)
        except BadSessionKey as error:
            raise ToolFailed(f"sessionKey: {error}.") from None
        key = store_key(name, context.agent_id, global_scope=self._global_scope)
        if await self._store.find_session(key) is None:
            query = SessionQuery(session_id=name, limit=1)
            for session in await self._store.list_sessions(query):
                return session.session_key
        if split_key(key)[0] not in (None, *self._roster.agents):
            raise ToolFailed(f'sessionKey: there is no agent "{split_key(key)[0]}".')
        return key

    async def labelled(
        self, context: ToolContext, label: str, agent: str | None
    ) -> SessionSummary:
        """Return the session of the *agent* (the asking one's) that has *label*."""
        owner = agent or context.agent_id
        query = SessionQuery(label=label.strip())
        for session in await self._store.list_sessions(query):
            if self.owner(session.session_key) == owner:
                return session
        raise ToolFailed(f"label: no session of agent {owner} is called so.")

    def shown(self, context: ToolContext, key: str) -> str:
        """Return *key* as the agent knows it: its main session is ``main``."""
        main = store_key("main", context.agent_id, global_scope=self._global_scope)
        return "main" if key == main else key


def _matches(patterns: Sequence[str] | None, agent_id: str) -> bool:
    if not patterns:
        return True
    return any(fnmatchcase(agent_id, pattern.strip().lower()) for pattern in patterns)
