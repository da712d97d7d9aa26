"""What becomes of connections when the gateway stops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.agents.service import gateway_stops
from tests.support.gateway import Connection, Gateway
from tests.support.http_client import chat_body, chat_request, http_request

MODELS = http_request()


def finish(gateway: Gateway) -> Deferred[None]:
    """Close the site as the daemon does when no run is left."""
    closing = Deferred.fromCoroutine(gateway.site.close(2.0, gateway_stops()))
    gateway.advance(0)
    return closing


def told_to_come_again(connection: Connection) -> bool:
    """Whether the client's one answer says that we are stopping."""
    answer = connection.answer()
    assert answer.error["code"] == "draining"
    assert answer.header("retry-after") == "5"
    assert answer.header("connection") == "close"
    return answer.status == 503 and connection.closed


def test_idle_connection_closes_at_once(gateway: Gateway) -> None:
    connection = gateway.send(MODELS)
    gateway.site.wind_up()
    assert connection.closed
    assert not connection.aborted
    assert gateway.site.connections == 0


def test_answer_at_hand_is_the_last_one(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    gateway.site.wind_up()
    call.say("hello")
    call.finish()
    answer = connection.answer()
    assert answer.status == 200
    assert answer.header("connection") == "close"
    assert connection.closed


def test_stream_goes_on_to_its_end_and_closes(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    call.say("hel")
    gateway.site.wind_up()
    call.say("lo")
    call.finish()
    assert connection.answer().text == "hello"
    assert connection.closed


def test_waiting_request_is_refused_and_its_connection_closed(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(max_concurrent=1)
    _, call = gateway.chat()
    waiting = gateway.send(chat_request(user="b"))
    gateway.site.wind_up()
    gateway.drain()
    gateway.advance(0)
    assert told_to_come_again(waiting)
    call.finish()


@pytest.mark.parametrize("size", [0, 20, len(chat_request()) - 3])
def test_request_that_comes_in_the_end_of_is_answered(
    gateway: Gateway, size: int
) -> None:
    request = chat_request()
    connection = gateway.send(request[:size])
    gateway.site.wind_up()
    gateway.drain()
    assert not connection.closed
    connection.send(request[size:])
    assert told_to_come_again(connection)


def test_other_answers_are_given_as_ever_but_are_the_last(gateway: Gateway) -> None:
    connection = gateway.connect()
    gateway.site.wind_up()
    connection.send(MODELS)
    answer = connection.answer()
    assert answer.status == 200
    assert answer.header("connection") == "close"
    assert connection.closed


@pytest.mark.parametrize("size", [0, 20, len(chat_request()) - 3])
def test_request_that_does_not_come_in_time_is_told_to_come_again(
    gateway: Gateway, size: int
) -> None:
    connection = gateway.send(chat_request()[:size])
    closing = finish(gateway)
    assert told_to_come_again(connection)
    connection.send(chat_request()[size:])  # dropped, but no reset hides the answer
    assert told_to_come_again(connection)
    connection.hang_up()
    assert closing.called


def test_who_keeps_silent_is_not_waited_for(gateway: Gateway) -> None:
    gateway.connect()
    closing = finish(gateway)
    gateway.advance(2.0)
    assert closing.called
    assert gateway.site.connections == 0


def test_refusal_under_way_is_not_told_twice(gateway: Gateway) -> None:
    connection = gateway.send(http_request("POST", "/nowhere", chat_body())[:-3])
    gateway.site.wind_up()
    finish(gateway)
    assert connection.answer().status == 404
