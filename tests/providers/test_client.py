"""``ProviderClient``: connections made, pooled, verified and given up."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_twisted import async_yield_fixture
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.client import (
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from moltbot_gw.providers.client import (
    CompressedAnswer,
    ProviderClient,
    discard,
)
from moltbot_gw.providers.headers import FixedHeaders
from tests.integration.waiting import (
    clean_reactor,
    fake_provider,
    reactor,
    socket_test,
    until,
    within,
)
from tests.support.fake_provider import (
    CLOSE,
    RESET,
    STALL,
    FakeProvider,
    plain,
    streamed,
)

clean = async_yield_fixture(name="clean")(clean_reactor)
provider = async_yield_fixture(name="provider")(fake_provider)


class Collected(Protocol):
    """Reads a whole body."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.ended.callback(self.data)


async def read(response: IResponse) -> bytes:
    collected = Collected()
    response.deliverBody(collected)
    return await within(5, collected.ended)


class Caller:
    """A client of *provider* that posts small requests."""

    def __init__(self, provider: FakeProvider) -> None:
        self.url = provider.base_url + "/chat/completions"
        self.client = ProviderClient(reactor, self.url.encode(), connect_timeout=5.0)

    def post(self, body: bytes = b"{}") -> Deferred[IResponse]:
        headers = FixedHeaders(Headers({b"X-Test": [b"yes"]}))
        return within(5, self.client.post(headers, body))


@pytest.fixture
def caller(provider: FakeProvider) -> Caller:
    return Caller(provider)


@socket_test
async def test_request_arrives_as_it_was_given(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(plain(200, {"ok": True}))
    response = await caller.post(b'{"a": 1}')
    assert await read(response) == b'{"ok": true}'
    (asked,) = provider.requests
    assert asked.line == "POST /v1/chat/completions HTTP/1.1"
    assert asked.body == {"a": 1}
    assert asked.headers["x-test"] == "yes"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["host"] == provider.base_url.split("/")[2]
    await caller.client.close()


@socket_test
async def test_two_requests_share_one_connection(
    provider: FakeProvider, caller: Caller
) -> None:
    for _ in range(2):
        provider.scripts.append(plain(200, {}))
        await read(await caller.post())
    assert len(provider.requests) == 2
    assert len(provider.connections) == 1
    await caller.client.close()


@socket_test
async def test_cookies_are_not_kept(provider: FakeProvider, caller: Caller) -> None:
    for _ in range(2):
        provider.scripts.append(plain(200, {}, Set_Cookie="a=b; Path=/"))
        await read(await caller.post())
    assert "cookie" not in provider.requests[1].headers
    await caller.client.close()


@socket_test
async def test_closing_closes_idle_connections(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(plain(200, {}))
    await read(await caller.post())
    await caller.client.close()
    await until(lambda: provider.open_connections == 0)


async def _pool_one(provider: FakeProvider, caller: Caller) -> None:
    """Leave one connection in the pool."""
    provider.scripts.append(plain(200, {}))
    await read(await caller.post())


@pytest.mark.parametrize("end", [CLOSE, RESET])
@socket_test
async def test_pooled_connection_that_dies_is_replaced_once(
    provider: FakeProvider, caller: Caller, end: Any
) -> None:
    await _pool_one(provider, caller)
    provider.scripts += [[end], plain(200, {"again": True})]
    response = await caller.post(b'{"n": 2}')
    assert await read(response) == b'{"again": true}'
    assert [asked.body for asked in provider.requests] == [{}, {"n": 2}, {"n": 2}]
    assert len(provider.connections) == 2
    await caller.client.close()


@socket_test
async def test_request_is_never_sent_three_times(
    provider: FakeProvider, caller: Caller
) -> None:
    await _pool_one(provider, caller)
    provider.scripts += [[CLOSE], [CLOSE], plain(200, {})]
    with pytest.raises(ResponseNeverReceived):
        await caller.post()
    assert len(provider.requests) == 3
    await caller.client.close()


@socket_test
async def test_fresh_connection_that_dies_is_not_replaced(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts += [[CLOSE], plain(200, {})]
    with pytest.raises((ResponseNeverReceived, RequestTransmissionFailed)):
        await caller.post()
    assert len(provider.requests) == 1
    await caller.client.close()


@socket_test
async def test_answer_that_began_is_not_asked_for_again(
    provider: FakeProvider, caller: Caller
) -> None:
    await _pool_one(provider, caller)
    provider.scripts += [[b"HTTP/1.1 200 OK\r\nContent-", CLOSE], plain(200, {})]
    with pytest.raises(ResponseFailed):
        await caller.post()
    assert len(provider.requests) == 2
    await caller.client.close()


@socket_test
async def test_dead_pooled_connections_do_not_use_up_the_one_retry(
    provider: FakeProvider, caller: Caller
) -> None:
    gate: Deferred[None] = Deferred()
    provider.scripts += [[gate, *plain(200, {})], [gate, *plain(200, {})]]
    both = [caller.post(), caller.post()]
    await within(5, provider.when_asked(2))
    gate.callback(None)
    for waiting in both:
        await read(await waiting)
    provider.scripts += [[RESET], plain(200, {"fresh": True})]
    assert await read(await caller.post()) == b'{"fresh": true}'
    assert len(provider.connections) == 3
    await caller.client.close()


@socket_test
async def test_cancel_on_a_pooled_connection_is_no_reason_to_try_again(
    provider: FakeProvider, caller: Caller
) -> None:
    await _pool_one(provider, caller)
    provider.scripts.append([STALL])
    waiting = caller.post()
    asked = await within(5, provider.when_asked(2))
    waiting.cancel()
    with pytest.raises((CancelledError, ResponseNeverReceived)):
        await waiting
    await within(1, asked.connection.when_closed())
    assert len(provider.requests) == 2
    await caller.client.close()


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip"])
@socket_test
async def test_compressed_answer_is_refused_and_its_socket_closed(
    provider: FakeProvider, caller: Caller, encoding: str
) -> None:
    script = streamed(b"\x1f\x8b", STALL, Content_Encoding=encoding)
    provider.scripts.append(script)
    with pytest.raises(CompressedAnswer):
        await caller.post()
    await within(1, provider.connections[0].when_closed())
    await caller.client.close()


@socket_test
async def test_identity_encoding_is_taken(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(plain(200, {}, Content_Encoding="identity"))
    assert await read(await caller.post()) == b"{}"
    await caller.client.close()


@socket_test
async def test_discarding_closes_the_socket(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(streamed(b"x", STALL))
    discard(await caller.post())
    await within(1, provider.connections[0].when_closed())
    await caller.client.close()


@socket_test
async def test_discarding_an_empty_answer_frees_its_connection(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts += [plain(200, b""), plain(200, {})]
    discard(await caller.post())
    await read(await caller.post())
    assert len(provider.connections) == 1
    await caller.client.close()


@socket_test
async def test_ipv6_address_in_brackets_is_reached(clean: None) -> None:
    provider = await FakeProvider(reactor).listen(host="::1")
    caller = Caller(provider)
    provider.scripts.append(plain(200, {}))
    assert await read(await caller.post()) == b"{}"
    await caller.client.close()
    await provider.stop()


@socket_test
async def test_refused_connection_is_an_error(clean: None) -> None:
    provider = await FakeProvider(reactor).listen()
    caller = Caller(provider)
    await provider.stop()
    with pytest.raises(ConnectionRefusedError):
        await caller.post()


# -- without a socket


def _memory_client(reactor: MemoryReactorClock, url: str) -> ProviderClient:
    return ProviderClient(reactor, url.encode(), connect_timeout=5.0)


def _failure_of(waiting: Deferred[Any]) -> list[Failure]:
    failures: list[Failure] = []
    waiting.addErrback(failures.append)
    return failures


def test_connecting_is_given_up_after_its_time_out() -> None:
    memory = MemoryReactorClock()
    url = "http://127.0.0.1:9/v1"
    client = _memory_client(memory, url)
    failures = _failure_of(client.post(FixedHeaders(Headers()), b"{}"))
    ((_, _, factory, timeout, _),) = memory.tcpClients
    assert timeout == 5.0
    memory.advance(4.9)
    assert not failures
    factory.clientConnectionFailed(memory.connectors[0], Failure(ConnectTimeout()))
    assert failures[0].check(ConnectTimeout)


def test_cancel_while_connecting_stops_the_attempt() -> None:
    memory = MemoryReactorClock()
    url = "http://127.0.0.1:9/v1"
    client = _memory_client(memory, url)
    waiting = client.post(FixedHeaders(Headers()), b"{}")
    failures = _failure_of(waiting)
    waiting.cancel()
    assert failures[0].check(CancelledError, ConnectingCancelledError)
    assert [c.stoppedConnecting for c in memory.connectors] == [True]
    assert memory.getDelayedCalls() == []


class NoNames:
    """A resolver that knows no name."""

    def resolveHostName(
        self, receiver: IResolutionReceiver, hostName: str, *args: Any, **kwargs: Any
    ) -> None:
        receiver.resolutionBegan(None)  # type: ignore[arg-type]
        receiver.resolutionComplete()


def test_name_that_does_not_resolve_is_an_error() -> None:
    memory = MemoryReactorClock()
    memory.nameResolver = NoNames()  # type: ignore[assignment]
    url = "http://provider.invalid/v1"
    client = _memory_client(memory, url)
    failures = _failure_of(client.post(FixedHeaders(Headers()), b"{}"))
    assert failures[0].check(DNSLookupError)
