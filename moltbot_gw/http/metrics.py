"""``GET /metrics``: figures for Prometheus; who may see them is the gate's business."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from moltbot_gw.http.answers import prepare_body
from moltbot_gw.http.request import GatewayRequest

EXPOSITION = b"text/plain; version=0.0.4; charset=utf-8"
"""The format that every version of Prometheus reads."""


class MetricsHandler:
    """Answers with what *render* returns."""

    def __init__(self, render: Callable[[], Awaitable[bytes]]) -> None:
        self._render = render

    async def get(self, request: GatewayRequest) -> bytes:
        """Return the figures as they are now."""
        return prepare_body(request, await self._render(), EXPOSITION)
