"""Clients of runs without a network: sockets that fill up, and what came through."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.task import Clock

from moltbot_gw.agents.run import Run
from moltbot_gw.wire.frames import StateVersion, encode_result
from moltbot_gw.ws.feeds import RunFeed, Step
from moltbot_gw.ws.outbox import Outbox, State

UNIX_TIME = 1_700_000_000


class Client:
    """A client whose socket is full after *room* writes; None is room for all."""

    def __init__(self) -> None:
        self.paused = False
        self.room: int | None = None
        self.raw: list[bytes] = []
        self._fragments: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.box = Outbox(self)  # type: ignore[arg-type]

    # -- the socket

    def send(self, *parts: bytes) -> None:
        assert not self._fragments, "a message inside another"
        self.raw.append(b"".join(parts))
        self._fill()

    def send_fragment(
        self, piece: memoryview, *, is_first: bool, is_last: bool
    ) -> None:
        assert not self.paused, "a full socket is written to"
        assert is_first is not bool(self._fragments)
        self._fragments.append(bytes(piece))
        if is_last:
            self.raw.append(b"".join(self._fragments))
            self._fragments.clear()
        self._fill()

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def close_slow(self) -> None:
        self.close(1008, "slow consumer")

    def _fill(self) -> None:
        if self.room is not None:
            self.room -= 1
            self.paused = self.room <= 0

    # -- the test

    def stall(self) -> None:
        self.paused, self.room = True, 0

    def read(self, room: int | None = None) -> None:
        """Read *room* more writes, or all from here on."""
        self.paused, self.room = False, room
        self.box.flush()

    def answer(self, number: int) -> None:
        self.box.answer(encode_result(str(number), {}))

    def state(
        self, name: str, value: Any, key: str = "", version: StateVersion | None = None
    ) -> None:
        payload = msgspec.json.encode(value)
        self.box.state(State(key or name, name, payload, version))

    @property
    def frames(self) -> list[Any]:
        return [msgspec.json.decode(raw) for raw in self.raw]

    def events(self, *names: str) -> list[Any]:
        """Return the payloads of the events called *names*."""
        return [one["payload"] for one in self.frames if one.get("event") in names]

    @property
    def answers(self) -> list[int]:
        return [int(one["id"]) for one in self.frames if one["type"] == "res"]

    @property
    def text(self) -> str:
        """All that was new, in order."""
        data = [payload["data"] for payload in self.events("agent")]
        return "".join(one.get("delta", "") for one in data)

    @property
    def phases(self) -> list[str]:
        data = [payload["data"] for payload in self.events("agent")]
        return [one["phase"] for one in data if "phase" in one]


class Stage:
    """One run, its feed, and the clients of that."""

    def __init__(self, run_id: str = "r", clock: Clock | None = None) -> None:
        self.clock = Clock() if clock is None else clock
        self.run = Run(
            run_id=run_id, agent_id="main", session_key="k", max_bytes=10_000_000
        )
        self.clients: list[Client] = []
        self.steps: list[Step] = []
        self.feed = RunFeed(
            self.run,
            clock=self.clock,
            unix_time=lambda: UNIX_TIME + self.clock.seconds(),
            deliver=self._deliver,
        )

    def join(self, *clients: Client) -> Client:
        """Let a client take part from here on."""
        self.feed.flush()
        self.clients += clients or [Client()]
        return self.clients[-1]

    def _deliver(self, feed: RunFeed, step: Step) -> None:
        assert feed is self.feed
        self.steps.append(step)
        for client in self.clients:
            client.box.step(feed, step)
