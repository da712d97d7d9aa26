"""What goes out to one client: three classes of frame, none of which can pile up.

``answers``
    Never dropped; as many as the client has requests in flight.
run events
    By position: a client that does not read remembers a place in each run's log.
states
    Only the newest value of each name is kept for a client that does not read.

While the client takes everything, all of them are written at once.
"""

from __future__ import annotations

from collections import deque

import msgspec

from moltbot_gw.agents.log import Position
from moltbot_gw.wire.frames import StateVersion, event_head, event_tail
from moltbot_gw.ws.feeds import RunFeed, Step
from moltbot_gw.ws.socket import Socket
from moltbot_gw.ws.writer import MessageWriter

MAX_STATES = 64
MAX_FEEDS_BEHIND = 256
MAX_KEPT_BYTES = 8 * 1024 * 1024
"""What one client may keep alive of runs that have ended, by reading slowly."""


class State(msgspec.Struct, frozen=True):
    """The newest value of *name*; of one *key* only the last is of use."""

    key: str
    name: str
    payload: bytes
    version: StateVersion | None = None


class Outbox:
    """Writes to *socket*, in the order of one client's events."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._writer = MessageWriter(socket)
        self._seq = 0
        self._answers: deque[bytes] = deque()
        self._behind: dict[RunFeed, Position] = {}
        self._states: dict[str, State] = {}

    def answer(self, frame: bytes) -> None:
        """Send an answer, after the run events that came before it."""
        if self.is_blocked:
            self._answers.append(frame)
        else:
            self._writer.send(frame)

    def step(self, feed: RunFeed, step: Step) -> None:
        """Send *step* of a run, or remember where the client stopped reading."""
        if feed in self._behind:
            self._check_kept(feed)
            return
        if not self.is_blocked:
            for frame in step.frames:
                self._event(frame.head, frame.payload)
        elif len(self._behind) < MAX_FEEDS_BEHIND:
            self._behind[feed] = step.start
            self._check_kept(feed)
        else:
            self._socket.close_slow()

    def _check_kept(self, feed: RunFeed) -> None:
        """Let go of a client for whom too much is kept of runs that are over."""
        if feed.ended:
            kept = sum(each.run.size for each in self._behind if each.ended)
            if kept > MAX_KEPT_BYTES:
                self._socket.close_slow()

    def state(self, state: State) -> None:
        """Send a state, or keep it until the client reads or a newer one comes."""
        if self.is_blocked:
            self._states.pop(state.key, None)
            if len(self._states) >= MAX_STATES:
                del self._states[next(iter(self._states))]
            self._states[state.key] = state
        else:
            self._send_state(state)

    def flush(self) -> None:
        """Send what was held back, as long as the client takes it."""
        self._writer.pump()
        self._catch_up()
        while self._answers and not self._writer.is_busy and not self._behind:
            self._writer.send(self._answers.popleft())
        while self._states and not self.is_blocked:
            self._send_state(self._states.pop(next(iter(self._states))))

    def clear(self) -> None:
        """Forget everything: the client is gone."""
        self._answers.clear()
        self._behind.clear()
        self._states.clear()
        self._writer.clear()

    @property
    def is_blocked(self) -> bool:
        """Whether an answer would have to wait for the client."""
        return self._writer.is_busy or bool(self._behind) or bool(self._answers)

    def _catch_up(self) -> None:
        while self._behind and not self._writer.is_busy:
            feed, position = next(iter(self._behind.items()))
            if position >= feed.position:
                del self._behind[feed]
                continue
            self._behind[feed], frames = feed.missed(position)
            for frame in frames:
                self._event(frame.head, frame.payload)

    def _send_state(self, state: State) -> None:
        self._event(event_head(state.name), state.payload, state.version)

    def _event(
        self, head: bytes, payload: bytes, version: StateVersion | None = None
    ) -> None:
        self._seq += 1
        self._writer.send(head, payload, event_tail(self._seq, version))
