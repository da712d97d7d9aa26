"""Every wait has its end: head, body, idleness; and none while a request is handled."""

from __future__ import annotations

import pytest

from tests.support.gateway import Gateway
from tests.support.http_client import chat_body, chat_request, chunked, http_request

PATH = "/v1/chat/completions"


def test_a_head_must_come_within_ten_seconds_whatever_trickles(
    gateway: Gateway,
) -> None:
    connection = gateway.connect()
    for byte in http_request()[:10]:
        connection.send(bytes([byte]))
        assert not connection.closed
        gateway.advance(1)
    answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")
    assert connection.closed


@pytest.mark.parametrize("sent", [b"\r\n", b"G", b"GET / HTTP/1.1\r\nX: y\r\n"])
def test_any_part_of_a_head_is_answered_with_408(gateway: Gateway, sent: bytes) -> None:
    connection = gateway.send(sent)
    gateway.advance(10)
    assert connection.answer().status == 408


def test_the_next_head_has_ten_seconds_too(gateway: Gateway) -> None:
    connection = gateway.send(http_request())
    gateway.advance(60)
    connection.send(b"GET")
    gateway.advance(9.9)
    assert not connection.closed
    gateway.advance(0.1)
    assert [answer.status for answer in connection.answers()] == [200, 408]


def test_a_head_begun_behind_another_request_has_its_ten_seconds(
    gateway: Gateway,
) -> None:
    connection = gateway.send(http_request() + b"GET /v1/mod")
    gateway.advance(10)
    assert [answer.status for answer in connection.answers()] == [200, 408]


def test_a_head_begun_behind_a_body_has_its_ten_seconds(gateway: Gateway) -> None:
    connection = gateway.send(http_request("POST", PATH, b"{}") + b"GET /v1/mod")
    gateway.advance(10)
    assert [answer.status for answer in connection.answers()] == [400, 408]


def test_a_body_must_come_within_thirty_seconds_whatever_trickles(
    gateway: Gateway,
) -> None:
    connection = gateway.send(http_request("POST", PATH, Content_Length="1000"))
    for _ in range(30):
        assert not connection.closed
        connection.send(b" ")
        gateway.advance(1)
    answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")
    assert connection.closed


def test_a_chunked_body_has_the_same_time(gateway: Gateway) -> None:
    raw = http_request("POST", PATH, Transfer_Encoding="chunked")
    connection = gateway.send(raw + chunked(chat_body())[:-5])
    gateway.advance(30)
    assert connection.answer().status == 408
    assert gateway.model.calls == []


def test_who_never_speaks_is_closed_silently(gateway: Gateway) -> None:
    connection = gateway.connect()
    gateway.advance(10)
    assert connection.received == b""
    assert connection.closed
    assert not connection.aborted


def test_an_idle_connection_is_closed_silently(gateway: Gateway) -> None:
    connection = gateway.send(http_request())
    gateway.advance(74.9)
    assert not connection.closed
    gateway.advance(0.1)
    assert connection.closed
    assert not connection.aborted
    assert len(connection.answers()) == 1


def test_there_is_no_deadline_while_a_request_is_handled(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    gateway.advance(599)
    call.finish()
    assert connection.answer().status == 200


def test_a_close_that_is_not_taken_is_forced(gateway: Gateway) -> None:
    connection = gateway.connect()
    connection.socket.full = True
    connection.send(http_request(Connection="close"))
    gateway.advance(30)
    assert connection.aborted


def test_a_busy_connection_keeps_one_timer(gateway: Gateway) -> None:
    connection = gateway.connect()
    for _ in range(50):
        connection.send(http_request())
        gateway.advance(0.5)
        connection.send(http_request("POST", PATH, b"{}"), by=20)
    assert len(connection.answers()) == 100
    assert len(gateway.clock.getDelayedCalls()) == 1


def test_a_closed_connection_leaves_no_timer(gateway: Gateway) -> None:
    connection, _ = gateway.chat(stream=True)
    connection.socket.fill()
    connection.hang_up()
    assert gateway.clock.getDelayedCalls() == []


def test_an_aborted_connection_leaves_no_timer(gateway: Gateway) -> None:
    connection, _ = gateway.chat(stream=True)
    connection.socket.fill()
    connection.send(b"x" * 20_000)
    assert connection.aborted
    assert gateway.clock.getDelayedCalls() == []


def test_a_run_that_waits_for_long_holds_the_connection(gateway: Gateway) -> None:
    _, call = gateway.chat(user="alice")
    waiting = gateway.send(chat_request(user="alice"))
    gateway.advance(500)
    assert not waiting.closed
    call.finish()
