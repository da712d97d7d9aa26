"""Connections to providers: framing, bounds, and when one is used again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from moltbot_gw.providers.connection import MAX_HEAD_BYTES, MAX_JOINED_BYTES
from moltbot_gw.providers.headers import FixedHeaders
from moltbot_gw.providers.pool import (
    IDLE_SECONDS,
    MAX_IDLE_CONNECTIONS,
    PooledAgent,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"


class Socket(StringTransport):
    """A transport that tells what was done to it."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled


@implementer(IStreamClientEndpoint)
class Provider:
    """Accepts every connection at once, on sockets that the test holds."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []
        self.protocols: list[Any] = []

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocol, socket = protocolFactory.buildProtocol(None), Socket()
        self.protocols.append(protocol)
        self.sockets.append(socket)
        protocol.makeConnection(socket)
        return succeed(protocol)

    def lose(self, index: int = 0, kind: type[Exception] = ConnectionLost) -> None:
        self.protocols[index].connectionLost(Failure(kind()))


class Body(Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.reason: Failure | None = None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        assert self.reason is None
        self.reason = reason

    def ended_with(self, kind: type[Exception]) -> bool:
        return self.reason is not None and self.reason.check(kind) is not None


class Caller:
    """An agent, its provider, and a clock."""

    def __init__(self, url: bytes = b"http://provider.test:8000/v1/x") -> None:
        self.clock = Clock()
        self.provider = Provider()
        self.agent = PooledAgent(self.provider, URI.fromBytes(url), self.clock)

    def ask(self, body: bytes = b"{}") -> Deferred[IResponse]:
        headers = FixedHeaders(Headers({b"X-A": [b"1"]}))
        return self.agent.request(b"POST", b"", headers, body)

    def receive(self, data: bytes, index: int = 0) -> None:
        self.provider.protocols[index].dataReceived(data)

    def answered(self, data: bytes) -> Body:
        """Ask, give *data* as the whole answer, and read its body."""
        waiting = self.ask()
        body = Body()
        waiting.addCallback(lambda answer: answer.deliverBody(body))
        self.receive(data, -1)
        return body


@pytest.fixture
def caller() -> Iterator[Caller]:
    caller = Caller()
    yield caller
    caller.agent.close_idle()
    for protocol in caller.provider.protocols:
        protocol.connectionLost(Failure(ConnectionDone()))
    assert caller.clock.getDelayedCalls() == []


def failure_of(waiting: Deferred[Any]) -> Failure:
    failures: list[Failure] = []
    waiting.addErrback(failures.append)
    (failure,) = failures
    return failure


def test_the_agent_keeps_the_contract(caller: Caller) -> None:
    assert verifyObject(IAgent, caller.agent)


def test_a_request_is_written_whole(caller: Caller) -> None:
    caller.ask(b"body").addErrback(lambda _: None)
    assert caller.provider.sockets[0].value() == (
        b"POST /v1/x HTTP/1.1\r\nHost: provider.test:8000\r\nX-A: 1\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Length: 4\r\n\r\nbody"
    )


@pytest.mark.parametrize("size", [MAX_JOINED_BYTES, MAX_JOINED_BYTES + 1])
def test_a_large_body_follows_its_head(caller: Caller, size: int) -> None:
    caller.ask(b"x" * size).addErrback(lambda _: None)
    head, _, body = caller.provider.sockets[0].value().partition(b"\r\n\r\n")
    assert head.endswith(b"Content-Length: %d" % size)
    assert body == b"x" * size


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (b"http://a.test/", b"a.test"),
        (b"https://a.test/", b"a.test"),
        (b"https://a.test:8443/", b"a.test:8443"),
        (b"http://[::1]:8000/", b"[::1]:8000"),
    ],
)
def test_host_has_the_port_unless_it_is_the_usual_one(url: bytes, host: bytes) -> None:
    caller = Caller(url)
    caller.ask().addErrback(lambda _: None)
    assert b"\r\nHost: %s\r\n" % host in caller.provider.sockets[0].value()


WHOLE = {
    "chunked": (HELLO, b"hello"),
    "length": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "no phrase": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    "interim": (b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + HELLO, b"hello"),
}


@pytest.mark.parametrize(("data", "text"), WHOLE.values(), ids=WHOLE)
def test_a_whole_answer_frees_its_connection(
    caller: Caller, data: bytes, text: bytes
) -> None:
    body = caller.answered(data)
    assert (body.data, body.ended_with(ResponseDone)) == (text, True)
    caller.answered(data)
    assert caller.agent.connects == 1


@given(st.sampled_from(sorted(WHOLE)), st.sets(st.integers(1, 60)))
def test_where_an_answer_is_cut_does_not_matter(name: str, cuts: set[int]) -> None:
    caller = Caller()
    data, text = WHOLE[name]
    body = Body()
    caller.ask().addCallback(lambda answer: answer.deliverBody(body))
    places = sorted(cut for cut in cuts if cut < len(data))
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        caller.receive(data[start:end])
    assert (body.data, body.ended_with(ResponseDone)) == (text, True)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\nhello",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nhello",
        HELLO + b"more",
    ],
    ids=["1.0", "close", "error", "bytes behind"],
)
def test_some_answers_end_their_connection(caller: Caller, data: bytes) -> None:
    body = caller.answered(data)
    assert (body.data, body.ended_with(ResponseDone)) == (b"hello", True)
    assert caller.provider.sockets[0].aborted


BAD_HEADS = [
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"<html>\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n folded: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nbad name: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX\x00: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\xe9: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n",
    CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_HEAD_BYTES,
    b"HTTP/1.1 100 Go on\r\n\r\n" * (MAX_HEAD_BYTES // 20),
]


@pytest.mark.parametrize("head", BAD_HEADS, ids=lambda head: repr(head[:40]))
def test_a_head_that_is_not_http_fails_and_closes(caller: Caller, head: bytes) -> None:
    waiting = caller.ask()
    caller.receive(head)
    assert failure_of(waiting).check(ResponseFailed)
    assert caller.provider.sockets[0].aborted


def test_interim_answers_count_in_many_reads_too(caller: Caller) -> None:
    waiting = caller.ask()
    for _ in range(MAX_HEAD_BYTES // 20):
        caller.receive(b"HTTP/1.1 100 Go on\r\n\r\n")
    assert failure_of(waiting).check(ResponseFailed)


def test_what_a_read_brings_comes_in_one_piece(caller: Caller) -> None:
    body = caller.answered(CHUNKED)
    caller.receive(b"5\r\nhello\r\n1\r\n \r\n5\r\nworl")
    caller.receive(b"d\r\n1\r\n!\r\n0\r\n\r\n")
    assert body.pieces == [b"hello worl", b"d!"]


def test_a_malformed_chunk_ends_the_body_with_a_failure(caller: Caller) -> None:
    body = caller.answered(CHUNKED + b"5\r\nhello\r\nzz\r\n")
    assert (body.data, body.ended_with(ResponseFailed)) == (b"hello", True)
    assert caller.provider.sockets[0].aborted


def test_a_body_without_a_length_ends_by_closing(caller: Caller) -> None:
    body = caller.answered(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert body.reason is None
    caller.provider.lose(kind=ConnectionDone)
    assert (body.data, body.ended_with(PotentialDataLoss)) == (b"hello", True)


def test_a_cut_body_is_a_failure(caller: Caller) -> None:
    body = caller.answered(CHUNKED + b"5\r\nhel")
    caller.provider.lose()
    assert (body.data, body.ended_with(ResponseFailed)) == (b"hel", True)


def test_a_connection_lost_before_a_byte_was_no_answer(caller: Caller) -> None:
    waiting = caller.ask()
    caller.provider.lose()
    assert failure_of(waiting).check(ResponseNeverReceived)


@pytest.mark.parametrize("data", [b"HTTP/1.1 2", b"HTTP/1.1 100 Go on\r\n\r\n"])
def test_a_connection_lost_inside_the_head_was_one(caller: Caller, data: bytes) -> None:
    waiting = caller.ask()
    caller.receive(data)
    caller.provider.lose()
    assert failure_of(waiting).check(ResponseFailed)


def test_cancelling_closes_and_what_comes_then_is_ignored(caller: Caller) -> None:
    waiting = caller.ask()
    waiting.cancel()
    assert failure_of(waiting).check(CancelledError)
    assert caller.provider.sockets[0].aborted
    caller.receive(HELLO)
    caller.receive(b"more")


def test_a_body_waits_paused_until_it_is_delivered(caller: Caller) -> None:
    answers: list[IResponse] = []
    caller.ask().addCallback(answers.append)
    caller.receive(HELLO[:-9])
    assert caller.provider.sockets[0].producerState == "paused"
    caller.receive(HELLO[-9:])
    body = Body()
    answers[0].deliverBody(body)
    assert (body.data, body.ended_with(ResponseDone)) == (b"hello", True)
    assert caller.provider.sockets[0].producerState == "producing"


def test_a_body_delivered_after_the_connection_is_lost(caller: Caller) -> None:
    answers: list[IResponse] = []
    caller.ask().addCallback(answers.append)
    caller.receive(CHUNKED + b"5\r\nhel")
    caller.provider.lose()
    body = Body()
    answers[0].deliverBody(body)
    assert (body.data, body.ended_with(ResponseFailed)) == (b"hel", True)
    assert answers[0].length is UNKNOWN_LENGTH


def test_a_body_pauses_resumes_and_stops_the_socket(caller: Caller) -> None:
    body = caller.answered(CHUNKED + b"5\r\nhe")
    socket, transport = caller.provider.sockets[0], body.transport
    assert transport is not None
    transport.pauseProducing()
    transport.pauseProducing()
    assert socket.producerState == "paused"
    transport.resumeProducing()
    assert socket.producerState == "producing"
    transport.stopProducing()
    assert socket.aborted


def test_a_body_that_is_over_has_no_hold_on_the_connection(caller: Caller) -> None:
    body = caller.answered(HELLO)
    transport = body.transport
    assert transport is not None
    transport.pauseProducing()
    transport.resumeProducing()
    transport.stopProducing()
    assert caller.provider.sockets[0].producerState == "producing"
    assert not caller.provider.sockets[0].aborted


def test_a_body_that_ends_while_paused_frees_a_reading_connection(
    caller: Caller,
) -> None:
    body = caller.answered(CHUNKED + b"5\r\nhe")
    assert body.transport is not None
    body.transport.pauseProducing()
    caller.receive(b"llo\r\n0\r\n\r\n")
    assert caller.provider.sockets[0].producerState == "producing"


def test_an_idle_connection_is_closed_after_a_while(caller: Caller) -> None:
    caller.answered(HELLO)
    caller.clock.advance(IDLE_SECONDS / 2)
    caller.ask().addErrback(lambda _: None)
    caller.clock.advance(IDLE_SECONDS)
    assert not caller.provider.sockets[0].aborted
    caller.receive(HELLO)


def test_idle_connections_are_swept_one_after_the_other(caller: Caller) -> None:
    waiting = [caller.ask(), caller.ask()]
    for index, answer in enumerate(waiting):
        answer.addCallback(lambda answer: answer.deliverBody(Body()))
        caller.receive(HELLO, index)
        caller.clock.advance(1.0)
    caller.clock.advance(IDLE_SECONDS - 2.0)
    assert [s.aborted for s in caller.provider.sockets] == [True, False]
    caller.clock.advance(1.0)
    assert [s.aborted for s in caller.provider.sockets] == [True, True]


def test_an_idle_connection_that_speaks_is_closed(caller: Caller) -> None:
    caller.answered(HELLO)
    caller.receive(b"HTTP/1.1 200 OK\r\n\r\n")
    assert caller.provider.sockets[0].aborted


def test_an_idle_connection_that_was_closed_is_forgotten(caller: Caller) -> None:
    caller.answered(HELLO)
    caller.provider.lose(kind=ConnectionDone)
    caller.answered(HELLO)
    assert caller.agent.connects == 2


def test_there_are_only_so_many_idle_connections(caller: Caller) -> None:
    waiting = [caller.ask() for _ in range(MAX_IDLE_CONNECTIONS + 1)]
    for index, answer in enumerate(waiting):
        answer.addCallback(lambda answer: answer.deliverBody(Body()))
        caller.receive(HELLO, index)
    assert sum(socket.aborted for socket in caller.provider.sockets) == 1


def test_an_agent_that_is_closed_keeps_nothing(caller: Caller) -> None:
    waiting = caller.ask()
    waiting.addCallback(lambda answer: answer.deliverBody(Body()))
    caller.agent.close()
    caller.receive(HELLO)
    assert caller.provider.sockets[0].aborted


def test_a_body_comes_only_after_who_awaits_the_answer_has_returned(
    caller: Caller,
) -> None:
    body = Body()
    seen: list[bytes] = []

    def deliver(answer: IResponse) -> None:
        answer.deliverBody(body)
        seen.append(body.data)

    caller.ask().addCallback(deliver)
    caller.receive(HELLO)
    assert (seen, body.data) == ([b""], b"hello")


def test_closing_idle_connections_waits_for_them(caller: Caller) -> None:
    caller.answered(HELLO)
    closed: list[None] = []
    caller.agent.close_idle().addCallback(closed.append)
    assert closed == []
    caller.provider.lose(kind=ConnectionDone)
    assert closed == [None]
