"""Frames as they may come, from anybody."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.client.frames import Event, Response, find_frame, find_hello

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_NAMES = ("type", "id", "ok", "payload", "error", "event", "seq", "stateVersion")
_FRAMES = st.dictionaries(
    st.sampled_from(_NAMES), _VALUES | st.sampled_from(["res", "event"])
)


@given(st.binary() | _FRAMES.map(lambda frame: json.dumps(frame).encode()))
def test_whatever_comes_is_a_frame_or_nothing(data: bytes) -> None:
    assert isinstance(find_frame(data), Response | Event | None)


@given(_VALUES)
def test_whatever_comes_is_a_hello_or_nothing(payload: Any) -> None:
    assert find_hello(payload) is None


@given(name=st.text(min_size=1), payload=_VALUES, seq=st.integers(0, 2**53))
def test_an_event_comes_as_it_was_sent(name: str, payload: Any, seq: int) -> None:
    frame = {"type": "event", "event": name, "payload": payload, "seq": seq}
    found = find_frame(json.dumps(frame).encode())
    assert isinstance(found, Event)
    assert (found.event, found.seq) == (name, seq)


def test_deep_nesting_is_no_frame() -> None:
    data = b'{"type":"event","event":"x","payload":' + b"[" * 100_000
    assert find_frame(data) is None
