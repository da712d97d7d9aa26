"""Fixtures of the command's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pytest_twisted import async_yield_fixture

from tests.cli.support import Cli, in_greenlet
from tests.integration import waiting
from tests.integration.waiting import reactor
from tests.support.fake_gateway import FakeGateway


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Let each test of this folder wait for the reactor, save for properties."""
    if not hasattr(pyfuncitem.obj, "hypothesis"):
        pyfuncitem.obj = in_greenlet(pyfuncitem.obj)


async def _fake(clean: None) -> AsyncIterator[FakeGateway]:
    """A fake gateway that listens."""
    gateway = await FakeGateway(reactor).listen()
    yield gateway
    await gateway.stop()


clean = async_yield_fixture(name="clean")(waiting.clean_reactor)
fake = async_yield_fixture(name="fake")(_fake)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A command on a machine where nothing is configured."""
    return Cli(tmp_path, monkeypatch)


@pytest.fixture
def cli(alone: Cli, fake: FakeGateway) -> Cli:
    """A command whose gateway is the fake one."""
    alone.use(fake)
    return alone
