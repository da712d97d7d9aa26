"""The names of keys, and what they send."""

from __future__ import annotations

import pytest

from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools.process_keys import encode_hex, encode_keys


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        ("Enter", "\r"),
        ("ENTER", "\r"),
        ("BSpace", "\x7f"),
        ("PageUp", "\x1b[5~"),
        ("F12", "\x1b[24~"),
        ("C-c", "\x03"),
        ("c-C", "\x03"),
        ("^D", "\x04"),
        ("C-[", "\x1b"),
        ("C-@", "\0"),
        ("^?", "\x7f"),
        ("M-x", "\x1bx"),
        ("m-Enter", "\x1b\r"),
        ("M-C-c", "\x1b\x03"),
        ("é", "é"),
        ("-", "-"),
    ],
)
def test_a_key_sends_what_it_does_on_a_terminal(key: str, sent: str) -> None:
    assert encode_keys([key]) == sent


def test_keys_are_sent_in_their_order() -> None:
    assert encode_keys(["a", "Up", "b"]) == "a\x1b[Ab"


@pytest.mark.parametrize("key", ["", "Entre", "C-", "M-", "C-cc", "F13"])
def test_an_unknown_key_is_named(key: str) -> None:
    with pytest.raises(ToolFailed) as failed:
        encode_keys([key])
    assert f"there is no key {key!r}" in failed.value.message


def test_bytes_are_written_as_digits() -> None:
    assert encode_hex(["1b", "0x5B", "00"]) == b"\x1b[\0"
    for wrong in (["1"], ["xy"], ["1b 5"]):
        with pytest.raises(ToolFailed, match="as two digits"):
            encode_hex(wrong)
