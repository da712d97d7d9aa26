"""RFC 6455 as a table: what a client sends, and what a server must make of it.

The sections have the numbers of the well-known public suite (Autobahn TestSuite): 1
framing, 2 pings, 3 reserved bits, 4 opcodes, 5 fragments, 6 UTF-8, 7 the close, 9
sizes, 10 cutting, 12 offers of compression (declined).  The cases are our own.

What a server answers to a message is no business of the RFC: each case says what a
server has *heard*, and a ``Target`` checks the answers of one kind of server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol

import attrs

from moltbot_gw.ws.socket import CLOSE_SECONDS
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
    text,
)

Segments = Literal["parts", "joined", "bytes"]

SMALL = 1024
"""Up to so many bytes a case is also sent byte by byte; larger ones in odd pieces."""

PIECE = 997


@attrs.frozen(kw_only=True)
class Case:
    """One connection.

    *sound* is in order and leaves the connection open.  With the last byte of *fault*
    at the latest the server's close frame must have come, with *code*, and with
    *reason* unless that is None.  *rest* follows, and is not answered any more.

    *heard*: the messages and pings that must be answered, in this order.
    *client_closes*: *fault* holds the client's own close frame, so that the connection
    ends with it.  *in_step*: a close frame after *rest* is one, and not the inside of
    another frame.  *half_closes*: behind its close frame the server says that nothing
    follows, as it does after a fault, before it has the client's.
    """

    name: str
    sound: bytes = b""
    fault: bytes
    rest: bytes = b""
    heard: tuple[Frame, ...] = ()
    code: int | None
    reason: str | None = None
    client_closes: bool = False
    in_step: bool = True
    half_closes: bool = True
    offer: str = ""

    @property
    def size(self) -> int:
        """How many bytes the client sends."""
        return len(self.sound) + len(self.fault) + len(self.rest)

    def check_close(self, last: Frame) -> None:
        """Fail unless *last* is the close frame that must come."""
        assert last.opcode == CLOSE
        assert last.code == self.code
        assert self.reason is None or last.reason == self.reason


class Target(Protocol):
    """A kind of server."""

    def check(self, case: Case, frames: list[Frame]) -> None:
        """Fail unless *frames*, all before the close frame, are right for *case*."""


class Client(Protocol):
    """A client on a fake socket; ``tests.ws.echo.Client`` is one."""

    @property
    def headers(self) -> dict[str, str]:
        """Those of the handshake's answer."""

    @property
    def frames(self) -> list[Frame]:
        """What has come so far."""

    @property
    def has_end(self) -> bool:
        """Whether the server has said that nothing follows."""

    @property
    def is_gone(self) -> bool:
        """Whether the server has let go of the connection."""

    def send(self, data: bytes, by: int | None = None) -> object:
        """Send *data*, *by* so many bytes a segment."""


class EchoTarget:
    """Sends every message back as it came, in one frame."""

    def check(self, case: Case, frames: list[Frame]) -> None:
        assert frames == [
            attrs.evolve(one, opcode=PONG) if one.opcode == PING else one
            for one in case.heard
        ]


def run(
    case: Case,
    target: Target,
    client: Client,
    advance: Callable[[float], None],
    segments: Segments,
) -> None:
    """Play *case* on a fake socket; *advance* lets time pass."""
    assert "sec-websocket-extensions" not in client.headers
    _play(case, client, segments)
    frames = client.frames
    case.check_close(frames[-1])
    target.check(case, frames[:-1])
    assert client.has_end == (case.half_closes or case.client_closes)
    if not case.client_closes:
        assert not client.is_gone
        _end(case, client, advance, answers=case.in_step and segments != "parts")
    assert client.is_gone
    assert client.frames == frames


def _play(case: Case, client: Client, segments: Segments) -> None:
    """Send everything, and see that the close frame comes when it should."""
    if segments == "joined":
        client.send(case.sound + case.fault + case.rest)
        return
    by = None if segments == "parts" else 1 if case.size <= SMALL else PIECE
    client.send(case.sound, by)
    assert all(one.opcode != CLOSE for one in client.frames)
    assert not client.has_end
    client.send(case.fault, by)
    frames = client.frames
    case.check_close(frames[-1])
    client.send(case.rest, by)
    assert client.frames == frames


def _end(
    case: Case, client: Client, advance: Callable[[float], None], *, answers: bool
) -> None:
    """Answer the close frame; or say nothing, until the server has waited enough."""
    if answers:
        client.send(close(case.code))
    else:
        advance(CLOSE_SECONDS - 0.01)
        assert not client.is_gone
        advance(0.01)


# -- the ways in which a case ends


def good(name: str, sound: bytes, *heard: Frame, offer: str = "") -> Case:
    """Everything is in order, and at last the client closes."""
    return Case(
        name=name,
        sound=sound,
        fault=close(1000, "bye"),
        heard=heard,
        code=1000,
        reason="bye",
        client_closes=True,
        offer=offer,
    )


def bad(name: str, fault: bytes, *heard: Frame, sound: bytes = b"") -> Case:
    """The client breaks the protocol; a ping and a message behind it are lost."""
    rest = frame(PING, b"late") + text("late")
    return Case(name=name, sound=sound, fault=fault, rest=rest, heard=heard, code=1002)


def closing(
    name: str, fault: bytes, code: int | None, reason: str | None = None
) -> Case:
    """The client closes in its own way."""
    return Case(name=name, fault=fault, code=code, reason=reason, client_closes=True)


def no_utf8(name: str, payload: bytes, at: int, opcode: int = TEXT) -> Case:
    """*payload* cannot be UTF-8 any more with its byte *at*."""
    whole = frame(opcode, payload)
    start = len(whole) - len(payload) + at
    return Case(
        name=name,
        sound=whole[:start],
        fault=whole[start : start + 1],
        rest=whole[start + 1 :] + frame(PING, b"late"),
        code=1007,
    )


def _text(words: str | bytes) -> Frame:
    return Frame(TEXT, words.encode() if isinstance(words, str) else words)


# -- 1 framing


def framing() -> Iterator[Case]:
    for size in (0, 1, 125, 126, 127, 128, 65535, 65536):
        words = b"*" * size
        data = bytes(range(256)) * (size // 256 + 1)
        yield good(f"1.1 text of {size}", text(words), _text(words))
        yield good(
            f"1.2 binary of {size}",
            frame(BINARY, data[:size]),
            Frame(BINARY, data[:size]),
        )
    for mask in (bytes(4), b"\xff\xff\xff\xff", b"\x00\x00\x00\x01"):
        yield good(
            f"1.3 mask {mask.hex()}", frame(TEXT, b"masked", mask=mask), _text("masked")
        )
    yield bad("1.4 text without a mask", frame(TEXT, b"bare", mask=None))
    yield bad("1.4 ping without a mask", frame(PING, b"bare", mask=None))
    for size, width in ((0, 2), (125, 2), (125, 8), (65535, 8)):
        yield bad(
            f"1.5 length of {size} in {width} bytes",
            frame(BINARY, b"*" * size, length_bytes=width),
        )
    yield Case(
        name="1.6 length with its highest bit",
        fault=b"\x82\xff\x80" + bytes(7) + b"mask",
        rest=b"*" * 300,
        code=1002,
        in_step=False,
    )
    yield Case(
        name="1.7 length beyond all bounds",
        fault=b"\x82\xff\x7f" + b"\xff" * 7 + b"mask",
        rest=b"*" * 300,
        code=1009,
        in_step=False,
    )


# -- 2 pings and pongs


def pings() -> Iterator[Case]:
    for name, payload in (
        ("empty", b""),
        ("words", b"Hello, world!"),
        ("binary", bytes((0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF))),
        ("125 bytes", b"\xfe" * 125),
    ):
        yield good(f"2.1 ping: {name}", frame(PING, payload), Frame(PING, payload))
        yield good(f"2.2 pong that nobody asked for: {name}", frame(PONG, payload))
    for opcode in (PING, PONG):
        for size in (126, 127, 65535, 65536):
            yield bad(f"2.3 {opcode} of {size}", frame(opcode, b"\xfe" * size))
        yield bad(f"2.4 {opcode} in parts", frame(opcode, b"part", fin=False))
    yield good(
        "2.5 pong, then ping",
        frame(PONG, b"pong") + frame(PING, b"ping"),
        _ping(b"ping"),
    )
    many = [b"payload-%d" % number for number in range(10)]
    yield good(
        "2.6 ten pings", b"".join(frame(PING, one) for one in many), *map(_ping, many)
    )


def _ping(payload: bytes) -> Frame:
    return Frame(PING, payload)


# -- 3 reserved bits


def reserved_bits() -> Iterator[Case]:
    for rsv in range(1, 8):
        yield bad(f"3.1 text with rsv {rsv}", frame(TEXT, b"small", rsv=rsv))
        yield bad(
            f"3.2 text behind text with rsv {rsv}",
            frame(TEXT, b"second", rsv=rsv),
            _text("first"),
            sound=text("first"),
        )
        yield bad(f"3.3 binary with rsv {rsv}", frame(BINARY, b"\xff\x00", rsv=rsv))
        yield bad(f"3.4 ping with rsv {rsv}", frame(PING, b"x", rsv=rsv))
        yield closing(
            f"3.5 close with rsv {rsv}",
            frame(CLOSE, close_payload(1000), rsv=rsv),
            1002,
        )
    yield bad(
        "3.6 rsv in a later part",
        frame(CONTINUATION, b"second", rsv=4),
        sound=frame(TEXT, b"first", fin=False),
    )


# -- 4 opcodes


def opcodes() -> Iterator[Case]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield bad(f"4.1 opcode {opcode}, empty", frame(opcode))
        yield bad(f"4.2 opcode {opcode}", frame(opcode, b"reserved"))
        yield bad(f"4.3 opcode {opcode}, unfinished", frame(opcode, b"x", fin=False))
        yield bad(
            f"4.4 opcode {opcode} behind text",
            frame(opcode, b"reserved"),
            _text("first"),
            sound=text("first"),
        )
        yield bad(
            f"4.5 opcode {opcode} inside a message",
            frame(opcode),
            sound=frame(TEXT, b"first", fin=False),
        )


# -- 5 fragments


def fragmented() -> Iterator[Case]:
    first, last = frame(TEXT, b"one", fin=False), frame(CONTINUATION, b"two")
    middle = frame(CONTINUATION, b"and", fin=False)
    whole = _text("onetwo")
    yield good("5.1 two parts", first + last, whole)
    yield good("5.2 three parts", first + middle + last, _text("oneandtwo"))
    yield good("5.3 ping between", first + frame(PING, b"p") + last, _ping(b"p"), whole)
    yield good("5.4 pong between", first + frame(PONG, b"p") + last, whole)
    yield good(
        "5.5 pings between all",
        (
            frame(PING, b"1")
            + first
            + frame(PING, b"2")
            + middle
            + frame(PING, b"3")
            + last
        ),
        _ping(b"1"),
        _ping(b"2"),
        _ping(b"3"),
        _text("oneandtwo"),
    )
    yield good("5.6 two messages", first + last + first + last, whole, whole)
    empty = frame(CONTINUATION, fin=False)
    yield good(
        "5.7 empty parts",
        frame(TEXT, fin=False)
        + empty
        + frame(CONTINUATION, b"x", fin=False)
        + empty
        + frame(CONTINUATION),
        _text("x"),
    )
    yield good(
        "5.8 nothing in parts",
        frame(BINARY, fin=False) + frame(CONTINUATION),
        Frame(BINARY),
    )
    yield bad("5.9 last part of nothing", last)
    yield bad("5.10 part of nothing", middle)
    yield bad("5.11 part behind a whole message", last, _text("one"), sound=text("one"))
    yield bad("5.12 part behind the last one", last, whole, sound=first + last)
    yield bad("5.13 text inside text", text("new"), sound=first)
    yield bad("5.14 binary inside text", frame(BINARY, b"new"), sound=first)
    yield bad("5.15 unfinished text inside text", first, sound=first)
    yield bad("5.16 ping in parts inside text", frame(PING, fin=False), sound=first)
    yield Case(
        name="5.17 close inside text",
        sound=first,
        fault=close(1001),
        code=1001,
        client_closes=True,
    )


# -- 6 UTF-8

VALID = {
    "the empty text": b"",
    "Greek": "\u03ba\u1f79\u03c3\u03bc\u03b5".encode(),
    "first of 1": b"\x00",
    "last of 1": b"\x7f",
    "first of 2": b"\xc2\x80",
    "last of 2": b"\xdf\xbf",
    "first of 3": b"\xe0\xa0\x80",
    "last of 3": b"\xef\xbf\xbf",
    "first of 4": b"\xf0\x90\x80\x80",
    "last of all": b"\xf4\x8f\xbf\xbf",
    "last below the surrogates": b"\xed\x9f\xbf",
    "first above the surrogates": b"\xee\x80\x80",
    "replacement character": b"\xef\xbf\xbd",
    "byte order mark": b"\xef\xbb\xbf",
    "no character in the basic plane": b"\xef\xbf\xbe\xef\xb7\x90",
    "no characters in all planes": b"".join(
        chr(plane << 16 | 0xFFFE).encode() + chr(plane << 16 | 0xFFFF).encode()
        for plane in range(17)
    ),
}

INVALID = {
    # name: the bytes, and which of them is the first wrong one
    "lone continuation 80": (b"\x80", 0),
    "lone continuation bf": (b"\xbf", 0),
    "continuations": (bytes(range(0x80, 0xC0)), 0),
    "one continuation too many": (b"\xc2\x80\x80", 2),
    "2 without its second": (b"\xc3x", 1),
    "3 without its third": (b"\xe2\x82x", 2),
    "4 without its fourth": (b"\xf0\x9f\x98x", 3),
    "3 begun twice": (b"\xe2\xe2\x82\xac", 1),
    "overlong slash in 2": (b"\xc0\xaf", 0),
    "overlong in 2, last": (b"\xc1\xbf", 0),
    "overlong slash in 3": (b"\xe0\x80\xaf", 1),
    "overlong in 3, last": (b"\xe0\x9f\xbf", 1),
    "overlong slash in 4": (b"\xf0\x80\x80\xaf", 1),
    "overlong in 4, last": (b"\xf0\x8f\xbf\xbf", 1),
    "overlong zero": (b"\xc0\x80", 0),
    "first surrogate": (b"\xed\xa0\x80", 1),
    "last surrogate": (b"\xed\xbf\xbf", 1),
    "pair of surrogates": (b"\xed\xa0\x80\xed\xb0\x80", 1),
    "above the last of all": (b"\xf4\x90\x80\x80", 1),
    "first of 5": (b"\xf8\x88\x80\x80\x80", 0),
    "first of 6": (b"\xfc\x84\x80\x80\x80\x80", 0),
    "f5": (b"\xf5\x80\x80\x80", 0),
    "fe": (b"\xfe", 0),
    "ff": (b"\xff", 0),
}

CUT_SHORT = (b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98")

_MIXED = "a\u00e9\u20ac\U0001f600 z\u03ba\u1f79\u03c3\u03bc\u03b5\U0010ffff".encode()


def utf8() -> Iterator[Case]:
    for name, payload in VALID.items():
        yield good(f"6.1 {name}", text(payload), _text(payload))
    for at in range(1, len(_MIXED)):
        yield good(
            f"6.2 cut at {at}",
            frame(TEXT, _MIXED[:at], fin=False) + frame(CONTINUATION, _MIXED[at:]),
            _text(_MIXED),
        )
    yield good("6.3 each byte a frame", fragments(TEXT, _MIXED, 1), _text(_MIXED))
    long = _MIXED * 20
    yield good("6.4 each byte a frame, long", fragments(TEXT, long, 1), _text(long))
    for name, (wrong, at) in INVALID.items():
        # Words of several lengths before it: validators take big steps where they can.
        for lead in (0, 1, 15, 33, 200):
            payload = b"." * lead + wrong + b"and so on"
            yield no_utf8(f"6.5 {name} behind {lead}", payload, lead + at)
        yield _in_second_frame(f"6.6 {name} in a later frame", wrong, at)
        yield _across_frames(f"6.7 {name} across frames", wrong, at)
    for lost in CUT_SHORT:
        yield no_utf8(f"6.8 ends inside {lost.hex()}", b"x" + lost, len(lost))
        yield Case(
            name=f"6.9 last frame ends inside {lost.hex()}",
            sound=frame(TEXT, b"x" + lost, fin=False),
            fault=frame(CONTINUATION),
            code=1007,
        )
    yield good(
        "6.10 binary is anything",
        frame(BINARY, b"\xff\xc0"),
        Frame(BINARY, b"\xff\xc0"),
    )
    yield Case(
        name="6.11 the rest of the frame never comes",
        sound=b"\x81\xfd" + bytes(4) + b"good ",
        fault=b"\xff",
        rest=b"*" * 20,
        code=1007,
        in_step=False,
    )
    yield good(
        "6.12 text behind text",
        text("\u20ac") + text("\u00e9"),
        _text("\u20ac"),
        _text("\u00e9"),
    )


def _in_second_frame(name: str, wrong: bytes, at: int) -> Case:
    first = frame(TEXT, "good \u20ac".encode(), fin=False)
    one = no_utf8(name, wrong + b" more", at, CONTINUATION)
    return attrs.evolve(one, sound=first + one.sound)


def _across_frames(name: str, wrong: bytes, at: int) -> Case:
    """The first wrong byte is the first of its frame."""
    first = frame(TEXT, b"good " + wrong[:at], fin=False)
    one = no_utf8(name, wrong[at:], 0, CONTINUATION)
    return attrs.evolve(one, sound=first + one.sound)


# -- 7 the close

ALLOWED_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013)
PRIVATE_CODES = (3000, 3999, 4000, 4999)
WRONG_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)


def closes() -> Iterator[Case]:
    yield closing("7.1 no payload", close(None), None, "")
    for code in (*ALLOWED_CODES, *PRIVATE_CODES):
        yield closing(f"7.2 code {code}", close(code), code, "")
    for reason in ("done", "\u20ac" * 41, "*" * 123):
        yield closing(f"7.3 reason of {len(reason)}", close(4000, reason), 4000, reason)
    for code in WRONG_CODES:
        yield closing(f"7.4 code {code}", close(code), 1002)
        yield closing(f"7.5 code {code} with a reason", close(code, "why"), 1002)
    yield closing("7.6 payload of 1", frame(CLOSE, b"\x03"), 1002)
    for size in (126, 127, 65536):
        payload = close_payload(1000, "*" * (size - 2))
        yield closing(f"7.7 payload of {size}", frame(CLOSE, payload), 1002)
    for wrong in (b"\xff", b"\xce\xba\xe1", b"\xed\xa0\x80", b"\xc0\xaf"):
        payload = close_payload(1000) + wrong
        yield closing(f"7.8 reason {wrong.hex()}", frame(CLOSE, payload), 1007)
    yield closing(
        "7.9 without a mask", frame(CLOSE, close_payload(1000), mask=None), 1002
    )
    yield closing("7.10 in parts", frame(CLOSE, close_payload(1000), fin=False), 1002)
    for name, rest in (
        ("text", text("late")),
        ("ping", frame(PING, b"late")),
        ("close", close(1001)),
        ("a part", frame(CONTINUATION, b"late")),
        ("nonsense", b"\xff" * 300),
    ):
        yield attrs.evolve(
            closing(f"7.11 {name} behind it", close(1000), 1000, ""), rest=rest
        )
    data = b"*" * (256 * 1024)
    yield attrs.evolve(
        good("7.12 behind a large message", text(data), _text(data)),
        rest=frame(PING, b"late"),
    )


# -- 9 sizes, 10 cutting


def sizes() -> Iterator[Case]:
    words = "Hi \u20ac! ".encode() * 131072
    for size in (64, 256, 1024, 4096):
        data = bytes(range(256)) * (size * 4)
        yield good(
            f"9.1 binary of {size} KiB", frame(BINARY, data), Frame(BINARY, data)
        )
    yield good("9.2 text of 1 MiB", text(words), _text(words))
    for size in (64, 256, 1300, 4096, 65536):
        data = words[: 64 * 8192]
        yield good(
            f"9.3 512 KiB by {size}", fragments(BINARY, data, size), Frame(BINARY, data)
        )
    data = words * 4
    yield good("9.4 4 MiB by 4096", fragments(TEXT, data, 4096), _text(data))
    yield good("9.4 4 MiB by 1000", fragments(TEXT, data, 1000), _text(data))
    for size in (0, 16, 125, 1024):
        one = b"*" * size
        yield good(f"9.5 500 texts of {size}", text(one) * 500, *[_text(one)] * 500)
    yield good(
        "10.1 64 KiB by 1300", fragments(TEXT, b"*" * 65536, 1300), _text(b"*" * 65536)
    )


# -- 12 offers of compression

OFFERS = (
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; client_max_window_bits=9",
    "permessage-deflate; client_max_window_bits, permessage-deflate",
    "permessage-deflate; client_max_window_bits=99; nonsense",
    "permessage-bzip2, x-webkit-deflate-frame",
)


def compression() -> Iterator[Case]:
    for offer in OFFERS:
        words = '{"words": "all the same"}' * 40
        yield good(f"12.1 {offer}", text(words), _text(words), offer=offer)
        yield attrs.evolve(
            bad(f"12.2 compressed after {offer}", frame(TEXT, b"\xf2\x48\x04", rsv=4)),
            offer=offer,
        )


def all_cases() -> Iterable[Case]:
    """Yield the whole table."""
    for section in SECTIONS:
        yield from section()


SECTIONS = (
    framing,
    pings,
    reserved_bits,
    opcodes,
    fragmented,
    utf8,
    closes,
    sizes,
    compression,
)
