"""What is over is freed at once: nothing waits for the garbage collector.

A run or a connection that is part of a circle of references lies in memory until the
collector looks for it.  Thousands of them together stop the reactor for a third of a
second, and each costs a tenth of a request more than it would.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.gateway import Gateway, ask, post
from tests.integration.waiting import socket_test, until
from tests.support.fake_provider import FakeProvider, said

TURNS = 5


@contextmanager
def collected() -> Iterator[Counter[str]]:
    """Count, by type, what of ours only the collector has found in the block."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        kinds = [type(one) for one in gc.garbage]
        found.update(
            kind.__name__ for kind in kinds if kind.__module__.startswith("moltbot_gw")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize("stream", [False, True])
@socket_test
async def test_a_turn_and_its_connection_leave_no_circles(
    gateway: Gateway, provider: FakeProvider, stream: bool
) -> None:
    # Not true of failures: Twisted's own frames hold them, and they hold the frames.
    provider.default = said("fine")
    await post(gateway, ask("first", stream=stream))
    with collected() as found:
        for _ in range(TURNS):
            assert (await post(gateway, ask("go", stream=stream))).status == 200
        await until(lambda: not gateway.connections)
    assert not found
