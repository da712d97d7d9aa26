"""``onDisconnect: "grace"``: a run waits a while for a client that has lost its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moltbot_gw.agents.run import Run
from moltbot_gw.http import audience
from tests.http.test_attach import WITH_IDS, attach, run_id_of, text_of
from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import chat_request

MakeGateway = Callable[..., Gateway]
GRACE = 30.0


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    return make_gateway(on_disconnect="grace", grace=GRACE)


@pytest.mark.parametrize("stream", [True, False])
def test_run_goes_on_for_a_while_without_its_client(
    gateway: Gateway, stream: bool
) -> None:
    connection, call = gateway.chat(stream=stream, user="alice")
    call.say("hel")
    connection.hang_up()
    gateway.advance(GRACE - 0.1)
    call.say("lo")
    assert not call.cancelled
    gateway.advance(0.1)
    assert call.cancelled
    (_, said) = gateway.history("agent:main:openai-user:alice")
    assert (said.text, said.stop_reason) == ("hello", "aborted")


def test_who_comes_back_finds_its_answer_again(gateway: Gateway) -> None:
    connection, call = gateway.chat(WITH_IDS, stream=True)
    call.say("hel")
    had = connection.stream().events
    run_id = run_id_of(connection)
    connection.hang_up()
    gateway.advance(GRACE - 1)
    call.say("lo")
    second = attach(gateway, run_id, had[-1].id)
    gateway.advance(10 * GRACE)
    call.say("!")
    call.finish()
    assert text_of(had + second.answer().events) == "hello!"


def test_repeat_with_its_key_keeps_the_run(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k"}
    connection, call = gateway.chat(key, stream=True)
    call.say("hel")
    connection.hang_up()
    gateway.advance(GRACE - 1)
    second = gateway.send(chat_request(key, stream=True))
    gateway.advance(2 * GRACE)
    call.say("lo")
    call.finish()
    assert second.answer().text == "hello"
    assert len(gateway.model.calls) == 1


def test_each_client_that_goes_leaves_a_grace(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    run_id = run_id_of(connection)
    for _ in range(5):
        connection.hang_up()
        gateway.advance(GRACE - 1)
        connection = attach(gateway, run_id)
    connection.hang_up()
    gateway.advance(GRACE - 0.1)
    assert not call.cancelled
    gateway.advance(0.1)
    assert call.cancelled


def test_run_whose_other_client_stays_needs_no_grace(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    second = attach(gateway, run_id_of(connection))
    second.hang_up()
    gateway.advance(2 * GRACE)
    assert not call.cancelled
    call.finish()
    assert connection.answer().complete


def test_run_that_ends_in_its_grace_can_be_read(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    run_id = run_id_of(connection)
    connection.hang_up()
    call.say("hello")
    call.finish()
    assert gateway.clock.getDelayedCalls() == []
    assert text_of(attach(gateway, run_id).answer().events) == "hello"


def test_run_that_is_cut_off_in_its_grace_is_run_again(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k"}
    connection, _ = gateway.chat(key, stream=True)
    connection.hang_up()
    gateway.advance(GRACE)
    again, call = gateway.chat(key, stream=True)
    call.say("hello")
    call.finish()
    assert again.answer().text == "hello"
    assert len(gateway.model.calls) == 2


def test_source_is_not_held_back_without_a_client(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    connection.socket.fill()
    assert call.paused
    connection.hang_up()
    assert not call.paused
    call.finish()


def test_so_many_runs_are_in_grace(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "MOST_IN_GRACE", 2)
    calls = []
    for _ in range(3):
        connection, call = gateway.chat(stream=True)
        calls.append(call)
        gateway.advance(1)
        connection.hang_up()
    assert [call.cancelled for call in calls] == [True, False, False]
    for call in calls[1:]:
        call.finish()


def test_stopping_gateway_waits_for_no_client(gateway: Gateway, log: LogTape) -> None:
    connection, call = gateway.chat(stream=True)
    connection.hang_up()
    gateway.drain(5.0)
    gateway.advance(5)
    assert call.cancelled
    assert log.take_problems()
    assert gateway.agents.idle
    assert gateway.clock.getDelayedCalls() == []


# -- without grace


def test_attached_reader_keeps_the_run_of_a_client_that_goes(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway()
    connection, call = gateway.chat(stream=True)
    second = attach(gateway, run_id_of(connection))
    connection.hang_up()
    assert not call.cancelled
    second.hang_up()
    assert call.cancelled


@pytest.mark.parametrize("policy", ["cancel", "grace", "finish"])
def test_who_looks_on_at_a_run_of_the_other_edge_never_ends_it(
    make_gateway: MakeGateway, start: Callable[..., Run], policy: str
) -> None:
    gateway = make_gateway(on_disconnect=policy)
    start(gateway, "r")
    attach(gateway, "r").hang_up()
    gateway.advance(2 * GRACE)
    assert not gateway.model.calls[0].cancelled


def test_run_that_nobody_waits_for_goes_on_when_it_may_finish(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(on_disconnect="finish")
    connection, call = gateway.chat(stream=True)
    second = attach(gateway, run_id_of(connection))
    connection.hang_up()
    second.hang_up()
    gateway.advance(100)
    assert not call.cancelled
    call.finish()
