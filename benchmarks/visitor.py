"""What the clients of the soak do by HTTP; each method is one visit.

A client that leaves early, reads slowly or does not read does so on purpose; what it
gets all the same must be right, else it raises ``Wrong``.
"""

from __future__ import annotations

import json
import random
import socket
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from benchmarks.clients import PATIENCE, Client, Wrong, reactor, sleep
from benchmarks.moods import FAULTS
from benchmarks.processes import TOKEN

USERS = 30

SLOW_BYTES, STALLED_BYTES = 200_000, 2_000_000
"""Of text; what the stalled are meant is more than the kernel holds for them."""

STALL_SECONDS = 2.0
"""The gateway's stall time-out."""

_WORDS = b"lorem ipsum"
_DONE = b"data: [DONE]"
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}


def ask(text: str = "hi", **members: Any) -> dict[str, Any]:
    """Return the body of a completion request."""
    return {"model": "moltbot", "messages": [{"role": "user", "content": text}]} | (
        members
    )


class Visitor:
    """Does one visit after the other to the gateway at *port*."""

    def __init__(self, port: int, seed: int) -> None:
        self.endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self.chance = random.Random(seed)

    async def send(self, body: Any, **headers: str) -> Client:
        """Return a new connection on which *body* was sent."""
        client: Client = await connectProtocol(self.endpoint, Client())
        transport: Any = client.transport
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        data = json.dumps(body).encode()
        fields = {
            "Host": "localhost",
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            "Connection": "close",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in fields.items()]
        top = "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines, "", ""])
        transport.write(top.encode() + data)
        return client

    async def read(self, client: Client, status: int = 200) -> bytes:
        """Return the body of *client*'s answer once it is whole."""
        await client.closed.addTimeout(PATIENCE, reactor)
        if client.status != status:
            raise Wrong(f"{client.status}: {bytes(client.received[-300:])!r}")
        return client.body()

    async def post(self, body: Any, **headers: str) -> bytes:
        """Return the answer to *body*, which goes well."""
        data = await self.read(await self.send(body, **headers))
        if body.get("stream") and (b'"error"' in data or _DONE not in data):
            raise Wrong(f"a stream went wrong: {data[-300:]!r}")
        return data

    async def talk(self, **members: Any) -> None:
        """Ask something, in one of the ways that there are."""
        agent = self.chance.choice(("main", "quick"))
        stream = self.chance.random() < 0.6
        data = await self.post(ask(stream=stream, **members), x_moltbot_agent_id=agent)
        if _WORDS not in data:
            raise Wrong("an answer has no words")

    async def talk_on(self) -> None:
        """Ask something in a session."""
        await self.talk(user=f"user-{self.chance.randrange(USERS)}")

    async def repeat(self) -> None:
        """Ask the same twice at once, and again."""
        key = uuid4().hex
        body = ask(f"keyed {key}")
        both = [
            Deferred.fromCoroutine(self.post(body, idempotency_key=key))
            for _ in range(2)
        ]
        answers = [*await gatherResults(both, consumeErrors=True)]
        answers.append(await self.post(body, idempotency_key=key))
        if len({json.loads(answer)["id"] for answer in answers}) != 1:
            raise Wrong("a repeated request made a second run")

    async def hang_up(self) -> None:
        """Leave in the middle of an answer, or before it."""
        stream = self.chance.random() < 0.7
        client = await self.send(ask(stream=stream))
        if stream:
            await client.when_first().addTimeout(PATIENCE, reactor)
        await sleep(self.chance.uniform(0.0, 0.2))
        client.transport.abortConnection()
        await client.closed

    async def read_slowly(self) -> None:
        """Read a long answer in small pieces, and all of it."""
        text = f"bench:flood {SLOW_BYTES}"
        client = await self.send(ask(text, stream=True), x_moltbot_agent_id="quick")
        while not client.closed.called:
            client.transport.pauseProducing()
            await sleep(0.05)
            client.transport.resumeProducing()
            await sleep(0.01)
        data = await self.read(client)
        if _DONE not in data or data.count(b"x") < SLOW_BYTES:
            raise Wrong("a slow reader missed something")

    async def stop_reading(self) -> None:
        """Do not read, until the gateway has had enough of it."""
        text = f"bench:flood {STALLED_BYTES}"
        client = await self.send(ask(text, stream=True), x_moltbot_agent_id="quick")
        await client.when_first().addTimeout(PATIENCE, reactor)
        client.transport.pauseProducing()
        await sleep(STALL_SECONDS * 2 + 2.0)
        client.transport.resumeProducing()
        await client.closed.addTimeout(PATIENCE, reactor)
        if _DONE in client.received:
            raise Wrong("one that did not read was not cut")

    async def suffer(self) -> None:
        """Meet a fault of a provider: an error that says so, never an answer."""
        agent = self.chance.choice((*FAULTS, "refuse"))
        stream = self.chance.random() < 0.5
        client = await self.send(ask(stream=stream), x_moltbot_agent_id=agent)
        await client.closed.addTimeout(PATIENCE, reactor)
        if client.status == 200 and not (stream and b'"error"' in client.received):
            raise Wrong(f"the fault {agent} reads like an answer")
        if not 200 <= client.status < 600:
            raise Wrong(f"the fault {agent} is told by {client.status}")

    async def fall_back(self) -> None:
        """Ask an agent whose first model is broken and whose second is not."""
        await self.post(ask(stream=True), x_moltbot_agent_id="fallback")

    async def lend_tool(self) -> None:
        """Let the model call a tool of ours, and give it the result."""
        body = ask(tools=[_TOOL])
        first = json.loads(await self.post(body, x_moltbot_agent_id="asking"))
        message = first["choices"][0]["message"]
        if first["choices"][0]["finish_reason"] != "tool_calls":
            raise Wrong("the model did not call")
        call_id = message["tool_calls"][0]["id"]
        result = {"role": "tool", "tool_call_id": call_id, "content": "fine"}
        body["messages"] += [message, result]
        await self.post(body | {"stream": True}, x_moltbot_agent_id="asking")

    async def let_act(self) -> None:
        """Ask an agent that writes a file, runs a command and reads the file."""
        data = await self.post(ask("act"), x_moltbot_agent_id="acting")
        if _WORDS not in data:
            raise Wrong("the agent did not come back from its tools")

    async def mistake(self) -> None:
        """Send a request that is wrong."""
        await self.read(await self.send({"messages": "hi"}), 400)
