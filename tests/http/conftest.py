"""Fixtures of the HTTP tests: a gateway, and a log that must stay free of failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

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
