"""What the keys of a terminal send.

Source: XTerm Control Sequences, "PC-Style Function Keys"; the names are tmux's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from moltbot_gw.tooling import ToolFailed

PASTE_START, PASTE_END = "\x1b[200~", "\x1b[201~"
END_OF_INPUT = "\x04"
RETURN = "\r"

_KEYS = {
    "enter": RETURN,
    "return": RETURN,
    "tab": "\t",
    "btab": "\x1b[Z",
    "escape": "\x1b",
    "esc": "\x1b",
    "space": " ",
    "bspace": "\x7f",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "ic": "\x1b[2~",
    "insert": "\x1b[2~",
    "dc": "\x1b[3~",
    "delete": "\x1b[3~",
    "ppage": "\x1b[5~",
    "pageup": "\x1b[5~",
    "pgup": "\x1b[5~",
    "npage": "\x1b[6~",
    "pagedown": "\x1b[6~",
    "pgdn": "\x1b[6~",
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f3": "\x1bOR",
    "f4": "\x1bOS",
    "f5": "\x1b[15~",
    "f6": "\x1b[17~",
    "f7": "\x1b[18~",
    "f8": "\x1b[19~",
    "f9": "\x1b[20~",
    "f10": "\x1b[21~",
    "f11": "\x1b[23~",
    "f12": "\x1b[24~",
}
_CONTROL = re.compile(r"(?:[Cc]-|\^)([@A-Za-z\[\\\]^_?])")


def encode_keys(keys: Iterable[str]) -> str:
    """Return what *keys* send: names, ``C-x``, ``^x``, ``M-x`` or single characters."""
    return "".join(_encode(key) for key in keys)


def encode_hex(codes: Iterable[str]) -> bytes:
    """Return the bytes that are written as two hexadecimal digits each."""
    try:
        return bytes.fromhex(" ".join(code.removeprefix("0x") for code in codes))
    except ValueError:
        raise ToolFailed("hex: write each byte as two digits, such as 1b.") from None


def _encode(key: str) -> str:
    control = _CONTROL.fullmatch(key)
    if control is not None:
        return "\x7f" if control[1] == "?" else chr(ord(control[1].upper()) & 0x1F)
    if key[:2] in ("M-", "m-") and len(key) > 2:
        return f"\x1b{_encode(key[2:])}"
    if len(key) == 1:
        return key
    if key.lower() not in _KEYS:
        names = "Enter, Tab, Escape, Up, C-c, M-x"
        raise ToolFailed(
            f"keys: there is no key {key[:40]!r}; use {names} or the like."
        )
    return _KEYS[key.lower()]
