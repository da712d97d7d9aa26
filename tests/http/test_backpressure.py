"""A client that does not read: nothing is written, its source waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moltbot_gw.agents.log import MAX_TAKE_CHARS
from tests.support.gateway import Connection, Gateway
from tests.support.http_client import Answer, chat_request, http_request, read_answers

MakeGateway = Callable[..., Gateway]


def test_a_stalled_reader_pauses_the_provider(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    connection.socket.fill()
    assert call.paused
    call.say("already on its way")
    connection.socket.full = False  # what was written now would come through
    assert connection.stream().text == ""


def test_a_reader_that_comes_back_gets_all_and_lets_the_provider_go(
    gateway: Gateway,
) -> None:
    connection, call = gateway.chat(stream=True)
    connection.socket.fill()
    call.say("a", "b")
    call.say("c")
    connection.socket.drain()
    assert not call.paused
    (chunk,) = connection.stream().chunks[1:]
    assert chunk["choices"][0]["delta"] == {"content": "abc"}
    call.finish()
    assert connection.answer().text == "abc"


def test_many_pauses_in_a_row_are_one(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    for _ in range(40):
        connection.socket.fill()
    timers = len(gateway.clock.getDelayedCalls())
    connection.socket.fill()
    assert len(gateway.clock.getDelayedCalls()) == timers
    connection.socket.drain()
    connection.socket.drain()
    assert call.resumed == 1
    call.finish()
    assert connection.answer().records[-1] == "[DONE]"


def test_the_missed_text_comes_in_small_writes(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    connection.socket.fill()
    for letter in "abcdef":
        call.say(letter * 10_000)
    connection.socket.drain()
    call.finish()
    answer = connection.answer()
    assert answer.text == "".join(letter * 10_000 for letter in "abcdef")
    texts = [
        sum(len(c["choices"][0]["delta"].get("content", "")) for c in part.chunks)
        for part in (Answer(200, "", (), p, True) for p in answer.pieces)
    ]
    assert max(texts) <= MAX_TAKE_CHARS
    assert len([size for size in texts if size]) == 4


def test_a_write_that_fills_the_socket_again_is_the_last(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    connection.socket.fill()
    call.say("x" * 50_000)
    fill_on_write(connection)
    before = len(connection.received)
    connection.socket.drain()
    assert call.paused
    assert call.resumed == 0
    assert len(connection.received) - before < MAX_TAKE_CHARS * 1.1
    call.finish()


def fill_on_write(connection: Connection) -> None:
    """Let the next write fill the buffer, which tells the producer from inside it."""
    socket, write = connection.socket, connection.socket.write

    def write_and_fill(data: bytes) -> None:
        socket.write = write  # type: ignore[method-assign]
        socket.write(data)
        assert socket.producer is not None
        socket.producer.pauseProducing()

    socket.write = write_and_fill  # type: ignore[method-assign]


def test_the_end_waits_for_the_reader(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    connection.socket.fill()
    call.say("bye")
    call.finish()
    assert gateway.agents.idle
    connection.socket.full = False
    assert not connection.stream().complete
    connection.socket.drain()
    assert connection.answer().text == "bye"
    connection.send(http_request())
    assert len(connection.answers()) == 2


def test_an_end_that_fills_the_socket_waits_to_be_taken(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    fill_on_write(connection)
    call.finish()
    assert not connection.stream().complete
    connection.socket.drain()
    assert connection.answer().records[-1] == "[DONE]"


def test_a_reader_that_stalls_too_long_is_cut(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True, user="alice")
    call.say("hello")
    connection.socket.fill()
    gateway.advance(29.9)
    assert not connection.closed
    gateway.advance(0.1)
    assert connection.aborted
    assert call.cancelled
    assert gateway.sessions() == {"agent:main:openai-user:alice": True}


def test_a_reader_that_moves_on_is_not_cut(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    for _ in range(10):
        connection.socket.fill()
        gateway.advance(29)
        connection.socket.drain()
    assert not connection.closed
    call.finish()
    assert connection.answer().records[-1] == "[DONE]"


@pytest.mark.parametrize("closing", [False, True])
def test_a_slow_reader_of_a_long_answer_is_not_a_stalled_one(
    gateway: Gateway, closing: bool
) -> None:
    connection, call = gateway.chat(headers={"Connection": "close"} if closing else {})
    connection.socket.dataBuffer = b"x" * 5000
    connection.socket.fill()
    call.finish()
    for left in range(4000, 0, -1000):
        gateway.advance(29)
        connection.socket.dataBuffer = b"x" * left
    assert not connection.aborted
    gateway.advance(60)
    assert connection.aborted


def test_a_reader_that_goes_while_paused_cancels_its_run(gateway: Gateway) -> None:
    connection, call = gateway.chat(stream=True)
    connection.socket.fill()
    connection.hang_up()
    assert call.cancelled


def test_a_whole_answer_that_nobody_reads_is_cut(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    connection.socket.fill()
    call.finish()
    gateway.advance(30)
    assert connection.aborted


def test_a_run_ends_although_its_reader_stalls(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(on_disconnect="finish")
    connection, call = gateway.chat(stream=True, user="alice")
    connection.socket.fill()
    gateway.advance(30)
    assert connection.aborted
    assert not call.paused
    call.say("hello")
    call.finish()
    assert gateway.history("agent:main:openai-user:alice")[-1].text == "hello"


def test_a_finished_answer_gives_the_client_its_idle_time(gateway: Gateway) -> None:
    """twisted#12498: the idle time begins when the last byte has left, not before."""
    connection, call = gateway.chat()
    connection.socket.fill()
    call.finish()
    gateway.advance(20)
    connection.socket.drain()
    gateway.advance(74)
    assert connection.answer().status == 200
    assert not connection.closed
    gateway.advance(1)
    assert connection.closed
    assert not connection.aborted


def test_coming_back_does_not_lengthen_the_time_for_a_head(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    connection.socket.fill()
    call.finish()
    connection.send(b"GET /v1/mod")
    connection.socket.drain()
    gateway.advance(10)
    assert [answer.status for answer in connection.answers()] == [200, 408]


@pytest.mark.parametrize("stream", [False, True])
def test_pausing_before_the_run_speaks_is_harmless(
    gateway: Gateway, stream: bool
) -> None:
    gateway.chat(user="alice")
    first = gateway.model.calls[0]
    waiting = gateway.connect()
    waiting.send(http_request())

    waiting.send(chat_request(user="alice", stream=stream))
    waiting.socket.fill()
    first.finish()
    second = gateway.model.calls[1]
    assert second.paused == stream
    second.say("hello")
    second.finish()
    waiting.socket.drain()
    answers = read_answers(waiting.received)
    assert [answer.complete for answer in answers] == [True, True]
