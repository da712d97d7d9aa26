"""Recorded answers in all formats, cut at every byte, through the real providers.

Whatever the cut, there is the same result or a clean failure, at once; and a call is
never told as whole while it is not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest_twisted import async_yield_fixture
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers

from moltbot_gw.config import ProviderEntry
from moltbot_gw.errors import (
    GatewayError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
)
from moltbot_gw.events import Completion, ReasoningDelta, ReasoningState, TextDelta
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.messages import ModelRequest, UserMessage
from moltbot_gw.providers.anthropic import AnthropicProvider
from moltbot_gw.providers.factory import build_provider
from moltbot_gw.providers.headers import FixedHeaders
from moltbot_gw.providers.httpmodel import ServerSettings
from moltbot_gw.providers.openai import OpenAIProvider
from moltbot_gw.providers.responses import ResponsesProvider
from moltbot_gw.wire.openai_request import Dialect
from tests.integration.waiting import (
    clean_reactor,
    fake_provider,
    next_turn,
    reactor,
    socket_test,
    start_stream,
    within,
)
from tests.providers.test_streaming import Body, RecordingSink
from tests.support.fake_provider import (
    CLOSE,
    END_OF_CHUNKS,
    RESET,
    FakeProvider,
    streamed,
    until_close,
)
from tests.wire.test_anthropic_replies import calls, said

FOLDER = Path(__file__).parent / "recordings"
APIS = ("openai-completions", "anthropic-messages", "openai-responses")
ANSWERS = ("text", "reasoning", "calls", "length", "refusal", "error")
IDLE = 30.0
REQUEST = ModelRequest(model="m1", system="", messages=(UserMessage("hi"),))
SETTINGS = ServerSettings(
    name="p",
    url="http://p",
    headers=FixedHeaders(Headers({})),
    model_headers={},
    secrets=(),
    idle_timeout=IDLE,
)


def recorded(api: str, answer: str) -> bytes:
    return (FOLDER / api / f"{answer}.sse").read_bytes()


class Answer(Body):
    """A response in memory, with the head of a stream."""

    code = 200
    headers = Headers({b"Content-Type": [b"text/event-stream; charset=utf-8"]})


class Line:
    """Stands in for ``ProviderClient``: each request gets the next answer."""

    def __init__(self) -> None:
        self.answer = Answer()

    def post(self, headers: FixedHeaders, body: bytes) -> Deferred[Answer]:
        return succeed(self.answer)


def _provider(api: str, line: Any, clock: IReactorTime) -> IModelProvider:
    made: IModelProvider
    if api == "anthropic-messages":
        made = AnthropicProvider(SETTINGS, {}, line, clock)
    elif api == "openai-responses":
        made = ResponsesProvider(SETTINGS, {}, line, clock)
    else:
        made = OpenAIProvider(SETTINGS, {}, Dialect(), line, clock)
    return made


class Result(msgspec.Struct):
    """What an answer came to; a failure by its kind and message."""

    text: str
    reasoning: str
    calls: list[tuple[str, str, str]]
    state: list[ReasoningState]
    completion: Completion | None = None
    failure: tuple[type[Exception], str] | None = None

    @property
    def finish_reason(self) -> str | None:
        return self.completion and self.completion.finish_reason


class Listener:
    """Hears one answer, and how it ends."""

    def __init__(self) -> None:
        self._sink = RecordingSink()
        self._end: Completion | Failure | None = None

    def ask(self, provider: IModelProvider) -> Deferred[None]:
        """Call *provider*; the Deferred fires at the end, and never fails."""
        return start_stream(provider, REQUEST, self._sink).addBoth(self._ended)

    def _ended(self, end: Completion | Failure) -> None:
        self._end = end

    def result(self) -> Result:
        """Return what the answer came to; nothing is left behind."""
        assert self._end is not None, "it hangs"
        assert self._sink.source is None
        events = self._sink.events
        result = Result(
            text=said(events, TextDelta),
            reasoning=said(events, ReasoningDelta),
            calls=calls(events),
            state=[event for event in events if isinstance(event, ReasoningState)],
        )
        if isinstance(self._end, Completion):
            result.completion = self._end
        else:
            error = self._end.value
            assert isinstance(error, GatewayError)
            result.failure = (type(error), error.message)
        return result


class Replay:
    """One answer that comes in pieces, in memory."""

    def __init__(self, api: str) -> None:
        self._line = Line()
        self._clock = Clock()
        self._listener = Listener()
        self._listener.ask(_provider(api, self._line, self._clock))

    def send(self, *pieces: bytes) -> Replay:
        for piece in pieces:
            self._line.answer.send(piece)
        return self

    def close(self, *, broken: bool = False) -> Replay:
        lost = [Failure(ConnectionLost())]
        self._line.answer.close(
            lambda: ResponseFailed(lost) if broken else ResponseDone()
        )
        return self

    def fall_silent(self) -> Replay:
        self._clock.advance(IDLE)
        return self

    def result(self) -> Result:
        """Return what it came to; no timer is left behind."""
        assert self._clock.getDelayedCalls() == []
        return self._listener.result()


def whole(api: str, answer: str) -> Result:
    return Replay(api).send(recorded(api, answer)).close().result()


CALLS = [("call_1", "look", '{"at": "Zürich"}'), ("call_2", "wait", '{"s": 2}')]
MEANT: dict[str, tuple[str, str, list[Any], str | None]] = {
    "text": ("Grüße,\u2028 Welt \U0001f30d!", "", [], "stop"),
    "reasoning": ("Yes.", "Let me see.", [], "stop"),
    "calls": ("Let me look.", "Both.", CALLS, "tool_calls"),
    "length": ("Half an", "", [], "length"),
    "refusal": ("I cannot.", "", [], "content_filter"),
    "error": ("Half an", "", [], None),
}
STOPPED = {
    "openai-completions": b'"finish_reason":"tool_calls"',
    "anthropic-messages": b'"stop_reason":"tool_use"',
    "openai-responses": b'"type":"response.completed"',
}
"""What tells, in each format, that the calls of an answer are all there."""

every_recording = pytest.mark.parametrize(
    ("api", "answer"), [(api, answer) for api in APIS for answer in ANSWERS]
)


@every_recording
def test_recording_says_the_same_in_every_format(api: str, answer: str) -> None:
    result = whole(api, answer)
    assert MEANT[answer] == (
        result.text,
        result.reasoning,
        result.calls,
        result.finish_reason,
    )
    thinks = answer == "calls" and api != "openai-completions"
    assert len(result.state) == (1 if thinks else 0)
    if answer == "error":
        told = 'The model provider "p" failed: Slow down.'
        assert result.failure == (ProviderOverloaded, told)
    else:
        assert result.completion is not None
        usage = result.completion.usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (7, 3)
        assert (usage.cached_tokens, usage.reasoning_tokens) == (5, 2)


@every_recording
def test_recording_cut_in_two_at_every_byte_gives_the_same(
    api: str, answer: str
) -> None:
    data, expected = recorded(api, answer), whole(api, answer)
    for cut in range(len(data) + 1):
        replay = Replay(api).send(data[:cut], data[cut:]).close()
        assert replay.result() == expected


@every_recording
def test_recording_byte_by_byte_gives_the_same(api: str, answer: str) -> None:
    data = recorded(api, answer)
    pieces = [data[i : i + 1] for i in range(len(data))]
    assert Replay(api).send(*pieces).close().result() == whole(api, answer)


def check_cut(result: Result, expected: Result) -> None:
    """Check that *result*, of a shorter stream, is whole or says that it is not."""
    assert expected.text.startswith(result.text)
    assert expected.reasoning.startswith(result.reasoning)
    if result.completion is not None:
        assert expected.completion is not None
        assert result.finish_reason == expected.finish_reason
        assert (result.text, result.reasoning) == (expected.text, expected.reasoning)
        assert (result.calls, result.state) == (expected.calls, expected.state)
    else:
        assert result.failure is not None
        assert issubclass(result.failure[0], (ProviderFailed, ProviderTimedOut))


@every_recording
def test_recording_that_breaks_off_at_any_byte_is_whole_or_a_failure(
    api: str, answer: str
) -> None:
    data, expected = recorded(api, answer), whole(api, answer)
    for cut in range(len(data) + 1):
        result = Replay(api).send(data[:cut]).close(broken=bool(cut % 2)).result()
        check_cut(result, expected)
        # Half a call may be shown as it grows; it ends when the model says so.
        assert cut > data.find(STOPPED[api]) or result.failure is not None


@pytest.mark.parametrize("api", APIS)
def test_recording_that_falls_silent_at_any_byte_is_whole_or_times_out(
    api: str,
) -> None:
    data, expected = recorded(api, "calls"), whole(api, "calls")
    for cut in range(len(data) + 1):
        check_cut(Replay(api).send(data[:cut]).fall_silent().result(), expected)


# -- over real sockets


clean = async_yield_fixture(name="clean")(clean_reactor)
provider = async_yield_fixture(name="provider")(fake_provider)


class Caller:
    """The providers of all formats, at one server."""

    def __init__(self, base_url: str) -> None:
        self._made = {
            api: build_provider(
                "p", ProviderEntry(base_url=base_url, api=api, models=()), {}, reactor
            )
            for api in APIS
        }

    async def ask(self, api: str) -> Result:
        """Return what the server's next answer comes to."""
        listener = Listener()
        await within(5, listener.ask(self._made[api]))
        return listener.result()

    async def close(self) -> None:
        await next_turn()
        for made in self._made.values():
            await made.close()


async def _caller(provider: FakeProvider) -> AsyncIterator[Caller]:
    caller = Caller(provider.base_url)
    yield caller
    await caller.close()


caller = async_yield_fixture(name="caller")(_caller)


@every_recording
@socket_test
async def test_recording_over_a_socket(
    provider: FakeProvider, caller: Caller, api: str, answer: str
) -> None:
    data = recorded(api, answer)
    pieces = [data[i : i + 100] for i in range(0, len(data), 100)]
    provider.scripts += [streamed(*pieces, END_OF_CHUNKS), until_close(data)]
    expected = whole(api, answer)
    assert await caller.ask(api) == expected
    assert await caller.ask(api) == expected


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("end", [CLOSE, RESET])
@socket_test
async def test_connection_that_breaks_in_the_middle_of_a_recording(
    provider: FakeProvider, caller: Caller, api: str, end: Any
) -> None:
    data, expected = recorded(api, "calls"), whole(api, "calls")
    for cut in range(1, len(data), len(data) // 12):
        provider.scripts.append(streamed(data[:cut], end))
        check_cut(await caller.ask(api), expected)
