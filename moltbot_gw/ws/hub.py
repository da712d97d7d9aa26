"""All clients that are ready, and what they are all told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from moltbot_gw.agents.run import Run
from moltbot_gw.agents.service import AgentService
from moltbot_gw.keyring import KeyRing
from moltbot_gw.wire.frames import StateVersion, encode_payload
from moltbot_gw.ws.calls import Caller, Right
from moltbot_gw.ws.feeds import RunFeed, Step
from moltbot_gw.ws.outbox import Outbox, State
from moltbot_gw.ws.refusals import (
    KEY_EXPIRED,
    KEY_REVOKED,
    REPLACED,
    REVOKED,
    STOPPING,
    Closing,
)

_log = Logger()

TICK_SECONDS = 30.0
GOODBYE_SECONDS = 5.0
"""How long all clients together may take to go when the gateway stops."""

EVENTS = (
    "connect.challenge",
    "agent",
    "chat",
    "presence",
    "tick",
    "shutdown",
    "health",
    "heartbeat",
    "device.pair.requested",
    "device.pair.resolved",
    "exec.approval.requested",
    "exec.approval.resolved",
    "talk.mode",
    "voicewake.changed",
)
"""Those that this gateway can send."""


class Member(Protocol):
    """A client that is ready."""

    caller: Caller
    outbox: Outbox

    def say_goodbye(self, closing: Closing) -> None:
        """Close the connection in good order."""


class Hub:
    """Tells every ready client of runs and states; a slow one delays no other."""

    def __init__(
        self,
        *,
        agents: AgentService,
        keys: KeyRing,
        clock: IReactorTime,
        unix_time: Callable[[], float],
    ) -> None:
        self._agents = agents
        self._keys = keys
        self._clock = clock
        self._unix_time = unix_time
        self._members: dict[str, Member] = {}
        self._feeds: dict[Run, RunFeed] = {}
        self._empty: Deferred[None] | None = None
        self._closing = False
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = clock
        self.on_joined: Callable[[Member], None] = lambda member: None
        self.on_gone: Callable[[Caller], None] = lambda caller: None
        agents.observe(self._begin_feed)
        keys.observe(self._dismiss_keys)

    @property
    def members(self) -> int:
        """How many clients are ready."""
        return len(self._members)

    @property
    def feeds(self) -> int:
        """How many runs are read."""
        return len(self._feeds)

    def add(self, member: Member) -> None:
        """Tell *member* of everything from here on."""
        # Whoever comes in the middle of a run begins where all others are, which is the
        # last step that was told; telling one for each newcomer would undo their pace.
        for run in self._agents.active:
            if run not in self._feeds:
                self._feed(run)
                self._feeds[run].flush()
        self._members[member.caller.conn_id] = member
        if not self._ticking.running:
            self._ticking.start(TICK_SECONDS, now=False)
        self.on_joined(member)
        if self._closing:  # its handshake has outlived the goodbye to all others
            member.say_goodbye(STOPPING)

    def remove(self, member: Member) -> None:
        """Forget *member*."""
        del self._members[member.caller.conn_id]
        if not self._members:
            self._ticking.stop()
            # Nobody is left to read for; and a feed that reads keeps the provider of a
            # stalled HTTP stream going.
            while self._feeds:
                self._feeds.popitem()[1].close()
            if self._empty is not None:
                empty, self._empty = self._empty, None
                empty.callback(None)
        self.on_gone(member.caller)

    def broadcast(
        self,
        name: str,
        payload: Any,
        *,
        key: str | None = None,
        right: Right | None = None,
        version: StateVersion | None = None,
    ) -> None:
        """Tell a state to all who have the *right* to it; of one *key* the last counts.

        *payload* is any JSON value, *key* is the event's name unless given.
        """
        if not self._members:
            return
        state = State(key or name, name, encode_payload(payload), version)
        for member in tuple(self._members.values()):
            if right is None or _has(member.caller, right):
                member.outbox.state(state)

    def tell(
        self, member: Member, name: str, payload: Any, *, key: str, right: Right
    ) -> None:
        """Tell one client a state that it has missed, if it has the *right* to it."""
        if _has(member.caller, right):
            member.outbox.state(State(key, name, encode_payload(payload)))

    def dismiss(self, device_id: str, role: str) -> None:
        """Close the connections that a device has in *role*, in the next turn.

        Whoever ends his own device's right gets his answer before.
        """
        for member in tuple(self._members.values()):
            caller = member.caller
            if caller.device_id == device_id and caller.role == role:
                self._clock.callLater(0, member.say_goodbye, REVOKED)

    def _dismiss_keys(self, names: frozenset[str]) -> None:
        """Close the connections of named keys that count no more, or mean others."""
        for member in tuple(self._members.values()):
            if member.caller.principal.name in names:
                self._clock.callLater(0, member.say_goodbye, KEY_REVOKED)

    def dismiss_by_secret(self) -> None:
        """Close the connections of all who came in by the shared secret.

        In the next turn, as above: one of them may just be changing it.
        """
        for member in tuple(self._members.values()):
            if member.caller.by_secret:
                self._clock.callLater(0, member.say_goodbye, REPLACED)

    def announce_stop(self, reason: str) -> None:
        """Tell all that we stop; they stay until ``close``, to see their runs end."""
        self._closing = True
        self.broadcast("shutdown", {"reason": reason})

    async def close(self) -> None:
        """Close all clients; returns when they are gone.

        Who is still there after ``GOODBYE_SECONDS`` (one that has answered our close
        frame and takes nothing more) is left to whoever closes the connections.
        """
        self._closing = True
        if not self._members:
            return
        empty = self._empty = Deferred()
        for member in tuple(self._members.values()):
            member.say_goodbye(STOPPING)
        try:
            await empty.addTimeout(GOODBYE_SECONDS, self._clock)
        except TimeoutError:
            self._empty = None
            _log.warn("{count} clients do not go", count=len(self._members))

    def _begin_feed(self, run: Run) -> None:
        if self._members:
            self._feed(run)

    def _feed(self, run: Run) -> None:
        if run not in self._feeds:
            self._feeds[run] = RunFeed(
                run, clock=self._clock, unix_time=self._unix_time, deliver=self._deliver
            )

    def _deliver(self, feed: RunFeed, step: Step) -> None:
        for member in tuple(self._members.values()):
            member.outbox.step(feed, step)
        if feed.ended:
            self._feeds.pop(feed.run, None)

    def _tick(self) -> None:
        for member in tuple(self._members.values()):
            if not self._keys.is_current(member.caller.principal):
                member.say_goodbye(KEY_EXPIRED)
        self.broadcast("tick", {"ts": int(self._unix_time() * 1000)})


def _has(caller: Caller, right: Right) -> bool:
    return caller.role != "node" and caller.may(right)
