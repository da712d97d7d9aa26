"""``OpenAIProvider`` against a provider on real sockets: every way to fail, and cancel.

The provider says its own words in every failure; among them the key that it was sent,
which must not come out anywhere.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import async_yield_fixture
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import (
    ILogObserver,
    LogEvent,
    formatEvent,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import provider as provides

from moltbot_gw.config import ProviderEntry, Secret
from moltbot_gw.errors import (
    ContextOverflow,
    GatewayError,
    ProviderFailed,
    ProviderOverloaded,
    ProviderTimedOut,
    ProviderUnauthorized,
)
from moltbot_gw.events import (
    Completion,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from moltbot_gw.messages import ModelRequest, UserMessage
from moltbot_gw.providers.factory import build_provider
from moltbot_gw.providers.openai import OpenAIProvider
from moltbot_gw.wire.openai import MAX_EVENT_BYTES
from tests.integration.waiting import (
    clean_reactor,
    fake_provider,
    next_turn,
    reactor,
    socket_test,
    start,
    start_stream,
    until,
    within,
)
from tests.providers.test_client import NoNames
from tests.providers.test_streaming import RecordingSink
from tests.support.fake_provider import (
    CLOSE,
    DONE,
    END_OF_CHUNKS,
    RESET,
    STALL,
    FakeProvider,
    Script,
    call_piece,
    delta,
    event,
    finish,
    head,
    plain,
    said,
    streamed,
    until_close,
)
from tests.support.tls import Authority

# Twisted gives pyOpenSSL what pyOpenSSL no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

KEY = "sk-test-0123456789abcdef"
HEADER_KEY = "second-secret-value"
REQUEST = ModelRequest(model="m1", system="", messages=(UserMessage(content="hi"),))

clean = async_yield_fixture(name="clean")(clean_reactor)
provider = async_yield_fixture(name="provider")(fake_provider)


class Caller:
    """An adapter to one fake provider, and what its answers came to."""

    def __init__(
        self, base_url: str, io: Any = reactor, *, idle: float = 10.0, **members: Any
    ) -> None:
        entry = ProviderEntry(
            base_url=base_url,
            api_key=Secret(KEY),
            headers={"X-Second": Secret(HEADER_KEY)},
            models=(),
            idle_timeout_seconds=idle,
            **members,
        )
        self.adapter: OpenAIProvider = build_provider("local", entry, {}, io)
        self.sink = RecordingSink()

    def stream(self, request: ModelRequest = REQUEST) -> Deferred[Completion]:
        return within(10, start_stream(self.adapter, request, self.sink))

    async def failure(self) -> GatewayError:
        """Return what a stream fails with; there is no secret in it."""
        with pytest.raises(GatewayError) as caught:
            await self.stream()
        error = caught.value
        assert error.__cause__ is None
        assert not _secrets_in(f"{error.message} {error!r}")
        assert self.sink.source is None
        return error


def _secrets_in(text: str) -> list[str]:
    return [secret for secret in (KEY, HEADER_KEY) if secret in text]


async def _caller(provider: FakeProvider) -> AsyncIterator[Caller]:
    caller = Caller(provider.base_url)
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
    assert not _secrets_in("\n".join(lines))


# -- answers


@socket_test
async def test_whole_stream(provider: FakeProvider, caller: Caller) -> None:
    provider.scripts.append(said("Hel", "lo", reason="length", tokens=(7, 3)))
    completion = await caller.stream()
    assert caller.sink.text == "Hello"
    assert completion.finish_reason == "length"
    assert completion.usage == Usage(
        prompt_tokens=7, completion_tokens=3, total_tokens=10
    )


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
    ],
)
@socket_test
async def test_finish_reasons(
    provider: FakeProvider, caller: Caller, told: str, meant: str
) -> None:
    provider.scripts.append(said("x", reason=told))
    assert (await caller.stream()).finish_reason == meant


@pytest.mark.parametrize("reason", ["tool_calls", "function_call", "stop"])
@socket_test
async def test_call_is_told_whatever_the_finish_reason(
    provider: FakeProvider, caller: Caller, reason: str
) -> None:
    first, *more = call_piece(0, id="c1", name="f"), call_piece(0, '{"a":1}')
    provider.scripts.append(until_close(first, *more, finish(reason), DONE))
    assert (await caller.stream()).finish_reason == "tool_calls"
    start, *pieces = caller.sink.events
    assert isinstance(start, ToolCallDelta)
    assert (start.index, start.id, start.name) == (0, "c1", "f")
    assert all(isinstance(piece, ToolCallDelta) for piece in pieces)
    said = [event.arguments for event in (start, *pieces)]  # type: ignore[union-attr]
    assert "".join(said) == '{"a":1}'


@socket_test
async def test_finish_that_speaks_of_calls_without_any_is_a_stop(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(said("x", reason="tool_calls"))
    assert (await caller.stream()).finish_reason == "stop"


@socket_test
async def test_stream_cut_inside_a_call_is_a_failure(
    provider: FakeProvider, caller: Caller
) -> None:
    half = call_piece(0, '{"a":', id="c1", name="f")
    provider.scripts.append(until_close(half))
    with pytest.raises(ProviderFailed):
        await caller.stream()


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@socket_test
async def test_reasoning_is_told_apart_from_the_words(
    provider: FakeProvider, caller: Caller, field: str
) -> None:
    thought = event({"choices": [{"delta": {field: "hm"}}]})
    provider.scripts.append(
        [*streamed(thought + delta("x") + finish() + DONE), END_OF_CHUNKS]
    )
    await caller.stream()
    assert caller.sink.events == [ReasoningDelta("hm"), TextDelta("x")]


@socket_test
async def test_details_of_the_usage(provider: FakeProvider, caller: Caller) -> None:
    counts = {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2, "more": 1},
    }
    told = event({"choices": [], "usage": counts})
    provider.scripts.append([*streamed(finish() + told + DONE), END_OF_CHUNKS])
    assert (await caller.stream()).usage == Usage(
        prompt_tokens=7,
        completion_tokens=3,
        total_tokens=10,
        cached_tokens=4,
        reasoning_tokens=2,
    )


@socket_test
async def test_server_that_does_not_stream(
    provider: FakeProvider, caller: Caller
) -> None:
    message = {"role": "assistant", "content": "Hello", "reasoning_content": "hm"}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    counts = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    provider.scripts.append(plain(200, {"choices": [choice], "usage": counts}))
    completion = await caller.stream()
    assert caller.sink.events == [ReasoningDelta("hm"), TextDelta("Hello")]
    assert completion.finish_reason == "length"
    assert completion.usage.total_tokens == 10


@socket_test
async def test_stream_without_a_length_is_whole_by_its_end_marker(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(until_close(delta("x") + finish() + DONE))
    assert (await caller.stream()).finish_reason == "stop"
    await provider.connections[0].when_closed()


@socket_test
async def test_stream_without_a_length_is_whole_by_its_finish_reason(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(until_close(delta("x") + finish("length")))
    assert (await caller.stream()).finish_reason == "length"


@socket_test
async def test_two_streams_share_one_connection(
    provider: FakeProvider, caller: Caller
) -> None:
    for _ in range(3):
        await caller.stream()
        await next_turn()
    assert len(provider.requests) == 3
    assert len(provider.connections) == 1


@socket_test
async def test_stream_over_a_stale_connection_is_asked_for_again(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts += [said("one"), [RESET], said("two")]
    await caller.stream()
    await next_turn()
    await caller.stream()
    assert caller.sink.text == "onetwo"
    assert provider.requests[1].body == provider.requests[2].body


@socket_test
async def test_stream_that_began_is_never_asked_for_again(
    provider: FakeProvider, caller: Caller
) -> None:
    gate: Deferred[None] = Deferred()
    cut = streamed(delta("tw"), gate, RESET)
    provider.scripts += [said("one"), cut, said("two")]
    await caller.stream()
    await next_turn()
    failing = start(caller.failure())
    await until(lambda: caller.sink.text == "onetw")
    gate.callback(None)
    await failing
    assert caller.sink.text == "onetw"
    assert len(provider.requests) == 2


# -- refusals

_TOLD = {"error": {"message": f"bad key {KEY} at /srv/app/keys.py", "type": "x"}}


@pytest.mark.parametrize("status", [401, 403])
@socket_test
async def test_refused_key(provider: FakeProvider, caller: Caller, status: int) -> None:
    provider.scripts.append(plain(status, _TOLD))
    error = await caller.failure()
    assert type(error) is ProviderUnauthorized
    assert (error.status, error.code) == (502, "provider_unauthorized")
    assert error.should_retry is False


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [("17", 17), ("0", 1), (None, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
@socket_test
async def test_overloaded_provider(
    provider: FakeProvider,
    caller: Caller,
    status: int,
    sent: str | None,
    passed_on: int | None,
) -> None:
    headers = {} if sent is None else {"Retry_After": sent}
    provider.scripts.append(plain(status, _TOLD, **headers))
    error = await caller.failure()
    assert type(error) is ProviderOverloaded
    assert (error.status, error.code) == (502, "provider_overloaded")
    assert error.retry_after == passed_on


@socket_test
async def test_a_date_to_come_back_at(provider: FakeProvider, caller: Caller) -> None:
    headers = {
        "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
        "Retry_After": "Wed, 21 Oct 2026 07:30:00 GMT",
    }
    provider.scripts.append(plain(429, _TOLD, **headers))
    error = await caller.failure()
    assert isinstance(error, ProviderFailed)
    assert (error.reason, error.retry_after) == ("rate_limit", 120)


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        (plain(402, _TOLD), ProviderFailed, "billing"),
        (plain(401, _TOLD), ProviderUnauthorized, "auth"),
        (plain(503, _TOLD), ProviderOverloaded, "overloaded"),
        (plain(504, _TOLD), ProviderTimedOut, "timeout"),
        (plain(302, b"", Location="http://x/"), ProviderFailed, "unreachable"),
        (plain(404, _TOLD), ProviderFailed, "model_not_found"),
        (streamed(delta("x"), CLOSE), ProviderFailed, "server_error"),
        (
            plain(400, {"error": {"code": "context_length_exceeded"}}),
            ContextOverflow,
            "context_overflow",
        ),
        (
            streamed(event({"error": {"message": "x", "code": 402}})),
            ProviderFailed,
            "billing",
        ),
    ],
)
@socket_test
async def test_the_reason_is_on_the_error(
    provider: FakeProvider,
    caller: Caller,
    script: Script,
    kind: type[ProviderFailed],
    reason: str,
) -> None:
    provider.scripts.append(script)
    error = await caller.failure()
    assert type(error) is kind
    assert isinstance(error, ProviderFailed)
    assert error.reason == reason


@pytest.mark.parametrize("status", [400, 404, 418, 500, 502])
@socket_test
async def test_other_statuses(
    provider: FakeProvider, caller: Caller, status: int
) -> None:
    provider.scripts.append(plain(status, {"error": {"message": "no such thing"}}))
    error = await caller.failure()
    assert type(error) is ProviderFailed
    assert error.code == "provider_error"
    assert error.message == (
        f'The model provider "local" answered {status}: no such thing.'
    )


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"error": "plain words"}, "plain words"),
        ({"message": "bare"}, "bare"),
        ({"detail": "fast"}, "fast"),
        ([{"error": {"message": "listed"}}], "listed"),
        (b"<html><h1>Bad Gateway</h1>", None),
        (b"\xff\xfe\x00", None),
        (b"", None),
    ],
)
@socket_test
async def test_words_of_a_refusal(
    provider: FakeProvider, caller: Caller, body: object, shown: str | None
) -> None:
    provider.scripts.append(plain(500, body))
    expected = "answered 500" + (f": {shown}" if shown else "")
    message = (await caller.failure()).message
    assert message == f'The model provider "local" {expected}.'


@socket_test
async def test_path_in_a_refusal_is_left_out(
    provider: FakeProvider, caller: Caller
) -> None:
    provider.scripts.append(plain(500, _TOLD))
    message = (await caller.failure()).message
    assert "/srv" not in message
    assert "bad key ***" in message


@socket_test
async def test_refusal_with_an_endless_body_is_cut(
    provider: FakeProvider, caller: Caller
) -> None:
    endless: Script = [
        head(500, {"Content-Type": "text/html"}),
        *[b"x" * 65536] * 64,
        STALL,
    ]
    provider.scripts.append(endless)
    assert (await caller.failure()).code == "provider_error"
    await within(1, provider.connections[0].when_closed())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@socket_test
async def test_redirect_is_not_followed(
    provider: FakeProvider, caller: Caller, status: int
) -> None:
    other = await FakeProvider(reactor).listen()
    location = other.base_url + "/chat/completions"
    provider.scripts.append(plain(status, b"", Location=location))
    error = await caller.failure()
    assert type(error) is ProviderFailed
    assert "redirect" in error.message
    assert location not in error.message
    assert not other.requests
    assert not other.connections
    await other.stop()


# -- answers that are none


@pytest.mark.parametrize(
    "script",
    [
        [b"garbage that is no HTTP at all\r\n\r\n", CLOSE],
        [CLOSE],
        [RESET],
        [b"HTTP/1.1 200 OK\r\nContent-Ty", CLOSE],
        [b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", CLOSE],
        [head(200, {"Transfer-Encoding": "chunked"}) + b"zz\r\nx\r\n", CLOSE],
        plain(200, b"<html>Log in first</html>", X="1"),
        plain(200, {}),
        plain(200, {"choices": []}),
        plain(200, {"error": {"message": "no"}}),
        plain(200, b"[1, 2"),
        plain(204, b""),
        [*streamed(b"data: {not json}\n\n"), END_OF_CHUNKS],
        [*streamed(b"data: [1]\n\n"), END_OF_CHUNKS],
        [*streamed(b"<html>hello</html>"), END_OF_CHUNKS],
        [*streamed(), END_OF_CHUNKS],
    ],
)
@socket_test
async def test_answer_that_is_none(
    provider: FakeProvider, caller: Caller, script: Script
) -> None:
    provider.scripts.append(script)
    error = await caller.failure()
    assert type(error) is ProviderFailed
    assert caller.sink.text == ""


@pytest.mark.parametrize("error_type", ["text/html", "text/plain", None])
@socket_test
async def test_page_instead_of_a_stream(
    provider: FakeProvider, caller: Caller, error_type: str | None
) -> None:
    fields = {"Content-Length": "5"}
    if error_type is not None:
        fields["Content-Type"] = error_type
    provider.scripts.append([head(200, fields) + b"<html"])
    assert (await caller.failure()).code == "provider_error"


_ERROR = {"error": {"message": f"overheated, key {KEY}", "code": "boom"}}


@pytest.mark.parametrize("before", [b"", delta("x")])
@socket_test
async def test_error_in_the_stream(
    provider: FakeProvider, caller: Caller, before: bytes
) -> None:
    gate: Deferred[None] = Deferred()
    provider.scripts.append(streamed(before or b": hi\n\n", gate, event(_ERROR), STALL))
    failing = start(caller.failure())
    if before:
        await until(lambda: caller.sink.text == "x")
    gate.callback(None)
    error = await failing
    assert type(error) is ProviderFailed
    assert "overheated, key ***" in error.message
    await within(1, provider.connections[0].when_closed())


@pytest.mark.parametrize("code", ["overloaded_error", 429, "503"])
@socket_test
async def test_overload_told_in_the_stream(
    provider: FakeProvider, caller: Caller, code: object
) -> None:
    told = event({"error": {"message": "busy", "code": code}})
    provider.scripts.append(streamed(told, STALL))
    assert type(await caller.failure()) is ProviderOverloaded


@pytest.mark.parametrize(
    "script",
    [
        [*streamed(delta("x")), END_OF_CHUNKS],
        streamed(delta("x"), CLOSE),
        until_close(delta("x")),
        until_close(delta("x"), delta("y")[:-8]),
        [head(200, {"Content-Length": "9999"}) + delta("x"), CLOSE],
    ],
)
@socket_test
async def test_stream_that_is_cut(
    provider: FakeProvider, caller: Caller, script: Script
) -> None:
    provider.scripts.append(script)
    error = await caller.failure()
    assert type(error) is ProviderFailed
    assert "middle" in error.message or "no chunk" in error.message
    assert caller.sink.text in ("x", "")


@socket_test
async def test_event_that_is_too_large(provider: FakeProvider, caller: Caller) -> None:
    endless = [b"data: " + b"x" * 2**20] + [b"x" * 2**20] * (MAX_EVENT_BYTES // 2**20)
    provider.scripts.append(streamed(*endless, STALL))
    assert "too large" in (await caller.failure()).message
    await within(1, provider.connections[0].when_closed())


@socket_test
async def test_compressed_answer(provider: FakeProvider, caller: Caller) -> None:
    script = streamed(b"\x1f\x8b", STALL, Content_Encoding="gzip")
    provider.scripts.append(script)
    assert "compressed" in (await caller.failure()).message
    await within(1, provider.connections[0].when_closed())


@socket_test
async def test_nobody_listens(clean: None) -> None:
    provider = await FakeProvider(reactor).listen()
    await provider.stop()
    caller = Caller(provider.base_url)
    error = await caller.failure()
    assert type(error) is ProviderFailed
    assert "cannot be reached" in error.message


# -- time-outs


@socket_test
async def test_silence_before_the_head(provider: FakeProvider) -> None:
    caller = Caller(provider.base_url, idle=0.05)
    provider.scripts.append([STALL])
    error = await caller.failure()
    assert type(error) is ProviderTimedOut
    assert (error.status, error.code) == (504, "provider_timeout")
    await within(1, provider.connections[0].when_closed())


@socket_test
async def test_silence_in_the_stream(provider: FakeProvider) -> None:
    caller = Caller(provider.base_url, idle=0.05)
    provider.scripts.append(streamed(delta("x"), STALL))
    error = await caller.failure()
    assert type(error) is ProviderTimedOut
    assert caller.sink.text == "x"
    await within(1, provider.connections[0].when_closed())


@socket_test
async def test_silence_in_a_whole_reply(provider: FakeProvider) -> None:
    caller = Caller(provider.base_url, idle=0.05)
    fields = {"Content-Type": "application/json", "Content-Length": "999"}
    provider.scripts.append([head(200, fields) + b'{"choices"', STALL])
    error = await caller.failure()
    assert isinstance(error, (ProviderFailed, ProviderTimedOut))
    await within(1, provider.connections[0].when_closed())


def _failed(waiting: Deferred[Completion]) -> list[Exception]:
    errors: list[Exception] = []

    def note(failure: Failure) -> None:
        assert isinstance(failure.value, Exception)
        errors.append(failure.value)

    waiting.addErrback(note)
    return errors


def test_connecting_takes_too_long() -> None:
    memory = MemoryReactorClock()
    caller = Caller("http://127.0.0.1:9/v1", memory, idle=20.0)
    errors = _failed(start_stream(caller.adapter, REQUEST, caller.sink))
    memory.advance(19)
    assert not errors
    memory.advance(1)
    assert isinstance(errors[0], ProviderTimedOut)
    assert [c.stoppedConnecting for c in memory.connectors] == [True]
    assert memory.getDelayedCalls() == []


def test_name_of_the_provider_does_not_resolve() -> None:
    memory = MemoryReactorClock()
    memory.nameResolver = NoNames()  # type: ignore[assignment]
    caller = Caller("http://provider.invalid/v1", memory)
    errors = _failed(start_stream(caller.adapter, REQUEST, caller.sink))
    assert type(errors[0]) is ProviderFailed
    assert "host name does not resolve" in str(errors[0])


# -- gone clients


def test_cancel_while_connecting(log: list[str]) -> None:
    memory = MemoryReactorClock()
    caller = Caller("http://127.0.0.1:9/v1", memory)
    waiting = start_stream(caller.adapter, REQUEST, caller.sink)
    errors = _failed(waiting)
    waiting.cancel()
    assert isinstance(errors[0], CancelledError)
    assert [c.stoppedConnecting for c in memory.connectors] == [True]
    assert memory.getDelayedCalls() == []
    assert log == []


_STAGES: dict[str, tuple[Script, int | None]] = {
    "before the head": ([STALL], None),
    "before the first word": (streamed(b": hi\n\n", STALL), None),
    "in the stream": (streamed(delta("x"), STALL), None),
    "while paused": (streamed(*[delta("x" * 10_000)] * 2000), 1),
    "in a refusal": ([head(500, {"Content-Length": "9"}) + b"x", STALL], None),
    "in a whole reply": (
        [head(200, {"Content-Type": "application/json", "Content-Length": "9"}), STALL],
        None,
    ),
}


async def _cancel(provider: FakeProvider, caller: Caller, stage: str) -> None:
    script, pause_at = _STAGES[stage]
    provider.scripts.append(script)
    caller.sink = RecordingSink(pause_at)
    waiting = caller.stream()
    asked = await within(5, provider.when_asked())
    if "stream" in stage:
        await until(lambda: caller.sink.text)
    if pause_at is not None:
        await until(lambda: asked.connection.paused)
    waiting.cancel()
    with pytest.raises(CancelledError):
        await waiting
    await within(1, asked.connection.when_closed())
    assert caller.sink.source is None
    assert len(provider.requests) == 1


@pytest.mark.parametrize("stage", _STAGES)
@socket_test
async def test_cancel_closes_the_socket(
    provider: FakeProvider, caller: Caller, stage: str, log: list[str]
) -> None:
    await _cancel(provider, caller, stage)
    assert log == []


# -- TLS


async def _tls(
    folder: Path, *names: str, ca_file: Path | None = None, url_host: str = "localhost"
) -> tuple[FakeProvider, Caller]:
    authority = Authority(folder)
    options = authority.server_options(*names)
    provider = await FakeProvider(reactor).listen(options)
    url = provider.base_url.replace("127.0.0.1", url_host)
    chosen = ca_file or authority.ca_file
    return provider, Caller(url, ca_file=os.fspath(chosen))


async def _stop(provider: FakeProvider, caller: Caller) -> None:
    await next_turn()
    await caller.adapter.close()
    await provider.stop()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@socket_test
async def test_private_authority_is_trusted(
    clean: None, tmp_path: Path, host: str
) -> None:
    provider, caller = await _tls(tmp_path, host, url_host=host)
    for _ in range(2):
        await caller.stream()
        await next_turn()
    assert caller.sink.text == "HelloHello"
    assert len(provider.connections) == 1
    await _stop(provider, caller)


@socket_test
async def test_authority_that_is_not_trusted(clean: None, tmp_path: Path) -> None:
    other = Authority(tmp_path, "Other CA").ca_file
    provider, caller = await _tls(tmp_path, "localhost", ca_file=other)
    error = await caller.failure()
    assert type(error) is ProviderFailed
    assert "identity" in error.message
    assert not provider.requests
    await _stop(provider, caller)


@socket_test
async def test_certificate_for_another_name(clean: None, tmp_path: Path) -> None:
    provider, caller = await _tls(tmp_path, "example.org")
    assert "identity" in (await caller.failure()).message
    assert not provider.requests
    await _stop(provider, caller)


class PlainServer(Protocol):
    """Answers a TLS handshake as a web server without TLS does."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.transport.loseConnection()


@socket_test
async def test_server_that_speaks_no_tls(clean: None) -> None:
    factory = Factory.forProtocol(PlainServer)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    caller = Caller(f"https://127.0.0.1:{port.getHost().port}/v1")
    assert type(await caller.failure()) is ProviderFailed
    await port.stopListening()


@pytest.mark.parametrize("stage", _STAGES)
@socket_test
async def test_cancel_closes_the_tls_socket(
    clean: None, tmp_path: Path, stage: str
) -> None:
    provider, caller = await _tls(tmp_path, "localhost")
    await _cancel(provider, caller, stage)
    await _stop(provider, caller)


@pytest.mark.parametrize("end", [CLOSE, RESET])
@socket_test
async def test_tls_stream_that_is_cut(clean: None, tmp_path: Path, end: Any) -> None:
    provider, caller = await _tls(tmp_path, "localhost")
    gate: Deferred[None] = Deferred()
    provider.scripts.append(streamed(delta("x"), gate, end))
    failing = start(caller.failure())
    await until(lambda: caller.sink.text == "x")
    gate.callback(None)
    assert "middle" in (await failing).message
    await _stop(provider, caller)
