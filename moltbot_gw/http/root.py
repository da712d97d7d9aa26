"""The root of the site: Klein's leaf for HTTP, Autobahn's for WebSockets."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import IResource, Resource

from moltbot_gw.http.request import GatewayRequest
from moltbot_gw.http.routes import WEBSOCKET


class Root(Resource):
    """Shows each request to the side that it is for; the gate has told them apart."""

    isLeaf = True

    def __init__(self, api: IResource, websocket: IResource) -> None:
        super().__init__()
        self._api = api
        self._websocket = websocket

    def render(self, request: GatewayRequest) -> Any:
        """Let the right side answer."""
        side = self._websocket if request.route is WEBSOCKET else self._api
        return side.render(request)
