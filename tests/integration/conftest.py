"""Fixtures of the tests on real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_twisted import async_yield_fixture

from tests.integration import gateway as gateways
from tests.integration import waiting
from tests.support.daemon import Daemon

clean = async_yield_fixture(name="clean")(waiting.clean_reactor)
provider = async_yield_fixture(name="provider")(waiting.fake_provider)
gateway = async_yield_fixture(name="gateway")(gateways.with_provider)

StartDaemon = Callable[..., Daemon]


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[StartDaemon]:
    """Start ``twistd moltbot-gateway``; what still runs at the end is killed."""
    started: list[Daemon] = []

    def start(*options: str, **members: object) -> Daemon:
        started.append(Daemon(tmp_path, *options, **members))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for daemon in started:
        daemon.kill()
