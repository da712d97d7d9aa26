"""What is fuzzed: functions of bytes that raise when they find a defect.

Each target calls a parser, or an edge of the gateway, as strangers reach it.  A refusal
in the parser's own words is no defect; any other exception is, and so is a result that
depends on how the bytes were cut.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from twisted.web.http_headers import Headers, InvalidHeaderName

from moltbot_gw.agents.keys import split_key
from moltbot_gw.agents.log import RunLog
from moltbot_gw.auth import bearer_of
from moltbot_gw.errors import Forbidden, InvalidRequest, RunAborted, UpgradeRequired
from moltbot_gw.events import RunEnded, RunOutcome, TextDelta
from moltbot_gw.http.eventids import find_place
from moltbot_gw.http.gate import preflight_headers, request_id_of
from moltbot_gw.http.hosts import HostPolicy
from moltbot_gw.http.routes import MODELS, find_route
from moltbot_gw.http.upgrade import check_upgrade, wants_websocket
from moltbot_gw.keyring import KeyRing
from moltbot_gw.peers import find_peer
from moltbot_gw.wire.anthropic import MessageStreamDecoder, decode_message
from moltbot_gw.wire.chat_request import parse_chat_request
from moltbot_gw.wire.connect import ConnectParams
from moltbot_gw.wire.device import KEY_BYTES, find_bytes, find_public_key, is_signed
from moltbot_gw.wire.frames import (
    BadFrame,
    ErrorShape,
    NotJSON,
    encode_failure,
    encode_result,
    parse_request,
)
from moltbot_gw.wire.jsontext import decode_body, encode_line
from moltbot_gw.wire.openai import ChatStreamDecoder, decode_error, decode_reply
from moltbot_gw.wire.pictures import picture_type, picture_url
from moltbot_gw.wire.providererror import ProviderError
from moltbot_gw.wire.responses import ResponseStreamDecoder, decode_response
from moltbot_gw.wire.sse import EventTooLarge, SSEDecoder
from tests.support.control import Control
from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import read_answers
from tests.support.keys import make_key
from tests.support.ws_frames import TEXT, frame

Target = Callable[[bytes], None]

_SMALL_EVENT = 4096
_RING = KeyRing((make_key("ci"),), lambda: 0.0)


def _sse_of(data: bytes, step: int) -> object:
    decoder = SSEDecoder(_SMALL_EVENT)
    found: list[bytes] = []
    try:
        for start in range(0, len(data), step):
            found += decoder.feed(data[start : start + step])
        found += decoder.flush()
    except EventTooLarge:
        return None
    return found


def sse(data: bytes) -> None:
    """Events are the same however the stream is cut; too large ones are refused."""
    whole = _sse_of(data, max(len(data), 1))
    for step in (1, 7):
        parts = _sse_of(data, step)
        if whole is not None and parts is not None:
            assert parts == whole, (parts, whole)


def _stream_of(decoder: Any, data: bytes, step: int) -> str:
    """Return the kinds of what a provider's stream comes to, without its cuts."""
    events: list[Any] = []
    try:
        for start in range(0, len(data), step):
            events += decoder.feed(data[start : start + step])
        events += decoder.flush()
    except ProviderError as error:
        return f"{error.message!r} {error.code!r}"
    texts = "".join(e.text for e in events if type(e).__name__ == "TextDelta")
    return f"{texts!r} {decoder.finish_reason!r} {decoder.usage!r}"


def _stream(make: Callable[[], Any]) -> Target:
    def target(data: bytes) -> None:
        whole = _stream_of(make(), data, max(len(data), 1))
        for step in (1, 13):
            parts = _stream_of(make(), data, step)
            assert parts == whole, (parts, whole)

    return target


def _reply(decode: Callable[[bytes], Any]) -> Target:
    def target(data: bytes) -> None:
        try:
            decode(data)
        except ProviderError:
            return

    return target


def chat_request(data: bytes) -> None:
    """A body is a request that can be written again, or it is refused."""
    try:
        request = parse_chat_request(data)
    except InvalidRequest as error:
        encode_line(error.message)
        return
    str(request).encode()


def json_text(data: bytes) -> None:
    """What is taken as JSON can be written as one line."""
    try:
        value = decode_body(data, msgspec.json.Decoder(), {})
    except InvalidRequest:
        return
    line = encode_line(value)
    assert b"\n" not in line
    assert b"\r" not in line


def frames(data: bytes) -> None:
    """A message is a request, or gets an answer that can be sent."""
    try:
        request = parse_request(data)
    except NotJSON:
        return
    except BadFrame as error:
        encode_failure(error.frame_id, _refusal(error.problem))
        return
    encode_result(request.id, None)


def _refusal(problem: str) -> Any:
    return ErrorShape(code="INVALID_REQUEST", message=problem)


def connect(data: bytes) -> None:
    """Parameters of ``connect`` are whole, or they are refused by msgspec."""
    try:
        msgspec.json.decode(data, type=ConnectParams)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return


def device(data: bytes) -> None:
    """Keys and signatures are texts of strangers."""
    text = data.decode("utf-8", "replace")
    key_text, _, signature = text.partition("\n")
    find_bytes(text)
    key = find_public_key(key_text)
    if key is not None and len(key) == KEY_BYTES:
        is_signed(key, signature, "text")


def pictures(data: bytes) -> None:
    """The type of a picture is told by its bytes."""
    kind = picture_type(data)
    if kind is not None:
        assert picture_url(kind, data).isascii()


def head(data: bytes) -> None:
    """The values of headers and the path are read one by one."""
    path, _, rest = data.partition(b"\n")
    headers = Headers()
    for line in rest.split(b"\n")[:50]:
        name, _, value = line.partition(b":")
        with suppress(InvalidHeaderName):
            headers.addRawHeader(name, value.strip())
    route = find_route(path)
    if route is not None:
        b"/".join(route.segments).decode("utf-8")
    assert request_id_of(headers).isascii()
    preflight_headers(MODELS, b"http://a", headers)
    find_peer("127.0.0.1", headers, ("127.0.0.1",))
    HostPolicy(["*.test"]).allows(path)
    split_key(path.decode("latin-1"))
    assert _RING.find(bearer_of(headers.getRawHeaders(b"Authorization", ()))) is None
    _attach(path, headers)
    try:
        HostPolicy().check_origin(headers)
        if wants_websocket(headers):
            check_upgrade(b"GET", b"HTTP/1.1", headers, 0)
    except (InvalidRequest, Forbidden, UpgradeRequired):
        return


def _attach(asked: bytes, headers: Headers) -> None:
    """A client says where it goes on, in a header or in the query."""
    request: Any = SimpleNamespace(requestHeaders=headers, args={b"from": [asked]})
    log = RunLog()
    log.append_text(TextDelta, "hello")
    log.append(RunEnded(RunOutcome(state="done", ended_at_ms=1)))
    try:
        place, had = find_place(request, log)
    except InvalidRequest:
        return
    assert log.holds(place)
    assert 0 <= had <= len(log)


def http(data: bytes) -> None:
    """Whatever comes over a connection has whole answers below 500."""
    with LogTape() as log:
        gateway = Gateway(openapi=True)
        step = data[0] if data else 0
        received = _sent(gateway, data[1:], step)
        answers = read_answers(received)
        gateway.close()
    assert all(answer.status < 500 for answer in answers), answers
    assert log.problems == [], log.problems


def _sent(gateway: Gateway, data: bytes, step: int) -> bytes:
    connection = gateway.connect()
    connection.send(data, by=step or None)
    gateway.advance(1.0)
    return connection.received


def websocket(data: bytes) -> None:
    """Whatever comes after the handshake leaves no trace and no failure."""
    with LogTape() as log, tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        connected = bool(data[:1]) and data[0] % 2 == 0
        client = control.member() if connected else control.client()
        step = (data[1] if data[1:] else 0) or None
        client.connection.send(data[2:], by=step)
        control.advance(0.1)
        _close(control)
    assert log.problems == [], log.problems


def messages(data: bytes) -> None:
    """Each line is a message of a client that has connected."""
    with LogTape() as log, tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        client = control.member()
        wire = b"".join(frame(TEXT, line) for line in data.split(b"\n")[:20])
        client.connection.send(wire)
        control.advance(0.1)
        _close(control)
    assert log.problems == [], log.problems


def _close(control: Control) -> None:
    """End first what runs: that a model which waits is cut off, the log would tell."""
    for run in control.agents.active:
        run.cancel(RunAborted("The test is over."))
    control.close()


TARGETS: dict[str, Target] = {
    "sse": sse,
    "openai": _stream(ChatStreamDecoder),
    "openai-reply": _reply(decode_reply),
    "openai-error": _reply(decode_error),
    "anthropic": _stream(partial(MessageStreamDecoder, "m")),
    "anthropic-reply": _reply(partial(decode_message, model="m")),
    "responses": _stream(partial(ResponseStreamDecoder, "m")),
    "responses-reply": _reply(partial(decode_response, model="m")),
    "chat-request": chat_request,
    "json-text": json_text,
    "frames": frames,
    "connect": connect,
    "device": device,
    "pictures": pictures,
    "head": head,
    "http": http,
    "websocket": websocket,
    "messages": messages,
}
