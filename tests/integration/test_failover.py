"""Failover from one real server to the next."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.cooldowns import CooldownPolicy
from moltbot_gw.agents.failover import Candidate, Failover
from moltbot_gw.agents.providerhealth import ProviderHealth
from moltbot_gw.config import ProviderEntry
from moltbot_gw.events import AttemptFailed, Completion
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.messages import ModelRequest, UserMessage
from moltbot_gw.providers.factory import build_provider
from tests.integration.waiting import (
    next_turn,
    reactor,
    socket_test,
    start_stream,
    within,
)
from tests.providers.test_streaming import RecordingSink
from tests.support.fake_provider import FakeProvider, plain, said


async def _call(
    adapters: dict[str, IModelProvider], told: list[AttemptFailed]
) -> tuple[Completion, ModelRef, RecordingSink]:
    """Ask each of *adapters* for its model ``m`` until one answers."""
    sink = RecordingSink()
    health = ProviderHealth(
        providers=adapters,
        policy=CooldownPolicy(),
        clock=Clock(),
        unix_time=lambda: 0.0,
    )

    def attempt(model: ModelRef, provider: IModelProvider) -> Deferred[Completion]:
        request = ModelRequest(
            model=model.model, system="", messages=(UserMessage("hi"),)
        )
        return within(10, start_stream(provider, request, sink))

    completion, model = await Failover(health).call(
        [Candidate(ModelRef(name, "m"), each) for name, each in adapters.items()],
        attempt,
        spoken=lambda: bool(sink.text),
        run_id="run-1",
        told=told.append,
    )
    return completion, model, sink


@socket_test
async def test_from_a_dead_server_over_a_busy_one_to_one_that_answers(
    provider: FakeProvider,
) -> None:
    dead = await FakeProvider(reactor).listen()
    await dead.stop()
    provider.scripts += [
        plain(429, {"error": {"message": "Slowly."}}, Retry_After="70"),
        said("Hello", reason="stop", tokens=(1, 1)),
    ]
    urls = {"a": dead.base_url, "b": provider.base_url, "c": provider.base_url}
    adapters: dict[str, Any] = {
        name: build_provider(name, ProviderEntry(base_url=url, models=()), {}, reactor)
        for name, url in urls.items()
    }
    told: list[AttemptFailed] = []
    _, model, sink = await _call(adapters, told)
    assert (str(model), sink.text) == ("c/m", "Hello")
    assert [(each.model, each.reason, each.retry_after) for each in told] == [
        ("a/m", "unreachable", None),
        ("b/m", "rate_limit", 70),
    ]
    await next_turn()
    for adapter in adapters.values():
        await adapter.close()
