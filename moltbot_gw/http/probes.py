"""``/healthz`` and ``/readyz``: whether the process lives, and whether to send it work.

Anybody may ask; what is wrong is told to this machine and to who brings the secret.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from moltbot_gw.http.answers import prepare_json, reason_phrase
from moltbot_gw.http.request import GatewayRequest

RETRY_SECONDS = 5

_UNREADY = 503


class Readiness(Protocol):
    """Whether the gateway is ready."""

    @property
    def checks(self) -> Mapping[str, str | None]:
        """Each check by its name, with its problem or None."""

    @property
    def is_ready(self) -> bool:
        """Whether there is no problem."""


class ProbesHandler:
    """Answers the probes.

    *check* never raises; *brings_secret* says whether a request may know everything.
    """

    def __init__(
        self,
        *,
        check: Callable[[], Awaitable[Readiness]],
        brings_secret: Callable[[GatewayRequest], bool],
    ) -> None:
        self._check = check
        self._brings_secret = brings_secret

    def get_health(self, request: GatewayRequest) -> bytes:
        """Say that this process answers."""
        return _answer(request, {"status": "ok"})

    async def get_readiness(self, request: GatewayRequest) -> bytes:
        """Say whether it should be given work, with a 503 if not."""
        may_know = self._may_know(request)
        found = await self._check()
        body: dict[str, object] = {"status": "ok" if found.is_ready else "unready"}
        if may_know:
            told = {name: problem or "ok" for name, problem in found.checks.items()}
            body["checks"] = told
        if not found.is_ready:
            request.setResponseCode(_UNREADY, reason_phrase(_UNREADY))
            retry = b"%d" % RETRY_SECONDS
            request.responseHeaders.setRawHeaders(b"Retry-After", [retry])
        return _answer(request, body)

    def _may_know(self, request: GatewayRequest) -> bool:
        """Whether this machine asks, and not for somebody else, or a trusted person."""
        if request.find_peer().is_local and not request.is_proxied:
            return True
        return self._brings_secret(request)


def _answer(request: GatewayRequest, body: dict[str, object]) -> bytes:
    request.responseHeaders.setRawHeaders(b"Cache-Control", [b"no-store"])
    return prepare_json(request, msgspec.json.encode(body))
