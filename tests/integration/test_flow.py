"""Flow control and gone clients, over real sockets from provider to client."""

from __future__ import annotations

import os
import random
import socket
from hashlib import sha256
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from tests.integration.gateway import (
    Client,
    Gateway,
    ask,
    configuration,
    connect,
    parse,
    post,
    request_bytes,
    send,
)
from tests.integration.waiting import socket_test, until, within
from tests.support.fake_provider import (
    STALL,
    FakeProvider,
    Script,
    delta,
    said,
    streamed,
)

_PIECE = 16 * 1024
_MEGABYTE = 1024 * 1024


def _text(size: int, seed: int) -> list[str]:
    """Return words of *size* characters in all, the same for the same *seed*."""
    source = random.Random(seed)
    return [source.randbytes(_PIECE // 2).hex() for _ in range(size // _PIECE)]


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _small_buffers(gateway: Gateway) -> None:
    """Let the kernel hold little for a client, so that a stall shows soon."""
    handle = gateway.listening_socket
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)


async def _send_slowly(gateway: Gateway, body: object) -> Client:
    """Return a connection on which *body* was sent, and that reads nothing yet."""
    client = await connect(gateway)
    handle = client.transport.getHandle()
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    client.pause()
    client.transport.write(request_bytes(body))
    return client


@socket_test
async def test_client_that_stops_reading_stops_the_provider_and_loses_nothing(
    gateway: Gateway, provider: FakeProvider
) -> None:
    _small_buffers(gateway)
    words = _text(12 * _MEGABYTE, seed=1)
    provider.scripts.append(said(*words))
    client = await _send_slowly(gateway, ask("go", stream=True))
    source = (await within(5, provider.when_asked())).connection
    await until(lambda: source.paused)
    assert (await post(gateway, ask("other"))).status == 200
    assert source.paused
    assert source.written < 8 * _MEGABYTE
    client.resume()
    reply = await client.reply()
    assert _hash(reply.text()) == _hash("".join(words))
    assert reply.events()[-1] == "[DONE]"
    assert reply.events()[-2]["choices"][0]["finish_reason"] == "stop"


@socket_test
async def test_stalled_reader_does_not_hold_back_a_fast_one(
    gateway: Gateway, provider: FakeProvider
) -> None:
    _small_buffers(gateway)
    words = _text(8 * _MEGABYTE, seed=2)
    provider.default = said(*words)
    stalled = await _send_slowly(gateway, ask("go", stream=True))
    source = (await within(5, provider.when_asked())).connection
    await until(lambda: source.paused)
    fast = await post(gateway, ask("go", stream=True))
    assert source.paused
    stalled.resume()
    slow = await stalled.reply()
    assert _hash(fast.text()) == _hash(slow.text()) == _hash("".join(words))


@socket_test
async def test_stall_that_is_too_long_ends_the_run(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> None:
    more: Any = {"gateway": {"http": {"stallTimeoutSeconds": 0.2}}}
    gateway = await Gateway(tmp_path, configuration(provider, **more)).start()
    _small_buffers(gateway)
    provider.scripts.append(said(*_text(12 * _MEGABYTE, seed=3)))
    client = await _send_slowly(gateway, ask("go", stream=True))
    source = (await within(5, provider.when_asked())).connection
    await within(3, source.when_closed())
    await gateway.when_idle()
    client.resume()
    await within(5, client.closed)
    with pytest.raises(IncompleteRead):
        parse(bytes(client.received))
    await gateway.stop()


@implementer(IHalfCloseableProtocol)
class Lingering(Client):
    """Keeps its side open when the gateway has closed its own."""

    def readConnectionLost(self) -> None:
        """Go on as if nothing was."""

    def writeConnectionLost(self) -> None:
        """Never asked for."""


@socket_test
async def test_stop_while_a_refused_client_lingers(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> None:
    gateway = await Gateway(tmp_path, configuration(provider)).start()
    client = await connect(gateway, Lingering)
    top = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    top += b"Content-Length: 99\r\n\r\n"
    client.transport.write(top)
    await until(lambda: b"401" in client.received)
    await gateway.stop_now()
    await until(lambda: not gateway.connections)
    client.transport.abortConnection()
    await within(1, client.closed)


# -- gone clients

LEAVERS = 200

_MOMENTS = ("in the head", "in a lane", "before the head", "in the stream", "paused")


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class Leaver:
    """Leaves at a moment of its life that chance chooses."""

    def __init__(self, gateway: Gateway, provider: FakeProvider, seed: int) -> None:
        self.gateway = gateway
        self.provider = provider
        self.chance = random.Random(seed)
        # Of its own, or the partial texts of all others would be sent along.
        self.user = f"leaver-{seed}"
        self.moment = _MOMENTS[seed % len(_MOMENTS)]
        self.count = len(provider.requests)

    async def live(self) -> None:
        """Do all of it; nothing is left of the client a second later."""
        await getattr(self, "_" + self.moment.replace(" ", "_"))()
        await until(lambda: not self.provider.open_connections, 1.0)
        await until(lambda: self.gateway.agents.idle, 1.0)
        await until(lambda: not self.gateway.connections, 1.0)

    def _leave(self, client: Client) -> None:
        if self.chance.random() < 0.5:
            client.transport.abortConnection()
        else:
            client.transport.loseConnection()

    def _body(self) -> dict[str, object]:
        return ask("go", stream=self.chance.random() < 0.7, user=self.user)

    async def _ask(self, script: Script) -> Client:
        self.provider.scripts.append(script)
        client = await send(self.gateway, self._body())
        await within(5, self.provider.when_asked(self.count + 1))
        return client

    async def _in_the_head(self) -> None:
        client = await connect(self.gateway)
        whole = request_bytes(self._body())
        client.transport.write(whole[: self.chance.randrange(1, len(whole))])
        await until(lambda: self.gateway.connections)
        self._leave(client)
        await within(1, client.closed)

    async def _in_a_lane(self) -> None:
        first = await self._ask(streamed(delta("x"), STALL))
        second = await send(self.gateway, self._body())
        await until(lambda: self.gateway.agents.running == 2)
        self._leave(second)
        await until(lambda: self.gateway.agents.running == 1, 1.0)
        self._leave(first)

    async def _before_the_head(self) -> None:
        self._leave(await self._ask([STALL]))

    async def _in_the_stream(self) -> None:
        words = [delta("x" * self.chance.randrange(1, 5000)) for _ in range(20)]
        self.provider.scripts.append(streamed(*words, STALL))
        client = await send(self.gateway, ask("go", stream=True, user=self.user))
        wanted = self.chance.randrange(1, 10_000)
        await until(lambda: len(client.received) >= wanted)
        self._leave(client)

    async def _paused(self) -> None:
        self.provider.scripts.append(said(*_text(12 * _MEGABYTE, seed=4)))
        body = ask("go", stream=True, user=self.user)
        client = await _send_slowly(self.gateway, body)
        asked = await within(5, self.provider.when_asked(self.count + 1))
        await until(lambda: asked.connection.paused)
        self._leave(client)


@socket_test
async def test_client_that_leaves_at_any_moment_takes_its_run_along(
    gateway: Gateway, provider: FakeProvider
) -> None:
    _small_buffers(gateway)
    await Leaver(gateway, provider, seed=3).live()  # opens what stays open
    files = _open_files()
    for seed in range(LEAVERS):
        await Leaver(gateway, provider, seed).live()
    await until(lambda: _open_files() <= files, 1.0)
    assert not [line for line in gateway.log if "cannot be reached" in line]


@socket_test
async def test_partial_text_of_a_gone_client_is_kept(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.scripts.append(streamed(delta("half a "), STALL))
    client = await send(gateway, ask("one", stream=True, user="kim"))
    await until(lambda: b"half a" in client.received)
    client.transport.abortConnection()
    await gateway.when_idle()
    await post(gateway, ask("two", user="kim"))
    messages = provider.requests[1].body["messages"]
    assert [m["content"] for m in messages[1:]] == ["one", "half a ", "two"]


@socket_test
async def test_run_may_be_told_to_finish_without_its_client(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> None:
    endpoint = {"chatCompletions": {"onDisconnect": "finish"}}
    more: Any = {"gateway": {"http": {"endpoints": endpoint}}}
    gateway = await Gateway(tmp_path, configuration(provider, **more)).start()
    gate: Deferred[None] = Deferred()
    start, *rest = said("half ", "whole")
    provider.scripts.append([start, rest[0], gate, *rest[1:]])
    client = await send(gateway, ask("one", stream=True, user="kim"))
    await until(lambda: b"half" in client.received)
    client.transport.abortConnection()
    await until(lambda: not gateway.connections)
    gate.callback(None)
    await gateway.when_idle()
    await post(gateway, ask("two", user="kim"))
    assert provider.requests[1].body["messages"][2]["content"] == "half whole"
    await gateway.stop()
