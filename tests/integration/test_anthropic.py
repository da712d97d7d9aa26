"""A model that speaks Anthropic Messages, for the ``openai`` package at the gateway.

The client runs a tool of its own: it is streamed a call, and sends the result.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
from pytest_twisted import async_yield_fixture

from tests.integration.gateway import PROVIDER_KEY, TOKEN, Gateway, configuration
from tests.integration.waiting import in_thread, reactor, socket_test
from tests.support import fake_anthropic as anthropic
from tests.support.fake_provider import FakeProvider

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Look around.",
            "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
        },
    }
]


async def _provider(clean: None) -> AsyncIterator[FakeProvider]:
    provider = await anthropic.listening(reactor)
    yield provider
    await provider.stop()


async def _gateway(provider: FakeProvider, tmp_path: Path) -> AsyncIterator[Gateway]:
    api = {"api": "anthropic-messages"}
    more: Any = {"models": {"providers": {"local": api}}}
    gateway = await Gateway(tmp_path, configuration(provider, **more)).start()
    yield gateway
    await gateway.stop()


provider = async_yield_fixture(name="provider")(_provider)
gateway = async_yield_fixture(name="gateway")(_gateway)


class Turn:
    """What one streamed answer came to, put together as a client does."""

    def __init__(self, chunks: list[Any]) -> None:
        self.finish_reason: str | None = None
        self.usage: Any = None
        self.words = self.thoughts = self.arguments = ""
        self.call_id = self.name = ""
        for chunk in chunks:
            self.usage = chunk.usage or self.usage
            for choice in chunk.choices:
                self.finish_reason = choice.finish_reason or self.finish_reason
                self._add(choice.delta)

    def _add(self, delta: Any) -> None:
        self.words += delta.content or ""
        self.thoughts += getattr(delta, "reasoning_content", None) or ""
        for piece in delta.tool_calls or ():
            assert piece.index == 0
            self.call_id = piece.id or self.call_id
            self.name = piece.function.name or self.name
            self.arguments += piece.function.arguments or ""


def converse(base_url: str, **more: Any) -> tuple[Turn, Turn]:
    """Ask, run the tool that is called, and hear the answer.

    *more* goes into both requests.
    """
    plain_http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(
        base_url=base_url,
        api_key=TOKEN,
        max_retries=0,
        timeout=10.0,
        http_client=plain_http,
    ) as client:

        def ask(messages: list[Any]) -> Turn:
            stream: Any = client.chat.completions.create(
                model="moltbot",
                messages=messages,
                tools=TOOLS,
                stream=True,
                stream_options={"include_usage": True},
                reasoning_effort="low",
                **more,
            )
            return Turn(list(stream))

        messages: list[Any] = [{"role": "user", "content": "What is there?"}]
        first = ask(messages)
        function = {"name": first.name, "arguments": first.arguments}
        call = {"id": first.call_id, "type": "function", "function": function}
        messages += [
            {"role": "assistant", "content": first.words, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": first.call_id, "content": "a cat"},
        ]
        return first, ask(messages)


@socket_test
async def test_thoughts_and_a_call_of_the_clients_tool_are_streamed(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.scripts += [anthropic.called_and_thought(), anthropic.said("A ", "cat.")]
    first, second = await in_thread(converse, gateway.base_url)
    assert (first.thoughts, first.words) == ("Let me see", "Looking")
    assert (first.call_id, first.name, first.arguments) == (
        "toolu_1",
        "look",
        '{"at": "x"}',
    )
    assert first.finish_reason == "tool_calls"
    assert first.usage.prompt_tokens == 12
    assert first.usage.prompt_tokens_details.cached_tokens == 5
    assert (second.words, second.finish_reason) == ("A cat.", "stop")

    asked, then = provider.requests
    assert asked.headers["x-api-key"] == PROVIDER_KEY
    assert asked.body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert asked.body["tools"][-1]["cache_control"] == {"type": "ephemeral"}
    assert asked.body["system"][-1]["cache_control"] == {"type": "ephemeral"}
    assert then.body["system"] == asked.body["system"]
    assert then.roles == ["user", "assistant", "user"]
    assert then.body["messages"][1]["content"] == [
        {"type": "text", "text": "Looking"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}},
    ]
    assert then.body["messages"][2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "a cat"}],
        }
    ]


@socket_test
async def test_session_that_lasts_gives_the_model_its_thoughts_back(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.scripts += [anthropic.called_and_thought(), anthropic.said("A ", "cat.")]
    await in_thread(lambda: converse(gateway.base_url, user="alice"))
    _, then = provider.requests
    assert then.body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert then.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Let me see", "signature": "c2lnbmVk"},
        {"type": "text", "text": "Looking"},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x"}},
    ]


@socket_test
async def test_failure_inside_a_stream_is_raised(
    gateway: Gateway, provider: FakeProvider
) -> None:
    told = anthropic.failure("overloaded_error", "Overloaded")
    provider.scripts.append(anthropic.played([anthropic.words(0, "Hel"), told]))

    def work() -> str | None:
        try:
            converse(gateway.base_url)
        except openai.APIError as error:
            return error.code
        return None

    assert await in_thread(work) == "provider_overloaded"
