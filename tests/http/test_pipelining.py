"""Several requests on one connection: in order, each once, and not too many."""

from __future__ import annotations

import pytest

from moltbot_gw.http.channel import MAX_PIPELINED_BYTES
from tests.support.gateway import Gateway
from tests.support.http_client import chat_body, chat_request, chunked, http_request

PATH = "/v1/chat/completions"
REFUSALS = [
    (http_request(token=None), 401),
    (http_request("GET", "/x"), 404),
    (http_request("GET", PATH), 405),
    (http_request(Expect="x"), 417),
    (http_request("POST", PATH, b"{}"), 400),
    (http_request("GET", "/models/ghost"), 404),
]


@pytest.mark.parametrize("by", [None, 1, 1000])
def test_requests_are_answered_in_order(gateway: Gateway, by: int | None) -> None:
    raw = chat_request() + http_request() + chat_request(stream=True) + http_request()
    connection = gateway.send(raw, by=by)
    assert connection.received == b""
    gateway.model.calls[0].finish()
    assert len(gateway.model.calls) == 2
    gateway.model.calls[1].finish()
    types = [str(a.header("content-type")).split(";")[0] for a in connection.answers()]
    json = "application/json"
    assert types == [json, json, "text/event-stream", json]


@pytest.mark.parametrize(("raw", "status"), REFUSALS)
def test_a_refusal_without_an_unread_body_keeps_the_connection(
    gateway: Gateway, raw: bytes, status: int
) -> None:
    connection = gateway.send(raw)
    assert connection.answer().header("connection") is None
    connection.send(http_request())
    assert [answer.status for answer in connection.answers()] == [status, 200]


def test_what_lies_behind_a_body_in_one_segment_is_the_next_request(
    gateway: Gateway,
) -> None:
    bad = http_request("POST", PATH, b"{}")
    tail = http_request("POST", PATH, Transfer_Encoding="chunked") + chunked(b"[]")
    connection = gateway.send(bad + tail + bad + http_request())
    statuses = [answer.status for answer in connection.answers()]
    assert statuses == [400, 400, 400, 200]


def test_an_answer_that_is_whole_is_written_in_one_piece(gateway: Gateway) -> None:
    refused = http_request("GET", "/models/ghost")
    connection = gateway.send(http_request() + refused + chat_request())
    gateway.model.calls[0].finish()
    pieces = connection.socket.writes
    assert [piece[:12] for piece in pieces] == [
        b"HTTP/1.1 200",
        b"HTTP/1.1 404",
        b"HTTP/1.1 200",
    ]


def test_many_requests_in_one_segment_are_all_answered(gateway: Gateway) -> None:
    connection = gateway.send(http_request() * 2000)
    assert len(connection.answers()) == 2000


def test_one_connection_serves_many_requests(gateway: Gateway) -> None:
    connection = gateway.connect()
    for _ in range(200):
        connection.send(chat_request())
        gateway.model.calls[-1].finish()
    assert {answer.status for answer in connection.answers()} == {200}
    assert len(gateway.model.calls) == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by", [None, 1000])
def test_too_much_behind_a_request_cuts_the_connection_and_its_run(
    gateway: Gateway, stream: bool, by: int | None
) -> None:
    connection, call = gateway.chat(stream=stream)
    connection.send(b"x" * MAX_PIPELINED_BYTES, by=by)
    assert not connection.closed
    connection.send(b"x")
    assert connection.aborted
    assert call.cancelled


def test_the_bound_holds_for_what_came_with_the_body(gateway: Gateway) -> None:
    raw = chat_request() + b"x" * (MAX_PIPELINED_BYTES + 1)
    connection = gateway.send(raw)
    assert connection.aborted
    assert gateway.agents.idle


def test_a_new_request_may_be_followed_by_as_much_again(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    for _ in range(3):
        connection.send(chat_request(pad="x" * 12_000))
        gateway.model.calls[-1].finish()
    assert not connection.closed
    assert call.cancelled is False


def test_a_waiting_request_does_not_hide_that_the_client_goes(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    connection.send(http_request("POST", PATH, chat_body(pad="x" * 8_000)))
    assert connection.socket.reading
    connection.hang_up()
    assert call.cancelled
    assert len(gateway.model.calls) == 1


def test_nothing_is_served_behind_a_last_request(gateway: Gateway) -> None:
    connection = gateway.send(http_request(Connection="close") + http_request())
    assert connection.answer().header("connection") == "close"
    assert connection.closed


def test_nothing_is_served_behind_a_last_run(gateway: Gateway) -> None:
    connection = gateway.send(chat_request({"Connection": "close"}) + http_request())
    gateway.model.calls[0].finish()
    assert connection.answer().header("connection") == "close"
    assert connection.closed


def test_too_much_behind_a_last_request_cuts_it_too(gateway: Gateway) -> None:
    connection = gateway.send(chat_request({"Connection": "close"}))
    connection.send(b"x" * (MAX_PIPELINED_BYTES + 1))
    assert connection.aborted
