"""Byte strings near the kept ones, as a Hypothesis strategy."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

MAX_BYTES = 4096

_TEXTS = '\r\n|\n|\0|{|}|[|"|:|,|\\u|data: |\u2028|1e999|NaN|-|99999999999999999999| '
_TOKENS = st.sampled_from([*(t.encode() for t in _TEXTS.split("|")), b"\xff", b"\x80"])


@st.composite
def _mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Return a seed with a few pieces taken out, put in, said twice or changed."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.integers(0, 16)), len(data))
        piece = draw(st.one_of(st.just(b""), _TOKENS, st.binary(max_size=8)))
        if draw(st.booleans()):
            piece += bytes(data[start:end])
        data[start:end] = piece
    return bytes(data[:MAX_BYTES])


def byte_strings(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return byte strings, most of them near one of *seeds*."""
    anything = st.binary(max_size=200)
    return _mutated(seeds) | anything if seeds else anything
