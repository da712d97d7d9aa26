"""Fixtures of the client's tests on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pytest_twisted import async_yield_fixture

from tests.integration import waiting
from tests.integration.waiting import reactor
from tests.support.fake_gateway import FakeGateway


async def _fake(clean: None) -> AsyncIterator[FakeGateway]:
    """A fake gateway that is not listening yet."""
    gateway = FakeGateway(reactor)
    yield gateway
    await gateway.stop()


clean = async_yield_fixture(name="clean")(waiting.clean_reactor)
fake = async_yield_fixture(name="fake")(_fake)
