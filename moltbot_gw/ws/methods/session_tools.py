"""What the methods of sessions share."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from moltbot_gw.agents.catalog import Catalog
from moltbot_gw.agents.keys import BadSessionKey, check_key, store_key
from moltbot_gw.agents.service import AgentService
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.stored import SessionSummary
from moltbot_gw.ws.calls import invalid
from moltbot_gw.ws.rows import Entry, entry_of
from moltbot_gw.ws.targets import Targets


@attrs.frozen(kw_only=True, eq=False)
class SessionTools:
    """The collaborators; *store_path* is only shown."""

    store: ISessionStore
    agents: AgentService
    targets: Targets
    clock: IReactorTime
    unix_time: Callable[[], float]
    store_path: str

    @property
    def catalog(self) -> Catalog:
        return self.agents.roster.catalog

    def now_ms(self) -> int:
        return int(self.unix_time() * 1000)

    def key(self, method: str, text: str, field: str = "key") -> str:
        """Return the spelling of a client's key in the store.

        Its agent may be gone from the configuration: what it left behind can still be
        looked at and cleared away.
        """
        trimmed = text.strip()
        try:
            check_key(trimmed)
        except BadSessionKey as error:
            raise invalid(f"invalid {method} params: at /{field}: {error}") from None
        is_global = self.targets.scope == "global"
        default_id = self.agents.roster.default_id
        return store_key(trimmed, default_id, global_scope=is_global)

    def entry(self, summary: SessionSummary) -> Entry:
        """Return what is stored of a session, as clients see it."""
        return entry_of(summary, self.catalog)
