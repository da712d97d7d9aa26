"""The table of RFC 6455 against the gateway's own endpoint, before and after connect.

Bare, the table's messages are no JSON; in an envelope they are requests, so that what
the gateway makes of them shows that it has put the frames together.  What it must
answer is worked out here, with the JSON of the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

import attrs
import pytest

from moltbot_gw.wire.frames import NO_ID
from tests.support import control as support
from tests.support.control import JSON, Control, connect_params
from tests.support.ws_frames import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    fragments,
    frame,
    split_handshake,
    take_frames,
    text,
)
from tests.ws import conformance
from tests.ws.conformance import Case, Segments, good
from tests.ws.wrapping import read_messages, read_sent, wrapped

KIB = 1024
EARLY_BYTES, READY_BYTES = 64 * KIB, 512 * KIB

LARGE = 128 * KIB
"""Cases with more bytes take their time, so they are never cut into pieces."""

CASES = list(conformance.all_cases())


# -- what the gateway must answer


@attrs.frozen
class Reaction:
    """What one message brings: an answer, a close, or both; it may admit."""

    answer: JSON | None = None
    close: tuple[int, str] | None = None
    admits: bool = False


def failure(frame_id: Any, message: str) -> JSON:
    error = {"code": "INVALID_REQUEST", "message": message}
    return {"type": "res", "id": frame_id, "ok": False, "error": error}


INVALID_FRAME = "invalid request frame"
NO_CONNECT = "invalid handshake: first request must be connect"
NOTHING = Reaction()


def parse(message: bytes) -> Any:
    """Return the JSON in *message*; raise ``ValueError``."""

    def refuse(_: str) -> None:
        raise ValueError

    return json.loads(message.decode(), parse_constant=refuse)


def is_request(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("type") == "req"
        and value.keys() <= {"type", "id", "method", "params"}
        and isinstance(value.get("id"), str)
        and isinstance(value.get("method"), str)
        and 0 < len(value["id"]) <= 512
        and 0 < len(value["method"]) <= 128
    )


def first_reaction(message: bytes) -> Reaction:
    """Return what *message* brings as the first of a connection."""
    try:
        value = parse(message)
    except ValueError:
        return Reaction(close=(1000, ""))
    if not is_request(value):
        return Reaction(close=(1008, INVALID_FRAME))
    if value["method"] != "connect":
        return Reaction(failure(value["id"], NO_CONNECT), (1008, NO_CONNECT))
    return Reaction({"type": "res", "id": value["id"], "ok": True}, admits=True)


def later_reaction(message: bytes) -> Reaction:
    """Return what *message* brings after ``connect``."""
    try:
        value = parse(message)
    except ValueError:
        return NOTHING
    if not is_request(value):
        found = value.get("id", NO_ID) if isinstance(value, dict) else NO_ID
        can_echo = isinstance(found, (str, int, float)) and len(str(found)) <= 512
        return Reaction(failure(found if can_echo else NO_ID, INVALID_FRAME))
    problem = f"unknown method: {value['method']}"
    if value["method"] == "connect":
        problem = "connect is only valid as the first request"
    return Reaction(failure(value["id"], problem))


# -- cases of an echo made cases of the gateway


@attrs.define
class Expected:
    """What a case brings, worked out frame by frame over its sound part."""

    is_ready: bool
    heard: list[Frame] = attrs.field(factory=list)

    @property
    def max_bytes(self) -> int:
        return READY_BYTES if self.is_ready else EARLY_BYTES

    def of(self, case: Case) -> Case:
        """Return *case* as it goes here: *heard* is what comes, not what is heard."""
        frames = list(read_sent(case.sound))
        ends = {parts[-1].start: parts for parts in read_messages(frames)}
        size = 0
        for sent in frames:
            if sent.opcode == PING:
                self.heard.append(Frame(PONG, sent.payload))
            elif sent.opcode in (TEXT, BINARY, CONTINUATION):
                size = len(sent.payload) + (size if sent.opcode == CONTINUATION else 0)
                if size > self.max_bytes:
                    return self._ending(case, sent.words, 1009, None)
                if sent.start in ends:
                    message = b"".join(part.payload for part in ends[sent.start])
                    closing = self._react(message)
                    if closing is not None:
                        return self._ending(case, sent.end, *closing)
        return attrs.evolve(case, heard=tuple(self.heard))

    def _react(self, message: bytes) -> tuple[int, str] | None:
        react = later_reaction if self.is_ready else first_reaction
        reaction = react(message)
        if reaction.answer is not None:
            self.heard.append(Frame(TEXT, json.dumps(reaction.answer).encode()))
        self.is_ready = self.is_ready or reaction.admits
        return reaction.close

    def _ending(self, case: Case, end: int, code: int, reason: str | None) -> Case:
        """Return a case that ends with the byte before *end* of its sound part."""
        return attrs.evolve(
            case,
            sound=case.sound[: end - 1],
            fault=case.sound[end - 1 : end],
            rest=case.sound[end:] + case.fault + case.rest,
            heard=tuple(self.heard),
            code=code,
            reason=reason,
            half_closes=code == 1009,
        )


class GatewayTarget:
    """Answers as the gateway does; of the words of others only the start is known."""

    def check(self, case: Case, frames: list[Frame]) -> None:
        assert len(frames) == len(case.heard)
        for found, wanted in zip(frames, case.heard, strict=True):
            if wanted.opcode == PONG:
                assert found == wanted
            else:
                check_answer(found, json.loads(wanted.payload))


def check_answer(found: Frame, wanted: JSON) -> None:
    """Fail unless *found* is the answer *wanted*, in one frame."""
    assert (found.opcode, found.fin) == (TEXT, True)
    answer = json.loads(found.payload)
    if wanted["ok"]:
        assert answer.pop("payload")["type"] == "hello-ok"
    elif wanted["error"]["message"] == INVALID_FRAME:
        words = answer["error"].pop("message")
        assert words.startswith(f"{INVALID_FRAME}: ")
        answer["error"]["message"] = INVALID_FRAME
    assert answer == wanted


def connect_text(frame_id: str = "c", **more: Any) -> bytes:
    request = {"type": "req", "id": frame_id, "method": "connect"}
    return json.dumps({**request, "params": connect_params(**more)}).encode()


def around(message: bytes, request: JSON) -> tuple[bytes, bytes]:
    """Return what makes *request* of *message*, which stands for its ``WORDS``."""
    before, _, after = json.dumps(request).encode().partition(b"WORDS")
    return before, after


def in_request(message: bytes) -> tuple[bytes, bytes]:
    """The words are the id, which the answer repeats; or a parameter, if too long."""
    if len(message) <= 500:
        return around(message, {"type": "req", "id": "x WORDS", "method": "none"})
    params = {"words": "WORDS"}
    return around(
        message, {"type": "req", "id": "long", "method": "none", "params": params}
    )


def in_connect(message: bytes) -> tuple[bytes, bytes]:
    """The words are the id of ``connect``, or the name of the program."""
    if len(message) <= 500:
        before, after = connect_text("x WORDS").split(b"WORDS")
    else:
        before, after = connect_text(userAgent="WORDS").split(b"WORDS")
    return before, after


# -- a client


class Client:
    """A client of the endpoint; challenge and, if it is ready, hello are read."""

    def __init__(self, control: Control, *, is_ready: bool, offer: str) -> None:
        self._client: support.Client = control.client(Sec_WebSocket_Extensions=offer)
        self.connection = self._client.connection
        self.headers, data = split_handshake(self.connection.received)
        self._start = len(self.connection.received)
        frames, rest = take_frames(data)
        assert rest == b""
        (challenge,) = (json.loads(one.text) for one in frames)
        nonce = challenge["payload"].pop("nonce")
        assert len(nonce) == 36
        now_ms = int(control.unix_time() * 1000)
        assert challenge == {
            "type": "event",
            "event": "connect.challenge",
            "payload": {"ts": now_ms},
        }
        if is_ready:
            assert self._client.log_in()["ok"]
            self._start = len(self.connection.received)

    def send(self, data: bytes, by: int | None = None) -> object:
        return self.connection.send(data, by=by)

    @property
    def frames(self) -> list[Frame]:
        frames, rest = take_frames(self.connection.received[self._start :])
        assert rest == b""
        return frames

    @property
    def has_end(self) -> bool:
        return self.connection.closed

    @property
    def is_gone(self) -> bool:
        return self.connection.closed and self.connection.socket.closed is not None


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """One gateway for the whole table; at the end nothing of it may be left."""
    control = Control(tmp_path_factory.mktemp("gateway"))
    yield control
    control.close()


def play(
    control: Control,
    case: Case,
    *,
    is_ready: bool,
    segments: tuple[Segments, ...] = ("parts",),
) -> None:
    """Play *case*, made for the echo, cut in each way of *segments*."""
    expected = Expected(is_ready).of(case)
    for one in segments:
        client = Client(control, is_ready=is_ready, offer=case.offer)
        try:
            conformance.run(expected, GatewayTarget(), client, control.advance, one)
            assert control.control.hub.members == 0
            assert control.site.connections == 0
        finally:
            client.connection.hang_up()
            control.connections.clear()


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_before_connect(shared: Control, case: Case) -> None:
    play(shared, case, is_ready=False)


@each_case
def test_in_connect(shared: Control, case: Case) -> None:
    play(shared, wrapped(case, in_connect), is_ready=False)


@each_case
def test_after_connect(shared: Control, case: Case) -> None:
    play(shared, case, is_ready=True)


@each_case
def test_in_requests_after_connect(shared: Control, case: Case) -> None:
    segments: Segments = "parts" if case.size > LARGE else "bytes"
    play(shared, wrapped(case, in_request), is_ready=True, segments=(segments,))


# -- beside the table: messages that only the gateway tells apart

NO_REQUESTS = (
    b"1",
    b"null",
    b"[]",
    b"{}",
    b'"words"',
    b'{"type":"res","id":"1","ok":true}',
    b'{"type":"req","id":"","method":"health"}',
    b'{"type":"req","id":7,"method":"health"}',
    b'{"type":"req","id":"1","method":""}',
    b'{"type":"req","id":"1"}',
    b'{"type":"req","id":"1","method":"health","more":1}',
    b'{"type":"req","id":"%b","method":"health"}' % (b"i" * 513),
    b'{"type":"req","id":"1","method":"%b"}' % (b"m" * 129),
)
NO_JSON = (b"", b" ", b"{", b"{'a':1}", b"1 2", b"NaN", b"\xef\xbb\xbf{}", b'"\x01"')
OTHERS = (
    b' { "type" : "req" , "id" : "1" , "method" : "health?" } ',
    b'{"method":"\\u20ac","id":"\\ud83d\\ude00","type":"req"}',
    b'{"type":"req","id":"1","method":"none","params":null}',
)


def in_two(opcode: int, message: bytes) -> bytes:
    return fragments(opcode, message, max(len(message) // 2 + 1, 1))


def cases_of(messages: Iterable[bytes]) -> Iterator[Case]:
    for message in messages:
        name = message[:50].decode("latin-1")
        for opcode in (TEXT, BINARY):
            whole = frame(opcode, message) + frame(PING, b"behind")
            heard = (Frame(opcode, message), Frame(PING, b"behind"))
            yield good(f"{opcode}, {name!r}", whole, *heard)
            parted = in_two(opcode, message) + frame(PING, b"behind")
            yield good(f"{opcode} in parts, {name!r}", parted, *heard)


EXTRA = [*cases_of((*NO_REQUESTS, *NO_JSON, *OTHERS, connect_text()))]
NOT_UTF8 = [frame(BINARY, words) for words in (b"\xff", b'"\xff"', b'{"id":"\xc3"}')]
EXTRA += [
    good(f"binary that is no UTF-8, {number}", data)
    for number, data in enumerate(NOT_UTF8)
]


@pytest.mark.parametrize("is_ready", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", EXTRA, ids=lambda case: case.name)
def test_messages(shared: Control, case: Case, is_ready: bool) -> None:
    play(shared, case, is_ready=is_ready, segments=get_args(Segments))


def sized(size: int, words: Callable[..., bytes] = connect_text) -> bytes:
    """Return ``connect`` or a request of exactly *size* bytes."""
    bare = words(userAgent="")
    return words(userAgent="*" * (size - len(bare)))


def request_text(**params: str) -> bytes:
    request = {"type": "req", "id": "r", "method": "none", "params": params}
    return json.dumps(request).encode()


LIMITS = [
    (False, sized(EARLY_BYTES), None),
    (False, sized(EARLY_BYTES + 1), 1009),
    (True, sized(READY_BYTES, request_text), None),
    (True, sized(READY_BYTES + 1, request_text), 1009),
]


@pytest.mark.parametrize("piece", [100_000_000, 65_000, 1000])
@pytest.mark.parametrize(("is_ready", "message", "code"), LIMITS)
def test_limits(
    shared: Control, is_ready: bool, message: bytes, code: int | None, piece: int
) -> None:
    case = good("limit", fragments(TEXT, message, piece), Frame(TEXT, message))
    assert Expected(is_ready).of(case).code == (code or 1000)
    play(shared, case, is_ready=is_ready, segments=get_args(Segments))


def test_the_limit_is_raised_with_the_hello(shared: Control) -> None:
    large = sized(READY_BYTES, request_text)
    case = good("limit", text(connect_text()) + text(large), Frame(TEXT, large))
    assert [one.opcode for one in Expected(False).of(case).heard] == [TEXT, TEXT]
    play(shared, case, is_ready=False, segments=get_args(Segments))
