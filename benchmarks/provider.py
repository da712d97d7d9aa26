"""A provider that is never the bottleneck: raw protocol, prepared bytes.

``python -m benchmarks.provider CHUNKS PACE`` prints its port.  It answers a POST by
what the body asks for: without ``"stream":true`` a whole completion, with it CHUNKS
chunks, one each PACE seconds (0: all at once).  The last message may overrule this:
``bench:quiet`` gets the head and then nothing, ``bench:flood BYTES`` that much text,
as fast as it is taken.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

reactor: Any = _reactor

FLOOD_PIECE = "x" * 1000
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
_FLOOD = re.compile(rb"bench:flood (\d+)")
_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_USAGE = {"prompt_tokens": 9, "completion_tokens": 32, "total_tokens": 41}


def event(delta: dict[str, str], reason: str | None = None) -> bytes:
    """Return one SSE record."""
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def http_chunk(data: bytes) -> bytes:
    """Return *data* as one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


END = (
    event({}, "stop")
    + b"data: "
    + json.dumps({"choices": [], "usage": _USAGE}).encode()
    + b"\n\ndata: [DONE]\n\n"
)
WORD = event({"content": "lorem ipsum "})
_WHOLE_BODY = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1,
        "model": "m1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "lorem ipsum " * 32},
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    }
).encode()
WHOLE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    % len(_WHOLE_BODY)
    + _WHOLE_BODY
)


@implementer(IPushProducer)
class Provider(Protocol):
    """One connection; requests on it are answered one after the other."""

    factory: ProviderFactory

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._pace = 0.0
        self._flood = 0
        self._paused = False
        self._close = False
        self._raw = False

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            match = _LENGTH.search(head)
            length = int(match[1]) if match else 0
            if not separator or len(rest) < length:
                return
            body, self._buffer = rest[:length], rest[length:]
            self._answer(body, http10=head.split(b"\r\n")[0].endswith(b"1.0"))

    def _answer(self, body: bytes, http10: bool) -> None:
        transport: Any = self.transport
        # A proxy that speaks HTTP/1.0 gets a body without chunks, ended by closing.
        self._close = self._raw = http10
        if b'"stream":true' not in body.replace(b": ", b":"):
            transport.write(WHOLE)
            if http10:
                transport.loseConnection()
            return
        head = _SSE_HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"")
        transport.write(head if http10 else _SSE_HEAD)
        flood = _FLOOD.search(body)
        if b"bench:quiet" in body:
            return
        if flood:
            self._flood = int(flood[1])
            transport.registerProducer(self, True)
            self.resumeProducing()
            return
        self._left = self.factory.chunks
        self._pace = self.pace_of(body)
        if self._pace:
            self._word()
        else:
            self._write(WORD * self._left + END)
            self._finish()

    def pace_of(self, body: bytes) -> float:
        """Return the seconds between two chunks of the answer to *body*."""
        return self.factory.pace

    def _word(self) -> None:
        if self._left:
            self._left -= 1
            self._write(WORD)
            reactor.callLater(self._pace, self._word)
        else:
            self._write(END)
            self._finish()

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data if self._raw else http_chunk(data))

    def _finish(self) -> None:
        transport: Any = self.transport
        if not self._raw:
            transport.write(b"0\r\n\r\n")
        if self._close:
            transport.loseConnection()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._flood > 0 and not self._paused:
            piece = FLOOD_PIECE[: self._flood]
            self._flood -= len(piece)
            self._write(event({"content": piece}))
        if self._flood <= 0 and not self._paused:
            transport: Any = self.transport
            self._paused = True
            transport.unregisterProducer()
            self._write(END)
            self._finish()

    def stopProducing(self) -> None:
        self._flood = 0


class ProviderFactory(Factory):
    """*chunks* a stream, one each *pace* seconds."""

    protocol = Provider
    noisy = False

    def __init__(self, chunks: int, pace: float) -> None:
        self.chunks = chunks
        self.pace = pace


def main() -> None:
    """Serve until killed; arguments: chunks, pace."""
    factory = ProviderFactory(int(sys.argv[1]), float(sys.argv[2]))
    port = reactor.listenTCP(0, factory, backlog=2048, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
