"""What the socket adds to the protocol: flow control, deadlines, bounds, one end."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone

from moltbot_gw.ws.socket import (
    BITE,
    CLOSE_SECONDS,
    FRAGMENT_BYTES,
    MAX_FRAGMENTS,
    PING_SECONDS,
)
from tests.support.gateway import LogTape
from tests.support.ws_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    close_payload,
    fragments,
    frame,
    handshake,
    text,
)
from tests.ws.echo import STALL_SECONDS, Client, EchoGateway

MOMENT = 0.01


@pytest.fixture
def client(echo_gateway: EchoGateway) -> Client:
    return echo_gateway.open()


def goodbye(code: int, reason: str = "") -> Frame:
    return Frame(CLOSE, close_payload(code, reason))


# -- flow control


def test_a_full_transport_stops_the_reading(client: Client) -> None:
    client.wire.fill()
    assert client.handler.socket.paused
    assert not client.wire.reading


def test_the_owner_is_told_once_when_the_client_reads_again(client: Client) -> None:
    client.wire.fill()
    client.wire.drain()
    assert not client.handler.socket.paused
    assert client.wire.reading
    assert client.handler.writable_times == 1


def test_many_pauses_in_a_row_are_one(
    echo_gateway: EchoGateway, client: Client
) -> None:
    timers = len(echo_gateway.clock.getDelayedCalls())
    for _ in range(40):
        client.wire.fill()
    assert len(echo_gateway.clock.getDelayedCalls()) == timers + 1
    client.wire.drain()
    client.wire.drain()
    assert client.handler.writable_times == 1
    assert len(echo_gateway.clock.getDelayedCalls()) == timers + 1  # the turn


def test_what_was_held_back_arrives_in_order(client: Client) -> None:
    client.wire.fill()
    client.send(text("one") + text("two"))
    assert client.frames == []
    client.wire.drain()
    assert [one.text for one in client.frames] == ["one", "two"]


def test_a_stalled_client_is_told_why_and_dropped(
    echo_gateway: EchoGateway, client: Client
) -> None:
    client.wire.fill()
    client.wire.dataBuffer = b"*" * 1000
    echo_gateway.advance(STALL_SECONDS - MOMENT)
    assert client.handler.socket.can_send
    echo_gateway.advance(MOMENT)
    assert not client.handler.socket.can_send
    assert not client.is_gone
    echo_gateway.advance(CLOSE_SECONDS)
    assert isinstance(client.wire.closed, ConnectionAborted)


def test_a_stalled_client_that_reads_after_all_sees_the_reason(
    echo_gateway: EchoGateway, client: Client
) -> None:
    client.wire.fill()
    echo_gateway.advance(STALL_SECONDS)
    client.wire.drain()
    assert client.frames == [goodbye(1008, "slow consumer")]
    assert client.handler.writable_times == 0
    client.send(close(1008))
    assert isinstance(client.wire.closed, ConnectionDone)


def test_a_slow_client_that_reads_is_left_alone(
    echo_gateway: EchoGateway, client: Client
) -> None:
    client.wire.dataBuffer = b"*" * 21
    client.wire.fill()
    for left in range(20, 0, -1):
        client.wire.dataBuffer = b"*" * left
        echo_gateway.advance(STALL_SECONDS)
    client.wire.drain()
    assert client.frames == []
    assert client.handler.socket.can_send


def test_a_fault_while_paused_still_ends_the_connection(
    echo_gateway: EchoGateway, client: Client
) -> None:
    client.wire.fill()
    client.send(frame(3))
    assert client.wire.reading
    client.wire.drain()
    assert client.frames[-1].code == 1002
    assert client.has_end
    echo_gateway.advance(CLOSE_SECONDS)
    assert client.is_gone


# -- the life of the peer


def test_a_silent_peer_is_asked_and_then_dropped(
    echo_gateway: EchoGateway, client: Client
) -> None:
    echo_gateway.advance(PING_SECONDS)
    assert client.frames == [Frame(PING)]
    echo_gateway.advance(PING_SECONDS - MOMENT)
    assert not client.is_gone
    echo_gateway.advance(2 * MOMENT)
    assert isinstance(client.wire.closed, ConnectionAborted)
    assert client.handler.ends[0][0] == 1006


@pytest.mark.parametrize("sign", [frame(PONG), frame(PING), text("x"), b"\x81"])
def test_whoever_says_anything_lives(
    echo_gateway: EchoGateway, client: Client, sign: bytes
) -> None:
    for _ in range(3):
        echo_gateway.advance(PING_SECONDS)
        client.send(sign)
    assert not client.is_gone


def test_a_peer_that_was_not_asked_is_not_dropped(
    echo_gateway: EchoGateway, client: Client
) -> None:
    echo_gateway.advance(PING_SECONDS - 1)
    client.wire.fill()
    echo_gateway.advance(2)
    client.wire.drain()  # it takes everything, and has nothing to say
    echo_gateway.advance(PING_SECONDS)
    assert not client.is_gone
    echo_gateway.advance(PING_SECONDS)
    assert client.is_gone


def test_a_peer_that_takes_what_was_sent_lives(
    echo_gateway: EchoGateway, client: Client
) -> None:
    echo_gateway.advance(PING_SECONDS + 1)
    client.wire.fill()
    client.wire.drain()
    echo_gateway.advance(PING_SECONDS)
    assert not client.is_gone


def test_a_paused_peer_is_for_the_stall_watch(
    echo_gateway: EchoGateway, client: Client
) -> None:
    client.wire.dataBuffer = b"*" * 6
    client.wire.fill()
    for left in range(5, 0, -1):
        client.wire.dataBuffer = b"*" * left
        echo_gateway.advance(STALL_SECONDS)
    assert not client.is_gone


def test_a_message_may_go_out_in_parts(client: Client) -> None:
    words = memoryview(b"*" * 70_000)
    socket = client.handler.socket
    socket.send_fragment(words[:10], is_first=True, is_last=False)
    client.send(frame(PING, b"between"))
    socket.send_fragment(words[10:20], is_first=False, is_last=False)
    socket.send_fragment(words[20:], is_first=False, is_last=True)
    socket.send_fragment(words[:1], is_first=True, is_last=True)
    assert client.frames == [
        Frame(TEXT, b"*" * 10, fin=False),
        Frame(PONG, b"between"),
        Frame(CONTINUATION, b"*" * 10, fin=False),
        Frame(CONTINUATION, b"*" * 69_980),
        Frame(TEXT, b"*"),
    ]
    socket.close(1000, "")
    socket.send_fragment(words, is_first=True, is_last=True)
    assert client.frames[-1] == goodbye(1000)


# -- bounds


@pytest.mark.parametrize("by", [None, 7, 1])
def test_a_flood_of_empty_fragments_ends(client: Client, by: int | None) -> None:
    flood = frame(CONTINUATION, fin=False) * (MAX_FRAGMENTS + 10)
    client.send(frame(TEXT, fin=False) + flood, by)
    assert [one.code for one in client.frames] == [1009]


def test_as_many_fragments_as_there_may_be_are_a_message(client: Client) -> None:
    flood = frame(CONTINUATION, fin=False) * (MAX_FRAGMENTS - 2)
    for _ in range(2):  # each message has its own number
        client.send(frame(TEXT, fin=False) + flood + frame(CONTINUATION))
    assert client.frames == [Frame(TEXT), Frame(TEXT)]


def test_a_large_message_may_have_more_fragments(client: Client) -> None:
    data = b"*" * (FRAGMENT_BYTES * MAX_FRAGMENTS * 3)
    client.send(fragments(BINARY, data, FRAGMENT_BYTES))
    assert client.frames == [Frame(BINARY, data)]


@pytest.mark.parametrize("message", [text("*" * 11), fragments(TEXT, b"*" * 11, 6)])
def test_a_message_over_the_limit_ends_the_connection(message: bytes) -> None:
    gateway = EchoGateway(max_bytes=10)
    client = gateway.open().send(message)
    assert [one.code for one in client.frames] == [1009]
    gateway.close()


def test_the_limit_may_be_raised_later_and_is_not_for_answers() -> None:
    gateway = EchoGateway(max_bytes=10)
    client = gateway.open()
    socket = client.handler.socket
    socket.send(b"*" * 100_000)
    socket.limit(20)
    client.send(text("*" * 20))
    assert [len(one.payload) for one in client.frames] == [100_000, 20]
    client.send(text("*" * 21))
    assert client.frames[-1].code == 1009
    gateway.close()


def test_a_limit_is_that_of_one_connection() -> None:
    gateway = EchoGateway(max_bytes=10)
    gateway.open().handler.socket.limit(100)
    other = gateway.open().send(text("*" * 11))
    assert other.frames[-1].code == 1009
    gateway.close()


@pytest.mark.parametrize("opcode", [PING, CLOSE, 11, TEXT])
def test_nothing_of_a_client_that_has_failed_is_kept(
    client: Client, opcode: int
) -> None:
    endless = bytes((0xC0 | opcode, 0xFF)) + (2**40).to_bytes(8, "big") + b"mask"
    client.send(endless)
    piece = b"*" * 65536
    tracemalloc.start()
    try:
        for _ in range(64):
            client.send(piece)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000
    assert len(client.frames) == 1


def test_nothing_behind_the_end_is_kept(client: Client) -> None:
    client.wire.full = True
    client.send(close())
    channel = client.connection._channel  # as TLS does, which goes on reading
    tracemalloc.start()
    try:
        for _ in range(64):
            channel.dataReceived(b"*" * 65536)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions *work* calls."""
    count = 0

    def note(frame: Any, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "tiny",
    [frame(PING), frame(PONG), text("x"), frame(BINARY)],
    ids=["ping", "pong", "text", "empty"],
)
def test_a_flood_of_tiny_frames_costs_as_much_as_it_is_long(
    client: Client, tiny: bytes
) -> None:
    client.send(tiny)
    few = calls_of(lambda: client.send(tiny * 500))
    many = calls_of(lambda: client.send(tiny * 4000))
    assert many < 8.5 * few


def test_a_flood_lies_before_the_parser_in_small_pieces(client: Client) -> None:
    # The parser moves all of it for each frame.
    lying: list[int] = []
    socket = client.handler.socket
    socket.onPing = (  # type: ignore[method-assign]
        lambda payload: lying.append(len(socket.data))
    )
    client.send(frame(PING) * 10_000)
    assert len(lying) == 10_000
    assert max(lying) <= BITE


# -- the end


def test_the_owner_closes_and_the_client_answers(client: Client) -> None:
    client.handler.socket.close(4000, "enough")
    assert client.frames == [goodbye(4000, "enough")]
    assert not client.has_end
    client.send(close(4000))
    assert isinstance(client.wire.closed, ConnectionDone)
    assert client.handler.ends == [(4000, "")]


def test_a_client_that_does_not_answer_is_dropped(
    echo_gateway: EchoGateway, client: Client
) -> None:
    client.handler.socket.close(1012, "service restart")
    echo_gateway.advance(CLOSE_SECONDS - MOMENT)
    assert not client.is_gone
    echo_gateway.advance(MOMENT)
    assert isinstance(client.wire.closed, ConnectionAborted)


def test_nothing_is_sent_or_heard_after_our_close_frame(client: Client) -> None:
    socket = client.handler.socket
    socket.close(1000, "")
    socket.send(b"late")
    socket.close(1001, "twice")
    client.send(text("late") + frame(PING, b"late") + frame(3))
    assert client.frames == [goodbye(1000)]
    assert client.handler.messages == []


@pytest.mark.parametrize(
    ("reason", "kept"),
    [("*" * 120, 120), ("*" * 121, 120), ("\u20ac" * 50, 120), ("x\u20ac" * 50, 120)],
)
def test_a_long_reason_is_cut_between_characters(
    client: Client, reason: str, kept: int
) -> None:
    client.handler.socket.close(1008, reason)
    (last,) = client.frames
    assert reason.startswith(last.reason)
    assert kept - 3 < len(last.reason.encode()) <= kept


def test_what_is_not_sent_yet_is_not_lost_when_both_close(client: Client) -> None:
    client.wire.fill()
    client.handler.socket.send(b"the last words")
    client.handler.socket.close(1001, "")
    client.send(close(1000))
    assert not client.is_gone
    client.wire.drain()
    assert client.frames == [Frame(TEXT, b"the last words"), goodbye(1001)]
    assert isinstance(client.wire.closed, ConnectionDone)


def test_a_client_that_closes_and_reads_nothing_is_dropped(
    echo_gateway: EchoGateway, client: Client
) -> None:
    client.wire.fill()
    client.send(close(1000))
    echo_gateway.advance(STALL_SECONDS)
    assert isinstance(client.wire.closed, ConnectionAborted)


def test_an_abort_is_final(echo_gateway: EchoGateway, client: Client) -> None:
    handler = client.handler
    heard: list[bytes] = []

    def received(payload: bytes, is_binary: bool) -> None:
        heard.append(payload)
        handler.socket.abort()

    handler.received = received  # type: ignore[method-assign]
    client.send(text("one") + text("two") + close(1000))
    assert heard == [b"one"]
    assert isinstance(client.wire.closed, ConnectionAborted)
    assert client.frames == []
    assert len(handler.ends) == 1


def test_the_client_vanishes(client: Client) -> None:
    client.connection.hang_up()
    assert [code for code, _ in client.handler.ends] == [1006]
    client.handler.socket.send(b"late")
    client.handler.socket.close(1000, "late")


def test_over_tls_a_fault_is_answered_too(echo_gateway: EchoGateway) -> None:
    client = Client(echo_gateway, echo_gateway.connect(secure=True), {})
    client.send(frame(3) + text("late"))
    assert [one.code for one in client.frames] == [1002]
    assert isinstance(client.wire.closed, ConnectionDone)


@pytest.mark.parametrize(
    "end",
    [
        lambda client: client.send(close()),
        lambda client: client.send(frame(3)).send(close()),
        lambda client: client.send(frame(3)).connection.hang_up(),
        lambda client: client.connection.hang_up(),
        lambda client: client.handler.socket.abort(),
        lambda client: (client.wire.fill(), client.connection.hang_up()),
        lambda client: (client.handler.socket.close(1000, ""), client.send(close())),
    ],
    ids=["close", "fault", "fault, lost", "lost", "abort", "lost while full", "ours"],
)
def test_no_timer_outlives_the_connection(
    echo_gateway: EchoGateway, client: Client, end: Callable[[Client], object]
) -> None:
    end(client)
    assert client.is_gone
    assert echo_gateway.clock.getDelayedCalls() == []
    assert echo_gateway.site.connections == 0
    assert len(client.handler.ends) == 1


# -- anything at all

_OPCODES = st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, 3, 11])
_FRAMES = st.builds(
    frame,
    _OPCODES,
    st.one_of(st.binary(max_size=140), st.just(close_payload(1000))),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 0, 4]),
)
_SENDS = st.tuples(
    st.just("send"),
    st.one_of(_FRAMES, _FRAMES, st.binary(max_size=40)),
    st.sampled_from([None, 1, 3]),
)
_STEPS = st.one_of(
    _SENDS,
    _SENDS,
    _SENDS,
    st.tuples(st.just("advance"), st.sampled_from([0.5, 2.0, 31.0])),
    st.tuples(st.sampled_from(["fill", "drain", "hang up", "close", "abort", "send"])),
)


def take(step: tuple[Any, ...], gateway: EchoGateway, client: Client) -> None:
    """Do one thing, from either side."""
    match step:
        case ("send", data, by):
            client.send(data, by)
        case ("send",):
            client.handler.socket.send(b"unasked")
        case ("advance", seconds):
            gateway.advance(seconds)
        case ("fill",) if client.wire.producer is not None:
            client.wire.fill()
        case ("drain",):
            client.wire.drain()
        case ("hang up",):
            client.connection.hang_up()
        case ("close",):
            client.handler.socket.close(1001, "going")
        case ("abort",):
            client.handler.socket.abort()


@settings(max_examples=150, deadline=None)
@given(st.lists(_STEPS, max_size=12))
def test_whatever_happens_there_is_one_end_and_nothing_is_left(
    steps: list[tuple[Any, ...]],
) -> None:
    with LogTape() as tape:
        gateway = EchoGateway(max_bytes=1000)
        client = gateway.open()
        for step in steps:
            if not client.is_gone:
                take(step, gateway, client)
        if not client.is_gone:
            client.wire.drain()
        frames = client.frames
        gateway.close()
        assert tape.problems == []
    assert len(client.handler.ends) == 1
    assert [one.opcode for one in frames[:-1]].count(CLOSE) == 0


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.data())
def test_a_text_is_refused_at_the_byte_that_makes_it_wrong(
    payload: bytes, data: st.DataObject
) -> None:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data"
        good = len(payload) if is_cut else error.end
        wrong = None if is_cut else good
    else:
        wrong = None
    gateway = EchoGateway()
    client = gateway.open()
    head = frame(TEXT, payload, fin=False)
    start = len(head) - len(payload)
    client.send(head[:start])
    for at in range(len(payload)):
        client.send(head[start + at : start + at + 1])
        if wrong is not None and at == wrong:
            assert [one.code for one in client.frames] == [1007]
            break
        if wrong is None or at < wrong - 1:
            assert client.frames == []
    gateway.close()


@settings(max_examples=50, deadline=None)
@given(st.lists(_FRAMES, max_size=5), st.integers(1, 20))
def test_the_segments_do_not_matter(sent: list[bytes], by: int) -> None:
    seen = []
    for step in (None, by):
        gateway = EchoGateway(max_bytes=200)
        client = gateway.open().send(b"".join(sent), step)
        seen.append((client.bytes_received, client.handler.messages, client.has_end))
        gateway.close()
    assert seen[0] == seen[1]


def test_frames_in_one_segment_with_the_handshake_are_heard(
    echo_gateway: EchoGateway,
) -> None:
    connection = echo_gateway.send(handshake() + text("early") + close(1000))
    assert connection.received.endswith(b"\x81\x05early\x88\x02\x03\xe8")
    assert connection.closed
