"""Bodies: bounded, in memory, never kept without a right and a route."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from moltbot_gw.http.channel import LINGER_BYTES, LINGER_SECONDS
from tests.support.gateway import Connection, Gateway
from tests.support.http_client import chat_body, chunked, http_request

MakeGateway = Callable[..., Gateway]
PATH = "/v1/chat/completions"
MEGABYTE = b"x" * 1024 * 1024


def head(path: str = PATH, **headers: Any) -> bytes:
    return http_request("POST", path, **headers)


def refused(token: str | None = "wrong", path: str = PATH) -> dict[str, bytes]:
    """Return heads that are refused: by declared length and by chunks."""
    request = http_request("POST", path, token=token)[:-2]
    return {
        "declared": request + b"Content-Length: 2000000\r\n\r\n",
        "chunked": request + b"Transfer-Encoding: chunked\r\n\r\n100000\r\n",
    }


REFUSED = [
    pytest.param(refused()["declared"], 401, id="unauthenticated"),
    pytest.param(refused()["chunked"], 401, id="unauthenticated, chunked"),
    pytest.param(refused(path="/x")["declared"], 404, id="unroutable"),
    pytest.param(refused(path="/x")["chunked"], 404, id="unroutable, chunked"),
    pytest.param(refused(path="/models")["declared"], 405, id="wrong method"),
    pytest.param(head(Content_Length="99999999"), 413, id="too large"),
    pytest.param(head(Content_Length="9" * 5000), 413, id="far too large"),
    pytest.param(
        http_request("GET", Content_Length="65537"), 413, id="a GET with too much"
    ),
]


@pytest.mark.parametrize(("raw", "status"), REFUSED)
def test_a_refused_body_is_not_kept(gateway: Gateway, raw: bytes, status: int) -> None:
    connection = gateway.connect()
    tracemalloc.start()
    try:
        connection.send(raw)
        assert connection.answer().status == status
        connection.send(MEGABYTE[:65536])  # the first piece makes room for the others
        before = tracemalloc.get_traced_memory()[0]
        connection.send(MEGABYTE, by=65536)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 16 * 1024
    assert len(connection.answers()) == 1


@pytest.mark.parametrize(("raw", "status"), REFUSED)
def test_a_refusal_half_closes_lingers_and_ends(
    gateway: Gateway, raw: bytes, status: int
) -> None:
    connection = gateway.send(raw)
    assert connection.answer().header("connection") == "close"
    assert connection.socket.half_closed
    assert connection.socket.closed is None
    connection.send(MEGABYTE)
    gateway.advance(LINGER_SECONDS)
    assert connection.aborted


def test_a_refused_client_that_sends_too_much_is_cut(gateway: Gateway) -> None:
    connection = gateway.send(head(Content_Length="99999999"))
    connection.send(b"x" * (LINGER_BYTES + 1))
    assert connection.aborted


def test_over_tls_a_refusal_closes_at_once(gateway: Gateway) -> None:
    connection = gateway.connect(secure=True)
    connection.send(head(Content_Length="99999999"))
    assert connection.answer().status == 413
    assert connection.socket.closed is not None


def test_the_limit_is_inclusive(make_gateway: MakeGateway) -> None:
    body = chat_body()
    gateway = make_gateway(max_body_bytes=len(body))
    for raw in (http_request("POST", PATH, body), chunked_request(body)):
        connection = gateway.send(raw)
        gateway.model.calls[-1].finish()
        assert connection.answer().status == 200


def chunked_request(*pieces: bytes) -> bytes:
    return head(Transfer_Encoding="chunked") + chunked(*pieces)


@pytest.mark.parametrize("by", [None, 7])
def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(
    make_gateway: MakeGateway, by: int | None
) -> None:
    """Also when its end is in the same segment: it must not be taken for whole."""
    body = chat_body()
    gateway = make_gateway(max_body_bytes=len(body) - 1)
    connection = gateway.send(chunked_request(body[:10], body[10:]), by=by)
    assert connection.answer().status == 413
    assert gateway.model.calls == []
    assert connection.closed


def test_whatever_follows_the_piece_too_many_is_dropped(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(max_body_bytes=10)
    raw = chunked_request(*[b"x" * 8] * 5)
    for behind in (b"", b"\n\n", http_request()):
        assert gateway.ask(raw + behind).status == 413
        assert gateway.ask(raw[:-5] + behind).status == 413


def test_a_valid_body_with_too_much_behind_it_starts_nothing(
    make_gateway: MakeGateway,
) -> None:
    body = chat_body()
    gateway = make_gateway(max_body_bytes=len(body))
    connection = gateway.send(chunked_request(body, b" "))
    assert connection.answer().status == 413
    assert gateway.model.calls == []


def test_many_tiny_chunks_are_refused_for_their_framing(gateway: Gateway) -> None:
    connection = gateway.send(head(Transfer_Encoding="chunked"))
    sent = 0
    while not connection.closed and sent < 1_000_000:
        connection.send(b"1\r\n \r\n" * 100)
        sent += 600
    assert connection.answer().status == 413
    assert sent < 120_000


def test_long_chunk_extensions_are_refused_for_their_framing(gateway: Gateway) -> None:
    connection = gateway.send(head(Transfer_Encoding="chunked"))
    sent = 0
    while not connection.closed and sent < 1_000_000:
        connection.send(b"1;" + b"a" * 1000 + b"\r\n \r\n")
        sent += 1008
    assert connection.answer().status == 413
    assert sent < 100_000


@pytest.mark.parametrize("by", [None, 600])
def test_endless_trailers_are_refused(gateway: Gateway, by: int | None) -> None:
    raw = head(Transfer_Encoding="chunked") + b"0\r\n" + b"X: y\r\n" * 14_000
    connection = gateway.send(raw, by=by)
    assert connection.answer().status in (400, 413)
    assert connection.closed


def test_a_large_body_in_sane_chunks_is_taken(gateway: Gateway) -> None:
    body = chat_body(messages=[{"role": "user", "content": "x" * 300_000}])
    pieces = [body[i : i + 50] for i in range(0, len(body), 50)]
    connection = gateway.send(chunked_request(*pieces), by=65536)
    gateway.model.calls[0].finish()
    assert connection.answer().status == 200


def test_the_body_of_a_stream_is_forgotten(gateway: Gateway) -> None:
    body = chat_body(
        stream=True, messages=[{"role": "user", "content": "hi"}], pad="x" * 3_000_000
    )
    connection = gateway.connect()
    tracemalloc.start()
    try:
        connection.send(http_request("POST", PATH, body), by=65536)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 500_000
    gateway.model.calls[0].finish()


def test_the_body_of_a_get_is_dropped(gateway: Gateway) -> None:
    connection = gateway.send(http_request("GET", "/v1/models", b"x" * 65536))
    connection.send(http_request())
    assert [answer.status for answer in connection.answers()] == [200, 200]


@pytest.mark.parametrize("body", [b"{}", chat_body()])
def test_100_continue_is_said_once_the_gate_admits(
    gateway: Gateway, body: bytes
) -> None:
    length = str(len(body))
    connection = gateway.send(head(Expect="100-continue", Content_Length=length))
    assert [answer.status for answer in connection.answers()] == [100]
    connection.send(body)
    if gateway.model.calls:
        gateway.model.calls[0].finish()
    assert len(connection.answers()) == 2


@pytest.mark.parametrize(
    "raw",
    [
        http_request("POST", PATH, token="wrong", Expect="100-continue"),
        head("/x", Expect="100-continue", Content_Length="5"),
        head(Expect="100-continue", Content_Length="99999999999"),
        head(Expect="100-Continue", Content_Length="99999999"),
        http_request("GET", token=None, Expect="100-continue"),
        http_request("GET", Expect="100-continue"),
    ],
)
def test_nobody_else_is_told_to_go_on(gateway: Gateway, raw: bytes) -> None:
    connection: Connection = gateway.send(raw)
    assert connection.answer().status != 100
