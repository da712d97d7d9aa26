"""What is over is freed at once: nothing waits for the garbage collector.

A run or a connection that is part of a circle of references lies in memory until the
collector looks for it.  Thousands of them together stop the reactor for a third of a
second, and each costs a tenth of a request more than it would.
"""

from __future__ import annotations

import pytest

from tests.integration.gateway import Gateway, ask, post, send
from tests.integration.waiting import socket_test, until, within
from tests.support.fake_provider import (
    CLOSE,
    STALL,
    FakeProvider,
    Script,
    delta,
    plain,
    said,
    streamed,
)
from tests.support.garbage import collected

TURNS = 5

FACTORY = "_QuietFactory"
"""Twisted's connector and its client hold each other, and the factory: for each new
connection to a provider, which only failures and cut answers need each time."""


@pytest.mark.parametrize("stream", [False, True])
@socket_test
async def test_a_turn_and_its_connection_leave_no_circles(
    gateway: Gateway, provider: FakeProvider, stream: bool
) -> None:
    provider.default = said("fine")
    await post(gateway, ask("first", stream=stream))
    with collected() as found:
        for _ in range(TURNS):
            assert (await post(gateway, ask("go", stream=stream))).status == 200
        await until(lambda: not gateway.connections)
    assert not found


@pytest.mark.parametrize("stream", [False, True])
@socket_test
async def test_a_client_that_leaves_leaves_no_circles(
    gateway: Gateway, provider: FakeProvider, stream: bool
) -> None:
    async def ask_and_leave(number: int) -> None:
        provider.scripts.append(streamed(delta("half"), STALL))
        client = await send(gateway, ask("go", stream=stream))
        await within(5, provider.when_asked(number))
        await until(lambda: b"half" in client.received or not stream)
        client.transport.abortConnection()
        await gateway.when_idle()

    await ask_and_leave(1)
    with collected() as found:
        for number in range(TURNS):
            await ask_and_leave(number + 2)
    del found[FACTORY]
    assert not found


@socket_test
async def test_a_client_that_leaves_in_a_summary_leaves_no_circles(
    gateway: Gateway, provider: FakeProvider
) -> None:
    too_long = {"error": {"message": "no", "code": "context_length_exceeded"}}

    async def ask_and_leave(user: str) -> None:
        provider.default = said("b" * 4000)
        for _ in range(2):
            await post(gateway, ask("go " * 3000, user=user))
        provider.scripts += [plain(400, too_long), streamed(delta("half"), STALL)]
        asked = len(provider.requests)
        client = await send(gateway, ask("go", user=user))
        await until(lambda: len(provider.requests) == asked + 2)
        client.transport.abortConnection()
        await gateway.when_idle()

    await ask_and_leave("first")
    with collected() as found:
        for number in range(TURNS):
            await ask_and_leave(f"user-{number}")
    del found[FACTORY]
    assert not found


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (plain(500, {"error": {"message": "no"}}), 502),
        (plain(401, {}), 502),
        (streamed(delta("half"), CLOSE), 502),
        ([b"HTTP/1.1 500\r\n nonsense\r\n\r\n"], 502),
    ],
    ids=["an error", "a refusal", "half an answer", "nonsense"],
)
@socket_test
async def test_a_provider_that_fails_leaves_no_circles(
    gateway: Gateway, provider: FakeProvider, script: Script, status: int
) -> None:
    provider.default = script
    await post(gateway, ask("first"))
    with collected() as found:
        for _ in range(TURNS):
            assert (await post(gateway, ask("go"))).status == status
        await until(lambda: not gateway.connections)
    del found[FACTORY]
    assert not found
