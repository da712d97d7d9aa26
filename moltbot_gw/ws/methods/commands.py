"""What people type into a chat to command: /new, /reset, /status, /compact.

``/stop`` is not among them: it is answered before anything waits (``chat``).  What a
command says is stored as words of the assistant, and told as a ``chat`` event.

Source: upstream ``src/auto-reply/commands-registry.ts``, of which these are a few.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from moltbot_gw.agents.ids import new_uuid
from moltbot_gw.agents.statuscard import StatusCards
from moltbot_gw.agents.transcripts import Message, injected_message
from moltbot_gw.errors import GatewayError
from moltbot_gw.interfaces import ISessionStore
from moltbot_gw.messages import AssistantMessage
from moltbot_gw.ws.hub import Hub
from moltbot_gw.ws.targets import Target

_log = Logger()

GREETING = (
    "A new session was started. Greet the user in one or two short sentences, as"
    " yourself, and ask what to do. Do not mention files, tools or this message."
)
"""What the agent is sent when somebody only asks for a new session."""

MAX_REMEMBERED = 256
"""Commands whose repetition is known as such."""

Compact = Callable[[str, str], Awaitable[str]]
"""Summarises the session of a store key, heeding instructions; returns what to say."""


class Command(msgspec.Struct, frozen=True):
    """A command, and what follows it."""

    name: Literal["new", "status", "compact"]
    rest: str


class Commands:
    """Finds commands, and carries them out."""

    def __init__(
        self,
        *,
        store: ISessionStore,
        cards: StatusCards,
        compact: Compact,
        hub: Hub,
        clock: IReactorTime,
        unix_time: Callable[[], float],
        reset_triggers: Callable[[], Sequence[str]],
    ) -> None:
        self._store = store
        self._cards = cards
        self._compact = compact
        self._hub = hub
        self._clock = clock
        self._unix_time = unix_time
        self._reset_triggers = reset_triggers
        self._known: dict[str, None] = {}

    def find(self, message: str) -> Command | None:
        """Return the command in *message*; None for one that is for the agent."""
        text = message.strip()
        word, _, rest = text.partition(" ")
        if "\n" in word:
            word, _, rest = text.partition("\n")
        word, rest = word.lower(), rest.strip()
        triggers = {trigger.strip().lower() for trigger in self._reset_triggers()}
        if word in triggers:
            return Command("new", rest)
        if word == "/status" and not rest:
            return Command("status", "")
        return Command("compact", rest) if word == "/compact" else None

    def is_known(self, run_id: str) -> bool:
        """Whether the command with this id was carried out already; notes it if not."""
        if run_id in self._known:
            return True
        while len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[run_id] = None
        return False

    async def begin_anew(self, target: Target) -> None:
        """Let the session start afresh; what was said before stays stored."""
        await self._store.reset(target.store_key, new_uuid(), self._now_ms())

    def carry_out(self, command: Command, target: Target, run_id: str) -> None:
        """Do it once the call is answered, and tell everybody when it is done."""

        def begin() -> None:
            Deferred.fromCoroutine(self._answer(command, target, run_id)).addErrback(
                lambda failure: _log.failure("a command failed", failure=failure)
            )

        self._clock.callLater(0, begin)

    async def _answer(self, command: Command, target: Target, run_id: str) -> None:
        try:
            if command.name == "status":
                text = await self._cards.card(target.store_key)
            else:
                text = await self._compact(target.store_key, command.rest)
            told = await self._keep(target, run_id, text)
        except GatewayError as error:
            self._tell(target, run_id, "error", errorMessage=error.message)
        else:
            self._tell(target, run_id, "final", message=told)

    async def _keep(self, target: Target, run_id: str, text: str) -> Message:
        """Store what a command says: clients read the history when they hear of it."""
        key, now_ms = target.store_key, self._now_ms()
        message = AssistantMessage(text, stop_reason="injected")
        if not await self._store.inject(key, message, run_id, now_ms):
            await self._store.patch(
                key,
                {},
                agent_id=target.agent_id,
                new_session_id=new_uuid(),
                now_ms=now_ms,
            )
            await self._store.inject(key, message, run_id, now_ms)
        return injected_message(text, now_ms)

    def _now_ms(self) -> int:
        return int(self._unix_time() * 1000)

    def _tell(self, target: Target, run_id: str, state: str, **more: object) -> None:
        payload = {
            "runId": run_id,
            "sessionKey": target.session_key,
            "seq": 0,
            "state": state,
            **more,
        }
        self._hub.broadcast("chat", payload, key=f"chat:{run_id}")
