"""Stores on files that are closed at the end of each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moltbot_gw.sessions import SqliteSessionStore
from tests.sessions.support import Pump

MakeStore = Callable[[], SqliteSessionStore]


@pytest.fixture
def pump() -> Pump:
    return Pump()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions.sqlite"


@pytest.fixture
def make_store(path: Path, pump: Pump) -> Iterator[MakeStore]:
    """Each call makes a store of the same file, which it may open again at once."""
    made: list[SqliteSessionStore] = []

    def make() -> SqliteSessionStore:
        made.append(SqliteSessionStore(path, pump, reopen_interval=0.0))
        return made[-1]

    yield make
    for store in made:
        pump.wait(store.close())


@pytest.fixture
def store(make_store: MakeStore) -> SqliteSessionStore:
    return make_store()
