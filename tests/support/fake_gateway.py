"""A small gateway that says what a test tells it, over real sockets of loopback.

It speaks frames, handshake and close codes of the gateway protocol, version 3, on
Autobahn; methods answer from a script.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    UNIXServerEndpoint,
    wrapServerTLS,
)
from twisted.internet.interfaces import IListeningPort, IOpenSSLContextFactory

TOKEN = "test-token-0123456789abcdef"
NONCE = "11111111-2222-3333-4444-555555555555"
UNAUTHORIZED = (
    "unauthorized: gateway token mismatch"
    " (set gateway.remote.token to match gateway.auth.token)"
)


@attrs.frozen
class Failure:
    """An error answer; *payload* may come beside it."""

    code: str
    message: str
    more: dict[str, Any] = attrs.field(factory=dict)
    payload: Any = None


@attrs.frozen
class Asked:
    """One request, and the way to answer it by hand."""

    peer: Peer
    id: str
    method: str
    params: Any

    def answer(self, payload: Any) -> None:
        """Send an answer; a ``Failure`` becomes an error."""
        frame: dict[str, Any] = {"type": "res", "id": self.id, "ok": True}
        if isinstance(payload, Failure):
            error = {"code": payload.code, "message": payload.message, **payload.more}
            frame |= {"ok": False, "error": error}
            payload = payload.payload
        if payload is not None or frame["ok"]:
            frame["payload"] = payload
        self.peer.say(frame)


Reply = Any
"""A payload, a ``Failure``, or a function of an ``Asked`` that answers by itself."""


class Peer(WebSocketServerProtocol):
    """One client's connection."""

    factory: Any

    def onOpen(self) -> None:
        self.gateway: FakeGateway = self.factory.gateway
        self.gateway.peers.append(self)
        self.hello_said = False
        if self.gateway.challenges:
            payload = {"nonce": NONCE, "ts": 1}
            self.say(
                {"type": "event", "event": "connect.challenge", "payload": payload}
            )

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        frame = json.loads(payload)
        asked = Asked(self, frame["id"], frame["method"], frame.get("params"))
        if not self.hello_said:
            self.gateway.greet(asked)
            return
        self.gateway.requests.append((asked.method, asked.params))
        unknown = Failure("INVALID_REQUEST", f"unknown method: {asked.method}")
        reply = self.gateway.replies.get(asked.method, unknown)
        if callable(reply):
            reply(asked)
        else:
            asked.answer(reply)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        gateway: FakeGateway = self.factory.gateway
        gateway.closes.append((self.remoteCloseCode, self.remoteCloseReason))
        if self in gateway.peers:
            gateway.peers.remove(self)

    def say(self, frame: dict[str, Any]) -> None:
        """Send a frame."""
        self.sendMessage(json.dumps(frame).encode())

    def event(self, name: str, payload: Any, **more: Any) -> None:
        """Send an event."""
        self.say({"type": "event", "event": name, "payload": payload, **more})

    def end(self, code: int, reason: str) -> None:
        """Close as a gateway does, with any code."""
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:120])


class FakeGateway:
    """Listens while a test runs; notes what it was asked.

    *replies* by method.  *greeting* may be set to another function of the ``connect``
    request, *tokens* holds what is let in, *device_token* is what devices are given.
    """

    def __init__(self, reactor: Any, **replies: Reply) -> None:
        self.replies: dict[str, Reply] = dict(replies)
        self.greeting: Callable[[Asked], None] = self.let_in
        self.challenges = True
        self.tokens = {TOKEN}
        self.device_token: str | None = None
        self.tick_interval_ms = 30_000
        self.max_payload = 524_288
        self.connects: list[dict[str, Any]] = []
        self.requests: list[tuple[str, Any]] = []
        self.closes: list[tuple[int | None, str | None]] = []
        self.peers: list[Peer] = []
        self._reactor = reactor
        self._port: IListeningPort | None = None

    async def listen(self, tls: IOpenSSLContextFactory | None = None) -> FakeGateway:
        """Listen on a free port of loopback."""
        endpoint = TCP4ServerEndpoint(self._reactor, 0, interface="127.0.0.1")
        wrapped = wrapServerTLS(tls, endpoint) if tls is not None else endpoint
        self._port = await wrapped.listen(self.factory())
        address: Any = self._port.getHost()
        self.port: int = address.port
        scheme = "wss" if tls is not None else "ws"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        return self

    async def listen_at(self, path: str) -> FakeGateway:
        """Listen on a Unix socket."""
        self._port = await UNIXServerEndpoint(self._reactor, path).listen(
            self.factory()
        )
        self.url = f"unix:{path}"
        return self

    def factory(self) -> WebSocketServerFactory:
        """Return what makes the server's side of each connection."""
        factory = WebSocketServerFactory(reactor=self._reactor)
        factory.protocol = Peer
        factory.gateway = self
        factory.noisy = False
        factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=1)
        return factory

    async def stop(self) -> None:
        """Listen no more and drop whoever is there."""
        if self._port is not None:
            await _maybe(self._port.stopListening())
        for peer in tuple(self.peers):
            peer.dropConnection(abort=True)

    def greet(self, asked: Asked) -> None:
        """Answer the first request."""
        self.connects.append(asked.params)
        self.greeting(asked)

    def let_in(self, asked: Asked) -> None:
        """Welcome who knows a token, turn away who does not."""
        given = asked.params.get("auth", {}).get("token")
        if given not in {*self.tokens, self.device_token} - {None}:
            asked.answer(Failure("INVALID_REQUEST", UNAUTHORIZED))
            asked.peer.end(1008, UNAUTHORIZED)
            return
        asked.peer.hello_said = True
        asked.answer(self.hello("device" in asked.params))

    def hello(self, has_device: bool = False) -> dict[str, Any]:
        """Return the welcome."""
        hello: dict[str, Any] = {
            "type": "hello-ok",
            "protocol": 3,
            "server": {"version": "1.2.3", "host": "box", "connId": "c-1"},
            "features": {"methods": ["health"], "events": ["tick"]},
            "snapshot": {
                "presence": [{"text": "here", "ts": 1, "mode": "gateway"}],
                "health": {},
                "stateVersion": {"presence": 2, "health": 1},
                "uptimeMs": 5021,
                "configPath": "/etc/moltbot.json",
                "stateDir": "/var/lib/moltbot",
                "sessionDefaults": {
                    "defaultAgentId": "main",
                    "mainKey": "main",
                    "mainSessionKey": "agent:main:main",
                    "scope": "per-sender",
                },
            },
            "policy": {
                "maxPayload": self.max_payload,
                "maxBufferedBytes": 1_572_864,
                "tickIntervalMs": self.tick_interval_ms,
            },
        }
        if has_device and self.device_token is not None:
            hello["auth"] = {
                "deviceToken": self.device_token,
                "role": "operator",
                "scopes": ["operator.admin"],
                "issuedAtMs": 5,
            }
        return hello


async def _maybe(stopping: object) -> None:
    if isinstance(stopping, Deferred):
        await stopping
