"""A provider whose models are its moods, for the soak.

``python -m benchmarks.moods`` prints its port.  The model's name says what becomes of a
request, see ``MOODS``; the others are those of ``benchmarks.provider``: 32 chunks, one
each 10 ms (``steady``), all at once (``quick``), or ``bench:flood BYTES`` of the last
message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor

from benchmarks.provider import (
    END,
    WORD,
    Provider,
    ProviderFactory,
    event,
    http_chunk,
)

reactor: Any = _reactor

CHUNKS, PACE = 32, 0.01
NOTE = "note.txt"
_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_STEPS = (
    ("write", {"path": NOTE, "content": "one\ntwo\n"}),
    ("exec", {"command": f"echo three; cat {NOTE}"}),
    ("read", {"path": NOTE}),
)
"""What the model ``acting`` asks for, one after the other, before it says something."""


def call(name: str, arguments: dict[str, str], number: int) -> bytes:
    """Return a stream's body that calls the tool *name*."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    one = {"index": 0, "id": f"call-{number}", "type": "function", "function": function}
    delta: Any = {"tool_calls": [one]}
    return event(delta) + END.replace(b'"stop"', b'"tool_calls"')


def _refusal(status: bytes, *headers: bytes) -> bytes:
    body = b'{"error":{"message":"not now","type":"server_error"}}'
    fields = [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, *headers, b"", body])


class Moody(Provider):
    """One connection; requests on it are answered one after the other."""

    _steady = False

    def _answer(self, body: bytes, http10: bool) -> None:
        asked = json.loads(body)
        mood = MOODS.get(asked["model"])
        if mood is not None:
            mood(self, asked)
            return
        self._steady = asked["model"] == "steady"
        # What earlier messages of the session wanted is over.
        last = json.dumps(asked["messages"][-1]).encode()
        super()._answer(last + b'"stream":true', http10)

    def pace_of(self, body: bytes) -> float:
        return self.factory.pace if self._steady else 0.0

    def _stream(self, body: bytes) -> None:
        self._tell(_SSE_HEAD + http_chunk(body) + b"0\r\n\r\n")

    def _tell(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def act(self, asked: dict[str, Any]) -> None:
        """Go on where the results since the last question say that we are."""
        done = 0
        for message in reversed(asked["messages"]):
            if message["role"] == "user":
                break
            done += message["role"] == "tool"
        if done < len(_STEPS):
            name, arguments = _STEPS[done]
            self._stream(call(name, arguments, len(asked["messages"])))
        else:
            self._stream(WORD * 3 + END)

    def ask_client(self, asked: dict[str, Any]) -> None:
        """Call the client's tool, unless its result is there."""
        if asked["messages"][-1]["role"] == "tool":
            self._stream(WORD * 3 + END)
        else:
            self._stream(call("weather", {"place": "here"}, len(asked["messages"])))

    def reset(self, _: dict[str, Any]) -> None:
        """Reset the connection after some words."""
        transport: Any = self.transport
        self._tell(_SSE_HEAD + http_chunk(WORD * 4))
        reactor.callLater(0.02, transport.abortConnection)

    def vanish(self, _: dict[str, Any]) -> None:
        """Reset the connection at once."""
        transport: Any = self.transport
        transport.abortConnection()

    def cut(self, _: dict[str, Any]) -> None:
        """End the connection without the end of the answer."""
        transport: Any = self.transport
        self._tell(_SSE_HEAD + http_chunk(WORD * 4))
        transport.loseConnection()

    def stall(self, _: dict[str, Any]) -> None:
        """Say some words, and nothing more."""
        self._tell(_SSE_HEAD + http_chunk(WORD * 4))

    def garble(self, _: dict[str, Any]) -> None:
        """Send events that are no JSON."""
        self._stream(b'data: {"choices": [{"delta"\n\ndata: \xff\xfe\n\n')

    def babble(self, _: dict[str, Any]) -> None:
        """Answer in no HTTP at all."""
        transport: Any = self.transport
        self._tell(b"\x16\x03\x01 hello?\r\n\r\n")
        transport.loseConnection()

    def limit(self, _: dict[str, Any]) -> None:
        """Say that it was too much."""
        self._tell(_refusal(b"429 Too Many Requests", b"Retry-After: 1"))

    def fail(self, _: dict[str, Any]) -> None:
        """Say that something is broken."""
        self._tell(_refusal(b"500 Internal Server Error"))


MOODS: dict[str, Callable[[Moody, dict[str, Any]], None]] = {
    "acting": Moody.act,
    "asking": Moody.ask_client,
    "reset": Moody.reset,
    "vanish": Moody.vanish,
    "cut": Moody.cut,
    "stall": Moody.stall,
    "garble": Moody.garble,
    "babble": Moody.babble,
    "limit": Moody.limit,
    "fail": Moody.fail,
}
FAULTS = tuple(name for name in MOODS if name not in ("acting", "asking"))
"""The moods that no client gets an answer of."""


class MoodyFactory(ProviderFactory):
    """Makes ``Moody`` ones."""

    protocol = Moody


def main() -> None:
    """Serve until killed."""
    factory = MoodyFactory(CHUNKS, PACE)
    port = reactor.listenTCP(0, factory, backlog=2048, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
