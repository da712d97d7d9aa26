"""Everybody who visits the gateway in the soak; those by WebSocket are here."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from twisted.internet.endpoints import connectProtocol

from benchmarks.clients import PATIENCE, Watcher, Wrong, reactor, sleep
from benchmarks.visitor import USERS, Visitor


class Person(Visitor):
    """Comes by WebSocket, too."""

    async def join(self, stalls: bool = False) -> Watcher:
        """Return a WebSocket client that the gateway has welcomed."""
        client: Watcher = await connectProtocol(self.endpoint, Watcher())
        await client.answer("c")
        if stalls:
            client.transport.pauseProducing()
        return client

    async def watch(self) -> None:
        """Listen to whatever happens, and leave, politely or not."""
        client = await self.join()
        await sleep(self.chance.uniform(0.5, 4.0))
        await self._leave(client)

    async def watch_blindly(self) -> None:
        """Stop reading the events, and leave; who was slow is let go before."""
        client = await self.join(stalls=True)
        await sleep(self.chance.uniform(1.0, 6.0))
        client.transport.abortConnection()
        await client.closed

    async def chat(self) -> None:
        """Talk by ``chat.send``, and wait until the run is over."""
        client = await self.join()
        run = uuid4().hex
        params = {
            "sessionKey": f"agent:main:chat-{self.chance.randrange(USERS)}",
            "message": "hi",
            "idempotencyKey": run,
        }
        await client.ask("s", "chat.send", params)
        waited = await client.ask("w", "agent.wait", {"runId": run})
        if waited["status"] != "ok":
            raise Wrong(f"a run by chat.send went wrong: {waited}")
        history = {"sessionKey": params["sessionKey"]}
        await client.ask("h", "chat.history", history)
        await self._leave(client)

    async def abort(self) -> None:
        """Begin by ``chat.send``, and stop it."""
        client = await self.join()
        session = f"agent:main:abort-{self.chance.randrange(USERS)}"
        run = uuid4().hex
        params = {"sessionKey": session, "message": "hi", "idempotencyKey": run}
        await client.ask("s", "chat.send", params)
        await sleep(self.chance.uniform(0.0, 0.2))
        await client.ask("a", "chat.abort", {"sessionKey": session, "runId": run})
        await self._leave(client)

    async def command(self) -> None:
        """Run an agent as programs do, or begin it and leave."""
        client = await self.join()
        params = {
            "message": "hi",
            "agentId": "main",
            "sessionKey": f"agent:main:program-{self.chance.randrange(USERS)}",
            "idempotencyKey": uuid4().hex,
        }
        await client.ask("g", "agent", params)
        if self.chance.random() < 0.7:
            final = await client.answer("g")
            if final["status"] != "ok":
                raise Wrong(f"a run by agent went wrong: {final}")
        await self._leave(client)

    async def _leave(self, client: Watcher) -> None:
        if self.chance.random() < 0.5:
            client.close()
        else:
            client.transport.abortConnection()
        await client.closed.addTimeout(PATIENCE, reactor)


Visit = Callable[[Person], Coroutine[Any, Any, None]]

VISITS: dict[Visit, float] = {
    Person.talk: 30,
    Person.talk_on: 20,
    Person.repeat: 4,
    Person.hang_up: 10,
    Person.read_slowly: 2,
    Person.stop_reading: 1,
    Person.suffer: 9,
    Person.fall_back: 3,
    Person.lend_tool: 4,
    Person.let_act: 1,
    Person.mistake: 2,
    Person.watch: 3,
    Person.watch_blindly: 1,
    Person.chat: 5,
    Person.abort: 2,
    Person.command: 3,
}
"""What happens how often, of 100 visits."""
