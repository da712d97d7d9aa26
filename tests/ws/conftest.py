"""Fixtures of the WebSocket tests: an echoing gateway, and a log without failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import Control
from tests.support.gateway import LogTape
from tests.ws.echo import EchoGateway


@pytest.fixture(autouse=True)
def log() -> Iterator[LogTape]:
    """Record the log; whatever is worse than info and not taken fails the test."""
    with LogTape() as tape:
        yield tape
    assert tape.problems == []


@pytest.fixture
def echo_gateway(log: LogTape) -> Iterator[EchoGateway]:
    """A gateway whose WebSockets echo; at the end it must have nothing left over."""
    gateway = EchoGateway()
    yield gateway
    gateway.close()


@pytest.fixture
def make_control(log: LogTape, tmp_path: Path) -> Iterator[Callable[..., Control]]:
    """Make gateways with a WebSocket edge; at the end nothing of them may be left."""
    made: list[Control] = []

    def make(config: Any = None, **options: Any) -> Control:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Control(folder, config, **options))
        return made[-1]

    yield make
    for control in made:
        control.close()


@pytest.fixture
def control(make_control: Callable[..., Control]) -> Control:
    """A gateway as the product's defaults make it."""
    return make_control()
