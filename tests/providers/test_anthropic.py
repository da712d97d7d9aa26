"""``AnthropicProvider`` against a provider on real sockets.

What it shares with every other provider is tested beside ``OpenAIProvider`` too; here
stands what the format could break.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pytest_twisted import async_yield_fixture
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider as provides

from moltbot_gw.config import ModelEntry, Secret
from moltbot_gw.config.model_providers import Compat
from moltbot_gw.errors import (
    GatewayError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    ProviderUnauthorized,
)
from moltbot_gw.events import (
    Completion,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.messages import ModelRequest, SamplingOptions, UserMessage
from tests.integration.waiting import (
    clean_reactor,
    next_turn,
    reactor,
    socket_test,
    start,
    until,
    within,
)
from tests.providers.calling import HEADER_KEY, KEY, Caller, secrets_in
from tests.providers.test_streaming import RecordingSink
from tests.support import fake_anthropic as anthropic
from tests.support.fake_anthropic import called_and_thought, played, words
from tests.support.fake_provider import (
    CLOSE,
    RESET,
    STALL,
    FakeProvider,
    ProviderRequest,
    plain,
    streamed,
    until_close,
)

REQUEST = ModelRequest(
    model="claude-1", system="Be kind.", messages=(UserMessage(content="hi"),)
)

clean = async_yield_fixture(name="clean")(clean_reactor)


async def _provider(clean: None) -> AsyncIterator[FakeProvider]:
    provider = await anthropic.listening(reactor)
    yield provider
    await provider.stop()


provider = async_yield_fixture(name="provider")(_provider)


def _caller_of(base_url: str, **members: Any) -> Caller:
    return Caller("claude", base_url, api="anthropic-messages", **members)


async def _caller(provider: FakeProvider) -> AsyncIterator[Caller]:
    caller = _caller_of(provider.base_url)
    yield caller
    await next_turn()
    await caller.adapter.close()


caller = async_yield_fixture(name="caller")(_caller)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[str]]:
    """What is logged; there is no secret in it, and no traceback."""
    lines: list[str] = []

    @provides(ILogObserver)
    def note(event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("moltbot_gw"):
            assert "log_failure" not in event
            lines.append(f"{formatEvent(event)} {event}")

    globalLogPublisher.addObserver(note)
    yield lines
    globalLogPublisher.removeObserver(note)
    assert not secrets_in("\n".join(lines))


# -- what is asked


async def _ask(
    provider: FakeProvider,
    request: ModelRequest = REQUEST,
    base_url: str | None = None,
    **members: Any,
) -> ProviderRequest:
    """Return what *provider* is sent for *request*."""
    caller = _caller_of(base_url or provider.base_url, **members)
    await caller.stream(request)
    await next_turn()
    await caller.adapter.close()
    return provider.requests[-1]


@socket_test
async def test_key_and_version_are_sent(provider: FakeProvider) -> None:
    asked = await _ask(provider)
    assert asked.line == "POST /v1/messages HTTP/1.1"
    assert asked.headers["x-api-key"] == KEY
    assert asked.headers["anthropic-version"] == "2023-06-01"
    assert asked.headers["x-second"] == HEADER_KEY
    assert "authorization" not in asked.headers
    assert asked.body["system"][0]["text"] == "Be kind."


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/anthropic", "/anthropic/v1"])
@socket_test
async def test_address_with_and_without_its_version(
    provider: FakeProvider, end: str
) -> None:
    root = provider.base_url.removesuffix("/v1")
    asked = await _ask(provider, base_url=root + end)
    path = "/anthropic/v1/messages" if "anthropic" in end else "/v1/messages"
    assert asked.line == f"POST {path} HTTP/1.1"


@pytest.mark.parametrize(
    ("members", "sent"),
    [
        ({"auth_header": True}, {"authorization": f"Bearer {KEY}"}),
        ({"auth_header": False}, {"x-api-key": KEY}),
        ({"api_key": None}, {}),
        ({"headers": {"X-Api-Key": Secret("other")}}, {"x-api-key": "other"}),
    ],
)
@socket_test
async def test_ways_to_send_the_key(
    provider: FakeProvider, members: dict[str, Any], sent: dict[str, str]
) -> None:
    asked = await _ask(provider, **members)
    names = asked.headers.keys() & {"authorization", "x-api-key"}
    assert {name: asked.headers[name] for name in names} == sent


@socket_test
async def test_limits_of_a_model(provider: FakeProvider) -> None:
    compat = Compat(supports_reasoning_effort=False)
    models = (
        ModelEntry(id="claude-1", name="1", max_tokens=5000),
        ModelEntry(id="claude-2", name="2", compat=compat),
        ModelEntry(id="claude-4", name="4", compat=Compat(adaptive_thinking=True)),
    )
    bodies = {}
    for name in ("claude-1", "claude-2", "claude-3", "claude-4"):
        options = SamplingOptions(reasoning_effort="low")
        request = ModelRequest(
            model=name, system="", messages=REQUEST.messages, options=options
        )
        bodies[name] = (await _ask(provider, request, models=models)).body
    assert bodies["claude-1"]["max_tokens"] == 5000
    assert bodies["claude-1"]["thinking"]["budget_tokens"] == 2048
    assert "thinking" not in bodies["claude-2"]
    assert bodies["claude-3"]["max_tokens"] == 8192
    assert bodies["claude-3"]["thinking"]["budget_tokens"] == 2048
    assert bodies["claude-4"]["output_config"] == {"effort": "low"}


# -- answers


def _joined(events: list[ModelEvent], kind: type[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


@socket_test
async def test_whole_stream(provider: FakeProvider, caller: Caller) -> None:
    provider.scripts.append(called_and_thought())
    completion = await caller.stream(REQUEST)
    events = caller.sink.events
    assert _joined(events, ReasoningDelta) == "Let me see"
    assert _joined(events, TextDelta) == "Looking"
    begun, *pieces = (e for e in events if isinstance(e, ToolCallDelta))
    assert begun == ToolCallDelta(index=0, id="toolu_1", name="look")
    assert "".join(piece.arguments for piece in pieces) == '{"at": "x"}'
    assert completion == Completion(
        finish_reason="tool_calls",
        usage=Usage(
            prompt_tokens=12, completion_tokens=3, total_tokens=15, cached_tokens=5
        ),
    )


@socket_test
async def test_server_that_does_not_stream(
    provider: FakeProvider, caller: Caller
) -> None:
    body = anthropic.reply({"type": "text", "text": "Hello"}, reason="max_tokens")
    provider.scripts.append(plain(200, body))
    completion = await caller.stream(REQUEST)
    assert caller.sink.events == [TextDelta("Hello")]
    assert completion.finish_reason == "length"
    assert completion.usage.total_tokens == 10


@pytest.mark.parametrize(
    "ending", [anthropic.STOP, anthropic.finish(), anthropic.finish() + anthropic.STOP]
)
@socket_test
async def test_stream_without_a_length_is_whole_by_its_own_end(
    provider: FakeProvider, caller: Caller, ending: bytes
) -> None:
    provider.scripts.append(until_close(words(0, "x") + ending))
    assert (await caller.stream(REQUEST)).finish_reason == "stop"
    await provider.connections[0].when_closed()


@socket_test
async def test_two_streams_share_one_connection(
    provider: FakeProvider, caller: Caller
) -> None:
    for _ in range(3):
        await caller.stream(REQUEST)
        await next_turn()
    assert len(provider.requests) == 3
    assert len(provider.connections) == 1


# -- failures


@pytest.mark.parametrize("status", [401, 403])
@socket_test
async def test_refused_key(
    provider: FakeProvider, caller: Caller, status: int, log: list[str]
) -> None:
    body = anthropic.refused("authentication_error", f"invalid x-api-key {KEY}")
    provider.scripts.append(plain(status, body))
    error = await caller.failure(REQUEST)
    assert isinstance(error, ProviderUnauthorized)
    assert f"provider claude answered {status}: " in log[0]
    assert KEY not in log[0]


@pytest.mark.parametrize("status", [429, 503, 529])
@socket_test
async def test_overloaded_provider(
    provider: FakeProvider, caller: Caller, status: int
) -> None:
    body = anthropic.refused("overloaded_error", "Overloaded")
    provider.scripts.append(plain(status, body, Retry_After="17"))
    error = await caller.failure(REQUEST)
    assert isinstance(error, ProviderOverloaded)
    assert error.retry_after == 17
    assert "Overloaded" in error.message


@pytest.mark.parametrize("status", [400, 404, 418, 500])
@socket_test
async def test_other_statuses(
    provider: FakeProvider, caller: Caller, status: int
) -> None:
    body = anthropic.refused("invalid_request_error", f"max_tokens: {KEY}")
    provider.scripts.append(plain(status, body))
    error = await caller.failure(REQUEST)
    assert type(error) is ProviderFailed
    assert error.message == (
        f'The model provider "claude" answered {status}: max_tokens: ***.'
    )


@pytest.mark.parametrize("before", [b"", words(0, "x")])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", ProviderOverloaded),
        ("rate_limit_error", ProviderOverloaded),
        ("api_error", ProviderFailed),
    ],
)
@socket_test
async def test_failure_told_in_the_stream(
    provider: FakeProvider,
    caller: Caller,
    before: bytes,
    kind: str,
    expected: type[GatewayError],
) -> None:
    told = anthropic.failure(kind, f"no luck with {KEY}")
    provider.scripts.append(streamed(anthropic.start() + before + told, STALL))
    error = await caller.failure(REQUEST)
    assert type(error) is expected
    assert error.message == 'The model provider "claude" failed: no luck with ***.'
    assert caller.sink.text == ("x" if before else "")
    await within(1, provider.connections[0].when_closed())


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize(
    "before",
    [
        anthropic.start(),
        words(0, "x"),
        anthropic.begin(0, "tool_use", id="t", name="look")
        + anthropic.grow(0, "input_json_delta", partial_json='{"a'),
        anthropic.call(0, "t", "look", "{}"),
    ],
)
@socket_test
async def test_stream_that_is_cut(
    provider: FakeProvider, caller: Caller, before: bytes, end: Any
) -> None:
    provider.scripts.append(streamed(before, end))
    error = await caller.failure(REQUEST)
    assert type(error) is ProviderFailed
    # A reset may overtake what was sent before it.
    assert "in the middle" in error.message or "without an answer" in error.message


@socket_test
async def test_page_instead_of_a_stream(provider: FakeProvider, caller: Caller) -> None:
    provider.scripts.append(plain(200, b"<html>", Content_Type="text/html"))
    assert type(await caller.failure(REQUEST)) is ProviderFailed


@pytest.mark.parametrize(
    "script", [[STALL], streamed(anthropic.start() + words(0, "x"), STALL)]
)
@socket_test
async def test_silence(provider: FakeProvider, script: Any) -> None:
    caller = _caller_of(provider.base_url, idle=0.1)
    provider.scripts.append(script)
    assert isinstance(await caller.failure(REQUEST), ProviderTimedOut)
    await within(1, provider.connections[0].when_closed())
    await caller.adapter.close()


# -- flow


async def _cancelled(waiting: Deferred[Completion]) -> None:
    with pytest.raises(CancelledError):
        await waiting


@pytest.mark.parametrize("shown", [False, True])
@socket_test
async def test_cancel_closes_the_socket(
    provider: FakeProvider, caller: Caller, shown: bool
) -> None:
    opening = streamed(anthropic.start() + words(0, "x"), STALL)
    provider.scripts.append(opening if shown else [STALL])
    streaming = caller.stream(REQUEST)
    waiting = start(_cancelled(streaming))
    asked = await within(5, provider.when_asked())
    if shown:
        await until(lambda: caller.sink.events)
    streaming.cancel()
    await waiting
    await within(1, asked.connection.when_closed())
    assert caller.sink.source is None


@socket_test
async def test_pause_stops_reading_and_resume_goes_on(
    provider: FakeProvider, caller: Caller
) -> None:
    text = "x" * 4096
    texts = [text] * 4000
    provider.scripts.append(played(anthropic.whole(words(0, *texts))))
    caller.sink = RecordingSink(pause_at=1)
    streaming = caller.stream(REQUEST)
    asked = await within(5, provider.when_asked())
    await until(lambda: asked.connection.paused)
    read = len(caller.sink.text)
    await next_turn()
    assert asked.connection.paused
    assert len(caller.sink.text) == read
    caller.sink.resume()
    assert (await streaming).finish_reason == "stop"
    assert caller.sink.text == text * len(texts)
