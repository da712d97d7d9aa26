"""A raw WebSocket client's half: writes any frame, also wrong ones; reads strictly."""

from __future__ import annotations

import struct
from base64 import b64encode
from hashlib import sha1

import attrs

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Malformed(AssertionError):
    """The bytes are not what a server may send."""


@attrs.frozen
class Frame:
    """One frame from the server."""

    opcode: int
    payload: bytes = b""
    fin: bool = True

    @property
    def text(self) -> str:
        assert self.opcode == TEXT
        return self.payload.decode("utf-8")

    @property
    def code(self) -> int | None:
        """The code of a close frame, None if it has none."""
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None

    @property
    def reason(self) -> str:
        """The words of a close frame."""
        assert self.opcode == CLOSE
        return self.payload[2:].decode("utf-8")


def handshake(path: str = "/", *, host: str = "localhost", **headers: str) -> bytes:
    """Return the opening request; underscores in the names of *headers* are dashes.

    An empty value leaves a header out.
    """
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    head = [f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


def accept_of(key: str = KEY) -> str:
    """Return what a server answers to *key* (RFC 6455, section 4.2.2)."""
    return b64encode(sha1((key + _GUID).encode()).digest()).decode()


def split_handshake(data: bytes) -> tuple[dict[str, str], bytes]:
    """Return the headers of the 101 that *data* begins with, and what follows it."""
    head, blank, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not blank or not first.startswith("HTTP/1.1 101 "):
        raise Malformed(f"no WebSocket was opened: {data[:300]!r}")
    fields = (line.split(": ", 1) for line in lines)
    return {name.lower(): value for name, value in fields}, rest


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length_bytes: int | None = None,
) -> bytes:
    """Return one frame of a client.

    *length_bytes* (0, 2 or 8) is the size of the extended length, the smallest that
    fits if None; *rsv* the three reserved bits as a number.
    """
    size = len(payload)
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 0x10000 else 8
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    head = bytes((fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | short))
    if length_bytes:
        head += size.to_bytes(length_bytes, "big")
    return head + payload if mask is None else head + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    """Return *payload* masked, or unmasked again."""
    whole = mask * (len(payload) // 4 + 1)
    number = int.from_bytes(payload, "big")
    pad = int.from_bytes(whole[: len(payload)], "big")
    return (number ^ pad).to_bytes(len(payload), "big")


def fragments(opcode: int, payload: bytes, size: int) -> bytes:
    """Return a message in frames of *size* bytes of payload each."""
    starts = range(0, max(len(payload), 1), size)
    return b"".join(
        frame(
            opcode if start == 0 else CONTINUATION,
            payload[start : start + size],
            fin=start == starts[-1],
        )
        for start in starts
    )


def text(words: str | bytes) -> bytes:
    """Return a text message in one frame; bytes need not be UTF-8."""
    return frame(TEXT, words.encode() if isinstance(words, str) else words)


def close_payload(code: int | None, reason: str = "") -> bytes:
    """Return the payload of a close frame; without a code it is empty."""
    return b"" if code is None else struct.pack("!H", code) + reason.encode()


def close(code: int | None = 1000, reason: str = "") -> bytes:
    """Return a close frame."""
    return frame(CLOSE, close_payload(code, reason))


def read_frames(data: bytes) -> list[Frame]:
    """Read the whole frames in *data*, which holds nothing else.

    Raises ``Malformed`` for what a server must not send, and for a part of a frame.
    """
    found, rest = take_frames(data)
    if rest:
        raise Malformed(f"a frame without its end: {rest[:20]!r}")
    return found


def take_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """Return the whole frames at the start of *data*, and the rest."""
    found: list[Frame] = []
    at = 0
    while (end := _end_of_frame(data, at)) is not None:
        start, stop = end
        found.append(Frame(data[at] & 0x0F, data[start:stop], bool(data[at] & 0x80)))
        at = stop
    return found, data[at:]


def _end_of_frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at *at* starts and ends, if it is whole."""
    if len(data) - at < 2:
        return None
    first, short = data[at], data[at + 1]
    if first & 0x70 or short & 0x80:
        raise Malformed("reserved bits or a mask in a server's frame")
    if first & 0x0F not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        raise Malformed(f"a frame with the opcode {first & 0x0F}")
    if first & 0x08 and (short > 125 or not first & 0x80):
        raise Malformed("a control frame that is too long or in parts")
    width = {126: 2, 127: 8}.get(short, 0)
    start = at + 2 + width
    if len(data) < start:
        return None
    size = int.from_bytes(data[at + 2 : start], "big") if width else short
    if width and size < (126 if width == 2 else 0x10000):
        raise Malformed("a length that could be shorter")
    return (start, start + size) if len(data) >= start + size else None
