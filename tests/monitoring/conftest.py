"""Fixtures of the tests of what the gateway tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.monitoring.support import Watched
from tests.support.gateway import LogTape


@pytest.fixture(autouse=True)
def log() -> Iterator[LogTape]:
    """Record the log; whatever is worse than info and not taken fails the test."""
    with LogTape() as tape:
        yield tape
    assert tape.problems == []


@pytest.fixture
def make_watched(log: LogTape, tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Make gateways; at the end nothing of them may be left."""
    made: list[Watched] = []

    def make(**options: object) -> Watched:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Watched(folder, **options))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def watched(make_watched: Callable[..., Watched]) -> Watched:
    """A gateway that tells its figures on its own port."""
    return make_watched()
