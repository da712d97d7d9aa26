"""Fixtures of the HTTP tests: a gateway, and a log that must stay free of failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from moltbot_gw.agents.request import RunRequest
from moltbot_gw.agents.run import Run
from moltbot_gw.errors import RunAborted
from moltbot_gw.messages import UserMessage
from tests.support.gateway import Gateway, LogTape


@pytest.fixture(autouse=True)
def log() -> Iterator[LogTape]:
    """Record the log; whatever is worse than info and not taken fails the test."""
    with LogTape() as tape:
        yield tape
    assert tape.problems == []


@pytest.fixture
def make_gateway(log: LogTape) -> Iterator[Callable[..., Gateway]]:
    """Make gateways; at the end they must have nothing left over."""
    made: list[Gateway] = []

    def make(**options: object) -> Gateway:
        made.append(Gateway(**options))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway as the product's defaults make it."""
    return make_gateway()


@pytest.fixture
def start(make_gateway: Callable[..., Gateway]) -> Iterator[Callable[..., Run]]:
    """Start runs as the other edge does; no client of HTTP waits for them."""
    started: list[Run] = []

    def start(gateway: Gateway, run_id: str, session_key: str = "main") -> Run:
        request = RunRequest(
            run_id=run_id,
            agent_id="main",
            session_key=session_key,
            store_key="agent:main:main",
            new_session_id="s",
            anonymous=False,
            messages=(UserMessage("hi"),),
        )
        started.append(gateway.agents.start_run(request))
        return started[-1]

    yield start
    for run in started:
        run.cancel(RunAborted("The test is over."))
