"""A provider that speaks OpenAI Chat Completions over real sockets, as a test tells it.

A test gives it one script for each request that will come; a script is a list of steps:

    bytes       written to the socket as they are, at the pace that the client reads
    a Deferred  a gate: nothing more is written until it fires
    CLOSE       the connection is closed once all is sent (FIN)
    RESET       the connection is reset at once (RST); what is unsent is lost
    STALL       nothing more, ever; the connection stays open

``reply`` and the functions beside it make the bytes.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
)
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure
from zope.interface import implementer


class End(Enum):
    """What a script may do beside writing."""

    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"


CLOSE, RESET, STALL = End.CLOSE, End.RESET, End.STALL

Step = bytes | Deferred[Any] | End
Script = Sequence[Step]

_PIECE = 64 * 1024
_SEND_BUFFER = 64 * 1024
"""Of the kernel; small, so that a paused client shows soon."""


# -- what a provider says


def event(payload: object) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def delta(text: str, **more: object) -> bytes:
    """Return the chunk that carries *text*; *more* goes into the delta beside it."""
    return event({"choices": [{"index": 0, "delta": {"content": text, **more}}]})


def call_piece(index: int, arguments: str = "", **more: str) -> bytes:
    """Return the chunk with a piece of a call; its first one has *id* and *name*."""
    function = {"arguments": arguments}
    piece: dict[str, object] = {"index": index, "function": function}
    if more:
        function["name"] = more["name"]
        piece |= {"id": more["id"], "type": "function"}
    return event({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]})


def finish(reason: str = "stop") -> bytes:
    """Return the chunk that carries the finish reason."""
    choice = {"index": 0, "delta": {}, "finish_reason": reason}
    return event({"choices": [choice]})


def usage(prompt: int, completion: int) -> bytes:
    """Return the chunk that carries the usage."""
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return event({"choices": [], "usage": counts})


DONE = b"data: [DONE]\n\n"


def head(status: int, headers: dict[str, str]) -> bytes:
    """Return the head of an answer."""
    lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


END_OF_CHUNKS = b"0\r\n\r\n"


def streamed(*steps: Step, status: int = 200, **headers: str) -> list[Step]:
    """Return a script: a chunked event stream of *steps*, without its last chunk."""
    fields = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    start: list[Step] = [head(status, fields)]
    return start + [chunk(s) if isinstance(s, bytes) else s for s in steps]


def until_close(*steps: Step) -> list[Step]:
    """Return a script: an event stream of *steps* without length, ended by closing."""
    start: list[Step] = [head(200, {"Content-Type": "text/event-stream"})]
    return [*start, *steps, CLOSE]


def said(*texts: str, reason: str = "stop", tokens: tuple[int, int] = (7, 3)) -> Script:
    """Return a script: a whole stream that says *texts*."""
    words = [delta(text) for text in texts]
    *start, last = streamed(*words, finish(reason), usage(*tokens), DONE)
    assert isinstance(last, bytes)
    return [*start, last + END_OF_CHUNKS]


def called(*calls: tuple[str, str, str]) -> Script:
    """Return a script: a stream that makes *calls* (id, name, arguments), in pieces."""
    pieces = []
    for index, (call_id, name, arguments) in enumerate(calls):
        middle = len(arguments) // 2
        pieces += [
            call_piece(index, id=call_id, name=name),
            call_piece(index, arguments[:middle]),
            call_piece(index, arguments[middle:]),
        ]
    *start, last = streamed(*pieces, finish("tool_calls"), usage(7, 3), DONE)
    assert isinstance(last, bytes)
    return [*start, last + END_OF_CHUNKS]


def plain(status: int, body: object, **headers: str) -> Script:
    """Return a script: a JSON answer (or the bytes *body*) with its length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return [head(status, fields) + data]


# -- who it says it to


@attrs.frozen(kw_only=True)
class ProviderRequest:
    """One request as it came; header names are in lower case."""

    connection: ProviderConnection = attrs.field(repr=False)
    line: str
    headers: dict[str, str]
    body: Any

    @property
    def roles(self) -> list[str]:
        """The roles of its messages."""
        return [message["role"] for message in self.body["messages"]]

    @property
    def system(self) -> str:
        """The text of its first message."""
        return str(self.body["messages"][0]["content"])


class FakeProvider(ServerFactory):
    """Listens, records, and plays its scripts in the order of the requests.

    Without a script for a request it says "Hello".
    """

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._port: Any = None
        self._empty: Deferred[None] | None = None
        self._watchers: list[tuple[int, Deferred[ProviderRequest]]] = []
        self._open: set[ProviderConnection] = set()
        self.scripts: deque[Script] = deque()
        self.default: Script = said("Hello")
        self.requests: list[ProviderRequest] = []
        self.connections: list[ProviderConnection] = []
        self.base_url = ""
        self.port = 0

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def listen(
        self, tls: CertificateOptions | None = None, host: str = "127.0.0.1"
    ) -> FakeProvider:
        """Listen on a free port of *host*, with TLS if *tls* says how."""
        endpoint: Any
        if tls is not None:
            endpoint = SSL4ServerEndpoint(self._reactor, 0, tls, interface=host)
        elif ":" in host:
            endpoint = TCP6ServerEndpoint(self._reactor, 0, interface=host)
        else:
            endpoint = TCP4ServerEndpoint(self._reactor, 0, interface=host)
        self._port = await endpoint.listen(self)
        # Inherited by the connections.
        self._port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.port = self._port.getHost().port
        shown = f"[{host}]" if ":" in host else host
        scheme = "http" if tls is None else "https"
        self.base_url = f"{scheme}://{shown}:{self.port}/v1"
        return self

    async def stop(self) -> None:
        """Stop listening and reset all connections; return when they are gone."""
        await self._port.stopListening()
        if self._open:
            self._empty = Deferred()
            for connection in tuple(self._open):
                connection.reset()
            await self._empty

    def when_asked(self, count: int = 1) -> Deferred[ProviderRequest]:
        """Fire with the request number *count* (from 1) once it has come."""
        asked: Deferred[ProviderRequest] = Deferred()
        if len(self.requests) >= count:
            asked.callback(self.requests[count - 1])
        else:
            self._watchers.append((count, asked))
        return asked

    def buildProtocol(self, addr: object) -> ProviderConnection:
        connection = ProviderConnection(self)
        self.connections.append(connection)
        return connection

    # -- from the connections

    def opened(self, connection: ProviderConnection) -> None:
        self._open.add(connection)

    def lost(self, connection: ProviderConnection) -> None:
        self._open.discard(connection)
        if not self._open and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def take(self, request: ProviderRequest) -> Script:
        """Note *request*; return the script that answers it."""
        script = self.scripts.popleft() if self.scripts else self.default
        self.requests.append(request)
        due = [w for w in self._watchers if w[0] <= len(self.requests)]
        for watcher in due:
            self._watchers.remove(watcher)
            watcher[1].callback(request)
        return script


@implementer(IPushProducer)
class ProviderConnection(Protocol):
    """One client's connection: reads a request, plays its script, reads the next.

    *written* counts the body and head bytes that were given to the transport; *paused*
    is true while the transport takes no more, because the client does not read.
    """

    transport: Any  # TCP or TLS

    def __init__(self, provider: FakeProvider) -> None:
        self._provider = provider
        self._buffer = b""
        self._playing: Deferred[None] | None = None
        self._resumed: Deferred[None] | None = None
        self._closers: list[Deferred[None]] = []
        self.paused = False
        self.closed = False
        self.written = 0

    def when_closed(self) -> Deferred[None]:
        """Fire once the connection is closed, by whomever."""
        closed: Deferred[None] = Deferred()
        if self.closed:
            closed.callback(None)
        else:
            self._closers.append(closed)
        return closed

    def reset(self) -> None:
        """Close at once; harmless when it is closed."""
        if not self.closed:
            self.transport.abortConnection()

    # -- from the socket

    def connectionMade(self) -> None:
        self._provider.opened(self)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.closed = True
        self._provider.lost(self)
        if self._playing is not None:
            self._playing.cancel()
        closers, self._closers = self._closers, []
        for closed in closers:
            closed.callback(None)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """The connection is lost; ``connectionLost`` follows."""

    # -- inside

    def _next(self) -> None:
        if self._playing is not None or b"\r\n\r\n" not in self._buffer:
            return
        top, _, rest = self._buffer.partition(b"\r\n\r\n")
        line, *fields = top.decode("latin-1").split("\r\n")
        pairs = (field.split(":", 1) for field in fields)
        headers = {name.lower(): value.strip() for name, value in pairs}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        request = ProviderRequest(
            connection=self,
            line=line,
            headers=headers,
            body=json.loads(rest[:length] or "null"),
        )
        script = self._provider.take(request)
        self._playing = Deferred.fromCoroutine(self._play(script))
        self._playing.addErrback(lambda failure: failure.trap(CancelledError))
        self._playing.addCallback(self._played)

    def _played(self, _: object) -> None:
        self._playing = None
        if not self.closed:
            self._next()

    async def _play(self, script: Iterable[Step]) -> None:
        for step in script:
            if isinstance(step, bytes):
                await self._write(step)
            elif isinstance(step, Deferred):
                await step
            elif step is RESET:
                self.transport.abortConnection()
            elif step is CLOSE:
                self.transport.unregisterProducer()
                self.transport.loseConnection()
            else:
                await Deferred()

    async def _write(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            while self.paused:
                self._resumed = Deferred()
                await self._resumed
            piece = data[start : start + _PIECE]
            self.written += len(piece)
            self.transport.write(piece)
