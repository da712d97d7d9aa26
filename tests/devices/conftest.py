"""A store on a folder, on a fake clock, with a thread that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from moltbot_gw.devices.pairing import PairingStore
from tests.devices.support import Thread, Time

MakeStore = Callable[[], PairingStore]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "devices"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def thread() -> Thread:
    return Thread()


@pytest.fixture
def make_store(folder: Path, time: Time, thread: Thread) -> MakeStore:
    """Each call makes what a start of the gateway would make."""
    return lambda: PairingStore(folder, unix_time=time, run_in_thread=thread)


@pytest.fixture
def store(make_store: MakeStore) -> PairingStore:
    return make_store()


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[str]]:
    """What is logged; a failure that is logged fails the test."""
    told: list[str] = []
    failures: list[object] = []

    def observe(event: LogEvent) -> None:
        told.append(formatEvent(event))
        if "log_failure" in event:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield told
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    assert failures == []
