"""``ResponsesProvider`` against a provider on real sockets.

What it shares with every other provider is tested beside ``OpenAIProvider``; here
stands what the format could break.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pytest_twisted import async_yield_fixture

from moltbot_gw.config import ModelEntry
from moltbot_gw.config.model_providers import Compat
from moltbot_gw.errors import (
    GatewayError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    ProviderUnauthorized,
)
from moltbot_gw.events import Completion, ReasoningState, TextDelta, Usage
from moltbot_gw.messages import ModelRequest, SamplingOptions, UserMessage
from tests.integration.waiting import (
    clean_reactor,
    next_turn,
    reactor,
    socket_test,
    within,
)
from tests.providers.calling import KEY, Caller
from tests.support import fake_responses as responses
from tests.support.fake_provider import (
    CLOSE,
    RESET,
    STALL,
    FakeProvider,
    plain,
    streamed,
    until_close,
)
from tests.wire.test_anthropic_replies import calls

REQUEST = ModelRequest(
    model="gpt-1", system="Be kind.", messages=(UserMessage(content="hi"),)
)

clean = async_yield_fixture(name="clean")(clean_reactor)


async def _provider(clean: None) -> AsyncIterator[FakeProvider]:
    provider = await responses.listening(reactor)
    yield provider
    await provider.stop()


provider = async_yield_fixture(name="provider")(_provider)


def _caller_of(base_url: str, **members: Any) -> Caller:
    return Caller("gpt", base_url, api="openai-responses", **members)


async def _caller(provider: FakeProvider) -> AsyncIterator[Caller]:
    caller = _caller_of(provider.base_url)
    yield caller
    await next_turn()
    await caller.adapter.close()


caller = async_yield_fixture(name="caller")(_caller)


@pytest.mark.parametrize("end", ["", "/"])
@socket_test
async def test_where_and_with_what_it_asks(provider: FakeProvider, end: str) -> None:
    caller = _caller_of(provider.base_url + end)
    await caller.stream(REQUEST)
    [asked] = provider.requests
    assert asked.line == "POST /v1/responses HTTP/1.1"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["instructions"] == "Be kind."
    assert asked.body["store"] is False
    await next_turn()
    await caller.adapter.close()


@socket_test
async def test_what_is_known_of_a_model(provider: FakeProvider) -> None:
    compat = Compat(supports_reasoning_effort=False)
    models = (
        ModelEntry(id="gpt-1", name="1", max_tokens=5000, reasoning=True),
        ModelEntry(id="gpt-2", name="2", compat=compat),
    )
    caller = _caller_of(provider.base_url, models=models)
    for model in ("gpt-1", "gpt-2", "gpt-3"):
        options = SamplingOptions(reasoning_effort="low")
        request = ModelRequest(
            model=model, system="", messages=REQUEST.messages, options=options
        )
        await caller.stream(request)
    first, second, third = (asked.body for asked in provider.requests)
    assert first["max_output_tokens"] == 5000
    assert first["include"] == ["reasoning.encrypted_content"]
    assert not second.keys() & {"max_output_tokens", "include", "reasoning"}
    assert third["reasoning"]["effort"] == "low"
    await next_turn()
    await caller.adapter.close()


@socket_test
async def test_whole_stream(provider: FakeProvider, caller: Caller) -> None:
    provider.scripts.append(responses.called(("c1", "look", '{"at": "x"}')))
    completion = await caller.stream(REQUEST)
    assert calls(caller.sink.events) == [("c1", "look", '{"at": "x"}')]
    [state] = [e for e in caller.sink.events if isinstance(e, ReasoningState)]
    assert '"gpt-1"' in state.data
    assert completion == Completion(
        finish_reason="tool_calls",
        usage=Usage(
            prompt_tokens=7,
            completion_tokens=3,
            total_tokens=10,
            cached_tokens=5,
            reasoning_tokens=2,
        ),
    )


@socket_test
async def test_server_that_does_not_stream(
    provider: FakeProvider, caller: Caller
) -> None:
    body = responses.response("completed", responses.message(0, "Hello"))
    provider.scripts.append(plain(200, body))
    completion = await caller.stream(REQUEST)
    assert caller.sink.events == [TextDelta("Hello")]
    assert (completion.finish_reason, completion.usage.total_tokens) == ("stop", 10)


@socket_test
async def test_stream_without_a_length_is_whole_by_its_own_end(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(until_close(responses.words(0, "x") + responses.finish()))
    assert (await caller.stream(REQUEST)).finish_reason == "stop"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, ProviderUnauthorized), (429, ProviderOverloaded), (400, ProviderFailed)],
)
@socket_test
async def test_error_statuses(
    provider: FakeProvider, caller: Caller, status: int, expected: type[GatewayError]
) -> None:
    body = responses.refused("bad", f"no luck with {KEY}")
    provider.scripts.append(plain(status, body))
    assert type(await caller.failure(REQUEST)) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [("rate_limit_exceeded", ProviderOverloaded), ("server_error", ProviderFailed)],
)
@pytest.mark.parametrize("tell", [responses.failed, responses.failure])
@socket_test
async def test_failure_told_in_the_stream(
    provider: FakeProvider,
    caller: Caller,
    tell: Any,
    code: str,
    expected: type[GatewayError],
) -> None:
    told = responses.words(0, "x") + tell(code, f"no luck with {KEY}")
    provider.scripts.append(streamed(told, STALL))
    error = await caller.failure(REQUEST)
    assert type(error) is expected
    assert error.message == 'The model provider "gpt" failed: no luck with ***.'
    assert caller.sink.text == "x"
    await within(1, provider.connections[0].when_closed())


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize(
    "before", [responses.words(0, "x"), responses.call(0, "c", "look", "{}")]
)
@socket_test
async def test_stream_that_is_cut(
    provider: FakeProvider, caller: Caller, before: bytes, end: Any
) -> None:
    provider.scripts.append(streamed(before, end))
    assert type(await caller.failure(REQUEST)) is ProviderFailed


@socket_test
async def test_silence(provider: FakeProvider) -> None:
    caller = _caller_of(provider.base_url, idle=0.1)
    provider.scripts.append(streamed(responses.words(0, "x"), STALL))
    assert isinstance(await caller.failure(REQUEST), ProviderTimedOut)
    await within(1, provider.connections[0].when_closed())
    await caller.adapter.close()
