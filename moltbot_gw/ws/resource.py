"""The resource that turns a request into a WebSocket.

Autobahn's own resource writes all headers of the request again for its own parser,
which splits lines where HTTP does not (at 0x85, for one), so that a client could slip
in headers.  Only the key, checked by the gate before, is shown to it here; extensions
and subprotocols are declined by not being seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from moltbot_gw.peers import Peer
from moltbot_gw.ws.socket import Handler, Socket, SocketFactory

_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


class UpgradeResource(Resource):
    """Hands the connection over to a socket, and the socket to a handler.

    *build_handler* gets the socket and who is at its other end.
    """

    isLeaf = True

    def __init__(
        self, factory: SocketFactory, build_handler: Callable[[Socket, Peer], Handler]
    ) -> None:
        super().__init__()
        self._factory = factory
        self._build_handler = build_handler

    def render(self, request: Any) -> int:
        """Take the connection of *request*, a ``GatewayRequest`` past the gate."""
        peer = request.channel.transport.getPeer()
        socket: Any = self._factory.buildProtocol(peer)
        socket.attach(self._build_handler(socket, request.find_peer()))
        (key,) = request.requestHeaders.getRawHeaders(b"Sec-WebSocket-Key")
        request.channel.hand_over(socket)
        socket.dataReceived(_HANDSHAKE % key.strip())
        return NOT_DONE_YET
