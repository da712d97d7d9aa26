from __future__ import annotations

import tracemalloc

from hypothesis import example, given, settings
from hypothesis import strategies as st

from moltbot_gw.agents.text import BLOCK_CHARS, TextSegment

PIECES = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.builds(
            lambda char, count: char * count,
            st.sampled_from(["a", "é", "語", "\U0001f30d", "\u2028"]),
            st.integers(1, 3 * BLOCK_CHARS),
        ),
    ),
    max_size=8,
)


def segment_of(pieces: list[str]) -> TextSegment:
    segment = TextSegment()
    for piece in pieces:
        segment.append(piece)
    return segment


def read_on(segment: TextSegment, offset: int, max_chars: int) -> str:
    """Return everything from *offset* on, read by read."""
    texts = []
    while text := segment.read(offset, max_chars):
        assert len(text) <= max_chars
        texts.append(text)
        offset += len(text)
    assert offset == len(segment)
    return "".join(texts)


@settings(max_examples=60, deadline=None)
@given(PIECES, st.data())
@example(["ab" * BLOCK_CHARS] * 4, None)
def test_reads_like_a_plain_string_from_every_offset(
    pieces: list[str], data: st.DataObject | None
) -> None:
    segment, text = segment_of(pieces), "".join(pieces)
    offset = data.draw(st.integers(0, len(text))) if data else 0
    max_chars = data.draw(st.integers(500, 2 * BLOCK_CHARS)) if data else BLOCK_CHARS
    assert (len(segment), segment.whole()) == (len(text), text)
    assert read_on(segment, offset, max_chars) == text[offset:]


@settings(max_examples=40, deadline=None)
@given(PIECES)
def test_reader_that_keeps_up_gets_each_piece(pieces: list[str]) -> None:
    segment, offset = TextSegment(), 0
    for piece in pieces:
        segment.append(piece)
        assert read_on(segment, offset, BLOCK_CHARS) == piece
        offset += len(piece)


def test_position_stays_right_while_text_is_sealed_behind_it() -> None:
    segment = segment_of(["é" * 10])
    assert segment.read(4, 3) == "ééé"
    for _ in range(20):
        segment.append("x" * BLOCK_CHARS)
    assert segment.read(4, 10_000)[:7] == "éééééé" + "x"


def test_read_at_the_end_is_empty() -> None:
    segment = TextSegment()
    assert segment.read(0, 10) == ""
    segment.append("a" * 10 * BLOCK_CHARS)
    assert segment.read(len(segment), 10) == ""


def test_long_text_is_kept_small() -> None:
    line = "The quick brown fox jumps over the lazy dog, again and again. "
    segment = TextSegment()
    tracemalloc.start()
    try:
        for _ in range(3_000_000 // len(line)):
            segment.append(line + "")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(segment) > 2_900_000
    assert kept < 300_000
