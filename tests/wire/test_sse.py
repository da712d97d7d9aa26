from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_gw.wire.sse import DONE, KEEP_ALIVE, EventTooLarge, SSEDecoder

LIMIT = 10_000
LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
STREAM = (
    b"\xef\xbb\xbfdata: one\n\n"
    b": comment\r\n\r\nevent: x\rid: 1\rdata:two\r\r"
    b'data: {"a":"\xe2\x80\xa8"}\r\ndata: more\n\n'
    b"data: last\r\n\r\n"
)
EVENTS = [b"one", b"two", b'{"a":"\xe2\x80\xa8"}\nmore', b"last"]


def decode(*pieces: bytes) -> list[bytes]:
    decoder = SSEDecoder(LIMIT)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.flush()


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_events_are_the_same_wherever_the_stream_is_cut(cut: int) -> None:
    assert decode(STREAM[:cut], STREAM[cut:]) == EVENTS


def test_events_are_the_same_byte_by_byte() -> None:
    assert decode(*(bytes([byte]) for byte in STREAM)) == EVENTS


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_mix_of_line_ends_and_cuts_gives_the_same_events(
    data: st.DataObject,
) -> None:
    texts = data.draw(st.lists(st.text("ab :\u2028\u0085é", min_size=1), max_size=6))
    stream = b""
    for text in texts:
        stream += b"data: " + text.encode() + data.draw(LINE_ENDS)
        stream += data.draw(LINE_ENDS.filter(lambda end: end != b"\n")) + b": c\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert decode(*pieces) == decode(stream)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.data())
def test_random_bytes_decode_alike_whole_and_cut(
    stream: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(stream)))
    assert decode(stream[:cut], stream[cut:]) == decode(stream)


def test_events_come_as_soon_as_they_are_complete() -> None:
    decoder = SSEDecoder(LIMIT)
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b") == [b"a"]
    assert decoder.feed(b"\n\n") == [b"b"]


def test_line_feed_after_a_carriage_return_is_no_second_line_end() -> None:
    decoder = SSEDecoder(LIMIT)
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: b\r") == []
    assert decoder.feed(b"\n\r") == [b"a\nb"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"data: x", b"x"),
        (b"data:x", b"x"),
        (b"data:  x ", b" x "),
        (b"data:", b""),
        (b"data", b""),
        (
            b"data: a\xe2\x80\xa8b\xc2\x85c\x0bd\x0c",
            b"a\xe2\x80\xa8b\xc2\x85c\x0bd\x0c",
        ),
    ],
)
def test_value_of_a_data_line(line: bytes, value: bytes) -> None:
    assert decode(line + b"\n\n") == [value]


@pytest.mark.parametrize(
    "line",
    [b": x", b":", b"event: x", b"datum: x", b"Data: x", b" data: x", b"retry: 1"],
)
def test_other_lines_say_nothing(line: bytes) -> None:
    assert decode(line + b"\n\n") == []


def test_byte_order_mark_is_dropped_at_the_start_only() -> None:
    mark = b"\xef\xbb\xbf"
    assert decode(mark + b"data: a\n\n" + mark + b"data: b\n\n") == [b"a"]


def test_end_of_stream_completes_the_last_event() -> None:
    assert decode(b"data: [DONE]") == [b"[DONE]"]
    assert decode(b"data: [DONE]\n") == [b"[DONE]"]


def test_flush_tells_nothing_twice() -> None:
    decoder = SSEDecoder(LIMIT)
    decoder.feed(b"data: a")
    assert (decoder.flush(), decoder.flush()) == ([b"a"], [])


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 101 + b"\n\n",
        b"data: " + b"x" * 101,
        b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 60,
        b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 60 + b"\n",
        b": " + b"x" * 101,
        b"data\n" * 102,
    ],
)
def test_event_over_the_bound_is_refused(stream: bytes) -> None:
    decoder = SSEDecoder(100)
    with pytest.raises(EventTooLarge, match="100 bytes"):
        decoder.feed(stream) + decoder.feed(b"\n")


def test_bound_is_for_one_event_not_for_the_stream() -> None:
    decoder = SSEDecoder(100)
    for _ in range(10):
        assert decoder.feed(b"data: " + b"x" * 80 + b"\n\n") == [b"x" * 80]


def test_what_clients_are_sent_is_understood_by_the_decoder() -> None:
    assert decode(KEEP_ALIVE + DONE) == [b"[DONE]"]
    assert not KEEP_ALIVE.startswith(b": ping")
