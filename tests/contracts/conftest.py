"""Every implementation of the session store, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moltbot_gw.sessions import SqliteSessionStore
from tests.contracts.support import Subject
from tests.sessions.support import Pump
from tests.support.memory_store import MemorySessionStore


@pytest.fixture(params=["sqlite", "memory"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    pump = Pump()
    if request.param == "memory":
        yield Subject(MemorySessionStore(), pump)
        return
    store = SqliteSessionStore(tmp_path / "sessions.sqlite", pump)
    assert pump.wait(store.open()) == 0
    yield Subject(store, pump)
    pump.wait(store.close())
