"""A caller of one provider that is built from its configuration."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from moltbot_gw.config import ProviderEntry, Secret
from moltbot_gw.errors import GatewayError
from moltbot_gw.events import Completion
from moltbot_gw.messages import ModelRequest
from moltbot_gw.providers.factory import build_provider
from tests.integration.waiting import reactor, start_stream, within
from tests.providers.test_streaming import RecordingSink

KEY = "sk-ant-test-0123456789abcdef"
HEADER_KEY = "second-secret-value"


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (KEY, HEADER_KEY) if secret in text]


class Caller:
    """An adapter to one fake provider, and what its answers came to."""

    def __init__(
        self, name: str, base_url: str, *, idle: float = 10.0, **members: Any
    ) -> None:
        settings: dict[str, Any] = {
            "api_key": Secret(KEY),
            "headers": {"X-Second": Secret(HEADER_KEY)},
            "models": (),
            **members,
        }
        entry = ProviderEntry(base_url=base_url, idle_timeout_seconds=idle, **settings)
        self.adapter = build_provider(name, entry, {}, reactor)
        self.sink = RecordingSink()

    def stream(self, request: ModelRequest) -> Deferred[Completion]:
        return within(10, start_stream(self.adapter, request, self.sink))

    async def failure(self, request: ModelRequest) -> GatewayError:
        """Return what a stream fails with; there is no secret in it."""
        with pytest.raises(GatewayError) as caught:
            await self.stream(request)
        error = caught.value
        assert error.__cause__ is None
        assert not secrets_in(f"{error.message} {error!r}")
        assert self.sink.source is None
        return error
