"""A session store under test, and what its tests ask it most."""

from __future__ import annotations

from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred

from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import AssistantMessage
from moltbot_gw.stored import History, SessionSummary, Transcript
from tests.sessions.support import KEY, Pump, end, start

_R = TypeVar("_R")


@attrs.define
class Subject:
    """A store, and the way to wait for it."""

    store: ISessionStore
    pump: Pump

    def wait(self, waited: Deferred[_R]) -> _R:
        return self.pump.wait(waited)

    def turn(
        self, run_id: str, at_ms: int = 1000, key: str = KEY, session_id: str = "id-1"
    ) -> None:
        begun = start(run_id, key=key, session_id=session_id, at_ms=at_ms)
        self.wait(self.store.begin_turn(begun))
        ended = end(run_id, key=key, session_id=session_id, at_ms=at_ms)
        self.wait(self.store.end_turn(ended))

    def history(self, key: str = KEY, fresh_after_ms: int = 0) -> History:
        return self.wait(self.store.history(key, fresh_after_ms))

    def words(self, key: str = KEY) -> list[str]:
        return [
            one.text if isinstance(one, AssistantMessage) else str(one.content)
            for one in self.history(key).messages
        ]

    def summaries(self) -> list[SessionSummary]:
        return self.wait(self.store.list_sessions())

    def patch(
        self,
        key: str = KEY,
        agent_id: str = "main",
        at_ms: int = 1000,
        **changes: str | None,
    ) -> SessionSummary:
        patched = self.store.patch(
            key,
            changes,
            agent_id=agent_id,
            new_session_id=f"patched-{key}",
            now_ms=at_ms,
        )
        return self.wait(patched)

    def transcript(self, limit: int = 100, key: str = KEY) -> Transcript:
        """Return a transcript of a session that is there."""
        found = self.wait(self.store.transcript(key, limit))
        assert found is not None
        return found
