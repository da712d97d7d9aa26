"""A model that speaks OpenAI Responses, for the ``openai`` package at the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pytest_twisted import async_yield_fixture

from tests.integration.gateway import PROVIDER_KEY, Gateway, configuration
from tests.integration.test_anthropic import converse
from tests.integration.waiting import in_thread, reactor, socket_test
from tests.support import fake_responses as responses
from tests.support.fake_provider import FakeProvider


async def _provider(clean: None) -> AsyncIterator[FakeProvider]:
    provider = await responses.listening(reactor)
    yield provider
    await provider.stop()


async def _gateway(provider: FakeProvider, tmp_path: Path) -> AsyncIterator[Gateway]:
    api = {"api": "openai-responses"}
    more: Any = {"models": {"providers": {"local": api}}}
    gateway = await Gateway(tmp_path, configuration(provider, **more)).start()
    yield gateway
    await gateway.stop()


provider = async_yield_fixture(name="provider")(_provider)
gateway = async_yield_fixture(name="gateway")(_gateway)


@socket_test
async def test_thoughts_and_a_call_of_the_clients_tool_are_streamed(
    gateway: Gateway, provider: FakeProvider
) -> None:
    call = ("call_1", "look", '{"at": "x"}')
    provider.scripts += [responses.called(call), responses.said("A ", "cat.")]
    first, second = await in_thread(converse, gateway.base_url)
    assert (first.thoughts, first.words) == ("Let me see", "")
    assert (first.call_id, first.name, first.arguments) == call
    assert first.finish_reason == "tool_calls"
    assert first.usage.prompt_tokens_details.cached_tokens == 5
    assert first.usage.completion_tokens_details.reasoning_tokens == 2
    assert (second.words, second.finish_reason) == ("A cat.", "stop")

    asked, then = provider.requests
    assert asked.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert asked.body["reasoning"]["effort"] == "low"
    assert then.body["instructions"] == asked.body["instructions"]
    assert then.body["input"] == [
        *asked.body["input"],
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "look",
            "arguments": '{"at": "x"}',
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "a cat"},
    ]


@socket_test
async def test_session_that_lasts_gives_the_model_its_thoughts_back(
    gateway: Gateway, provider: FakeProvider
) -> None:
    call = ("call_1", "look", '{"at": "x"}')
    provider.scripts += [responses.called(call), responses.said("A ", "cat.")]
    await in_thread(lambda: converse(gateway.base_url, user="alice"))
    _, then = provider.requests
    assert then.body["input"][1:3] == [
        {
            "type": "reasoning",
            "id": "rs_0",
            "summary": [{"type": "summary_text", "text": "Let me see"}],
            "encrypted_content": "Z0FB",
        },
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "look",
            "arguments": '{"at": "x"}',
        },
    ]
