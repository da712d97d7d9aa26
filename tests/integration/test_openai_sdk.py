"""The official ``openai`` package against the whole gateway."""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pytest_twisted import async_yield_fixture
from twisted.internet.threads import blockingCallFromThread

from tests.integration.gateway import TOKEN, Gateway, configuration
from tests.integration.waiting import (
    in_thread,
    reactor,
    socket_test,
    start,
    until,
    within,
)
from tests.support.fake_provider import (
    CLOSE,
    STALL,
    FakeProvider,
    called,
    delta,
    event,
    plain,
    said,
    streamed,
)

T = TypeVar("T")

HI: Any = [{"role": "user", "content": "hi there"}]


@contextmanager
def _client(gateway: Gateway, **options: Any) -> Iterator[openai.OpenAI]:
    """A client without proxies, and without retries unless *options* say so."""
    settings = {"api_key": TOKEN, "max_retries": 0, "timeout": 10.0, **options}
    plain_http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(
        base_url=gateway.base_url, http_client=plain_http, **settings
    ) as client:
        yield client


async def _with(
    gateway: Gateway, work: Callable[[openai.OpenAI], T], **options: Any
) -> T:
    """Do *work* with a client in a thread; the reactor serves it meanwhile."""

    def do() -> T:
        with _client(gateway, **options) as client:
            return work(client)

    return await in_thread(do)


async def _async_with(
    gateway: Gateway, work: Callable[[openai.AsyncOpenAI], Coroutine[Any, Any, T]]
) -> T:
    """The same with the asynchronous client, on an event loop of its own."""

    async def do() -> T:
        plain_http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(
            base_url=gateway.base_url,
            api_key=TOKEN,
            max_retries=0,
            http_client=plain_http,
        ) as client:
            return await work(client)

    return await in_thread(lambda: asyncio.run(do()))


def _create(client: openai.OpenAI, **members: Any) -> ChatCompletion:
    wanted = {"model": "moltbot", "messages": HI, **members}
    completion: ChatCompletion = client.chat.completions.create(**wanted)
    return completion


def _stream(client: openai.OpenAI, **members: Any) -> list[ChatCompletionChunk]:
    wanted = {"model": "moltbot", "messages": HI, "stream": True, **members}
    return list(client.chat.completions.create(**wanted))


def _words(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def _echoing(clean: None, tmp_path: Path) -> Any:
    gateway = await Gateway(tmp_path, configuration(None)).start()
    yield gateway
    await gateway.stop()


echoing = async_yield_fixture(name="echoing")(_echoing)


@socket_test
async def test_whole_answer_of_echo(echoing: Gateway) -> None:
    answer = await _with(echoing, _create)
    assert answer.id.startswith("chatcmpl_")
    assert answer.model == "moltbot"
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == "hi there"
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0


@socket_test
async def test_streamed_answer_of_echo(echoing: Gateway) -> None:
    chunks = await _with(echoing, _stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert _words(chunks) == "hi there"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({(c.id, c.created, c.model) for c in chunks}) == 1
    assert all(c.usage is None for c in chunks)


@socket_test
async def test_whole_answer_of_a_provider(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.scripts.append(said("Hel", "lo", reason="length", tokens=(7, 3)))
    answer = await _with(gateway, lambda c: _create(c, temperature=0.5, stop=["x"]))
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.model_dump(include={"prompt_tokens", "completion_tokens"}) == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
    }
    asked = provider.requests[0].body
    assert (asked["model"], asked["temperature"], asked["stop"]) == ("m1", 0.5, ["x"])


@socket_test
async def test_usage_of_a_stream_comes_last_when_asked_for(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.scripts.append(said("Hello", tokens=(7, 3)))
    wish = {"include_usage": True}
    chunks = await _with(gateway, lambda c: _stream(c, stream_options=wish))
    assert _words(chunks) == "Hello"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 10
    assert chunks[-2].choices[0].finish_reason == "stop"


@socket_test
async def test_asynchronous_client_streams(
    gateway: Gateway, provider: FakeProvider
) -> None:
    async def work(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(
            model="moltbot", messages=HI, stream=True
        )
        words = [c.choices[0].delta.content or "" async for c in stream if c.choices]
        return "".join(words)

    provider.scripts.append(said("Hel", "lo"))
    assert await _async_with(gateway, work) == "Hello"


@socket_test
async def test_asynchronous_clients_run_side_by_side(echoing: Gateway) -> None:
    async def work(client: openai.AsyncOpenAI) -> list[str | None]:
        texts = [f"text {n}" for n in range(8)]
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="moltbot", messages=[{"role": "user", "content": text}]
                )
                for text in texts
            )
        )
        return [answer.choices[0].message.content for answer in answers]

    assert await _async_with(echoing, work) == [f"text {n}" for n in range(8)]


@socket_test
async def test_models_are_listed_and_found(echoing: Gateway) -> None:
    def work(client: openai.OpenAI) -> tuple[list[str], str]:
        names = [model.id for model in client.models.list()]
        return names, client.models.retrieve("moltbot:beta").owned_by

    names, owner = await _with(echoing, work)
    assert names == ["moltbot", "moltbot:main", "moltbot:beta"]
    assert owner == "moltbot"


@socket_test
async def test_options_for_one_call(echoing: Gateway) -> None:
    def work(client: openai.OpenAI) -> str | None:
        patient = client.with_options(timeout=30.0, default_headers={"X-Other": "1"})
        return _create(patient).choices[0].message.content

    assert await _with(echoing, work) == "hi there"


# -- sessions and agents


@socket_test
async def test_second_request_of_a_user_carries_the_first_turn(
    gateway: Gateway, provider: FakeProvider
) -> None:
    def work(client: openai.OpenAI) -> None:
        for text in ("one", "two"):
            messages = [{"role": "user", "content": text}]
            _create(client, messages=messages, user="kim")

    provider.scripts += [said("first"), said("second")]
    await _with(gateway, work)
    assert provider.requests[1].body["messages"][1:] == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "two"},
    ]


@socket_test
async def test_whole_history_of_a_user_is_not_taken_twice(
    gateway: Gateway, provider: FakeProvider
) -> None:
    history = [{"role": "user", "content": "one"}]

    def work(client: openai.OpenAI) -> None:
        _create(client, messages=history, user="kim")
        more = [
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "two"},
        ]
        _create(client, messages=history + more, user="kim")

    await _with(gateway, work)
    assert provider.requests[1].roles == ["system", "user", "assistant", "user"]


@socket_test
async def test_session_key_of_a_header(
    gateway: Gateway, provider: FakeProvider
) -> None:
    def work(client: openai.OpenAI) -> str | None:
        header = {"x-moltbot-session-key": "agent:beta:desk"}
        _create(client, extra_headers=header)
        raw = client.chat.completions.with_raw_response
        return str(
            raw.create(model="moltbot", messages=HI, extra_headers=header).headers[
                "x-moltbot-session-key"
            ]
        )

    assert await _with(gateway, work) == "agent:beta:desk"
    assert [asked.body["model"] for asked in provider.requests] == ["m2", "m2"]
    assert provider.requests[1].roles == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("model", "header"),
    [
        ("moltbot:beta", None),
        ("agent:beta", None),
        ("moltbot/beta", None),
        ("gpt-4o", "beta"),
        ("moltbot:main", "beta"),
    ],
)
@socket_test
async def test_agent_by_model_or_header(
    gateway: Gateway, provider: FakeProvider, model: str, header: str | None
) -> None:
    headers = {"x-moltbot-agent-id": header} if header else {}
    answer = await _with(
        gateway, lambda c: _create(c, model=model, extra_headers=headers)
    )
    assert answer.model == model
    (asked,) = provider.requests
    assert asked.body["model"] == "m2"
    assert "You are Beta" in asked.system


# -- failures


async def _failure(gateway: Gateway, kind: type[T], **members: Any) -> T:
    """Return the error that a call with *members* raises."""
    options = members.pop("options", {})

    def work(client: openai.OpenAI) -> T:
        with pytest.raises(kind) as caught:  # type: ignore[type-var]
            _create(client, **members)
        return caught.value

    return await _with(gateway, work, **options)


@pytest.mark.parametrize("stream", [False, True])
@socket_test
async def test_wrong_token(gateway: Gateway, stream: bool) -> None:
    error = await _failure(
        gateway,
        openai.AuthenticationError,
        stream=stream,
        options={"api_key": "sk-wrong"},
    )
    assert (error.status_code, error.code) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "members",
    [
        {"model": "moltbot:nobody"},
        {"extra_headers": {"x-moltbot-agent-id": "nobody"}},
    ],
)
@socket_test
async def test_unknown_agent(gateway: Gateway, members: dict[str, Any]) -> None:
    error = await _failure(gateway, openai.NotFoundError, **members)
    assert error.code == "model_not_found"
    assert error.param == ("model" if "model" in members else "x-moltbot-agent-id")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        (
            {"extra_headers": {"x-moltbot-session-key": "cron:x"}},
            "x-moltbot-session-key",
        ),
    ],
)
@socket_test
async def test_bad_request(
    gateway: Gateway, provider: FakeProvider, members: dict[str, Any], param: str
) -> None:
    error = await _failure(gateway, openai.BadRequestError, **members)
    assert error.param == param
    assert not provider.requests


@socket_test
async def test_too_many_runs(
    clean: None, provider: FakeProvider, tmp_path: Path
) -> None:
    more: Any = {
        "gateway": {"limits": {"maxQueuedRuns": 1}},
        "agents": {"defaults": {"maxConcurrent": 1}},
    }
    gateway = await Gateway(tmp_path, configuration(provider, **more)).start()
    provider.default = streamed(delta("x"), STALL)
    both = [start(_streaming(gateway)) for _ in range(2)]
    await until(lambda: gateway.agents.running == 2)
    error = await _failure(gateway, openai.RateLimitError)
    assert error.code == "queue_full"
    assert int(error.response.headers["retry-after"]) >= 1
    for count in (1, 2):
        (await within(5, provider.when_asked(count))).connection.reset()
    for waiting in both:
        await waiting
    await gateway.stop()


async def _streaming(gateway: Gateway) -> None:
    """Stream until the gateway says that the provider failed."""

    def work(client: openai.OpenAI) -> None:
        with pytest.raises(openai.APIError):
            _stream(client)

    await _with(gateway, work)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "provider_error"),
        (401, "provider_unauthorized"),
        (429, "provider_overloaded"),
    ],
)
@socket_test
async def test_provider_fails(
    gateway: Gateway, provider: FakeProvider, status: int, code: str
) -> None:
    provider.scripts.append(plain(status, {"error": {"message": "no"}}))
    error = await _failure(gateway, openai.InternalServerError)
    assert (error.status_code, error.code) == (502, code)


@pytest.mark.parametrize("stream", [False, True])
@socket_test
async def test_provider_is_silent(
    clean: None, provider: FakeProvider, tmp_path: Path, stream: bool
) -> None:
    config = configuration(provider)
    config["models"]["providers"]["local"]["idleTimeoutSeconds"] = 0.1
    gateway = await Gateway(tmp_path, config).start()
    provider.scripts.append([STALL])
    if stream:
        await _streaming(gateway)
    else:
        error = await _failure(gateway, openai.InternalServerError)
        assert (error.status_code, error.code) == (504, "provider_timeout")
    await gateway.stop()


@socket_test
async def test_gateway_that_stops_takes_no_run(
    gateway: Gateway, provider: FakeProvider
) -> None:
    def drain() -> None:
        start(gateway.agents.drain(5.0))

    def work(client: openai.OpenAI) -> openai.APIStatusError:
        blockingCallFromThread(reactor, drain)
        with pytest.raises(openai.InternalServerError) as caught:
            _create(client)
        return caught.value

    error = await _with(gateway, work)
    assert (error.status_code, error.code) == (503, "draining")
    assert "retry-after" in error.response.headers
    assert not provider.requests


@pytest.mark.parametrize("ending", [event({"error": {"message": "overheated"}}), CLOSE])
@socket_test
async def test_failure_inside_a_stream_is_raised(
    gateway: Gateway, provider: FakeProvider, ending: Any
) -> None:
    def work(client: openai.OpenAI) -> tuple[str, openai.APIError]:
        words: list[str] = []
        stream = client.chat.completions.create(
            model="moltbot", messages=HI, stream=True
        )

        def read() -> None:
            for chunk in stream:
                words.append(chunk.choices[0].delta.content or "")
                assert chunk.choices[0].finish_reason is None

        with pytest.raises(openai.APIError) as caught:
            read()
        return "".join(words), caught.value

    provider.scripts.append(streamed(delta("Hel"), ending))
    words, error = await _with(gateway, work)
    assert words in ("Hel", "")
    assert error.code == "provider_error"


@pytest.mark.parametrize("stream", [False, True])
@socket_test
async def test_impatient_client_cancels_its_run(
    gateway: Gateway, provider: FakeProvider, stream: bool
) -> None:
    provider.default = streamed(delta("x"), STALL)

    def work(client: openai.OpenAI) -> None:
        with pytest.raises((openai.APITimeoutError, openai.APIConnectionError)):
            _stream(client) if stream else _create(client)

    # On a busy machine a client may give up before its run has come that far.
    for patience in (0.2, 1.0, 5.0):
        await _with(gateway, work, timeout=patience)
        if provider.connections:
            break
    assert provider.connections
    for connection in provider.connections:
        await within(1, connection.when_closed())
    await gateway.when_idle()


@pytest.mark.parametrize("status", [429, 503])
@socket_test
async def test_overload_is_retried_by_the_client_itself(
    gateway: Gateway, provider: FakeProvider, status: int
) -> None:
    provider.scripts += [plain(status, {}, Retry_After="1"), said("at last")]
    answer = await _with(gateway, _create, max_retries=1)
    assert answer.choices[0].message.content == "at last"
    assert len(provider.requests) == 2


@socket_test
async def test_refused_key_is_not_retried(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.default = plain(401, {})
    await _failure(gateway, openai.InternalServerError, options={"max_retries": 2})
    assert len(provider.requests) == 1


# -- tools that the client runs

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name} two numbers",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
    for name in ("add", "multiply")
]
SUMS: Any = [{"role": "user", "content": "What are 2 + 3 and 2 * 3?"}]
CALLS = (("c1", "add", '{"a": 2, "b": 3}'), ("c2", "multiply", '{"a": 2, "b": 3}'))


def _run_tools(calls: Any) -> list[dict[str, Any]]:
    """Do what the model asks for; return the messages with the results."""
    results = []
    for call in calls:
        arguments = json.loads(call.function.arguments)
        work = {"add": operator.add, "multiply": operator.mul}[call.function.name]
        result = str(work(arguments["a"], arguments["b"]))
        results.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return results


def _answer_whole(client: openai.OpenAI, messages: list[Any], **members: Any) -> Any:
    completion = _create(client, messages=messages, tools=TOOLS, **members)
    return completion.choices[0]


def _answer_streamed(client: openai.OpenAI, messages: list[Any], **members: Any) -> Any:
    """Let the package put the pieces of a stream together."""
    with client.chat.completions.stream(
        model="moltbot", messages=messages, tools=TOOLS, **members
    ) as stream:
        return stream.get_final_completion().choices[0]


def _use_tools(
    client: openai.OpenAI, answer: Callable[..., Any], *, news: bool, **members: Any
) -> tuple[list[str], Any]:
    """Talk until the model needs no tool; return why it stopped, and its last words.

    With *news* the second request says only what the session does not know.
    """
    messages, reasons = list(SUMS), []
    for _ in range(5):
        choice = answer(client, messages, **members)
        reasons.append(choice.finish_reason)
        if not choice.message.tool_calls:
            return reasons, choice.message.content
        results = _run_tools(choice.message.tool_calls)
        said = choice.message.model_dump(exclude_none=True, exclude={"parsed"})
        messages = results if news else [*messages, said, *results]
    raise AssertionError("the model never comes to an end")


@pytest.mark.parametrize("answer", [_answer_whole, _answer_streamed])
@pytest.mark.parametrize(
    ("members", "news"),
    [({}, False), ({"user": "alice"}, False), ({"user": "alice"}, True)],
    ids=["stateless", "session", "session and news"],
)
@socket_test
async def test_tools_of_the_client_are_called_and_their_results_read(
    gateway: Gateway,
    provider: FakeProvider,
    answer: Callable[..., Any],
    members: dict[str, Any],
    news: bool,
) -> None:
    provider.scripts.extend([called(*CALLS), said("They are 5 and 6.")])
    reasons, text = await _with(
        gateway, lambda client: _use_tools(client, answer, news=news, **members)
    )
    assert (reasons, text) == (["tool_calls", "stop"], "They are 5 and 6.")
    first, second = provider.requests
    offered = [tool["function"]["name"] for tool in first.body["tools"]]
    assert offered == ["session_status", "add", "multiply"]
    assert second.roles == ["system", "user", "assistant", "tool", "tool"]
    _, _, calls, *results = second.body["messages"]
    asked = [(call["id"], call["function"]["name"]) for call in calls["tool_calls"]]
    assert asked == [("c1", "add"), ("c2", "multiply")]
    told = [(result["tool_call_id"], result["content"]) for result in results]
    assert told == [("c1", "5"), ("c2", "6")]


@pytest.mark.parametrize("answer", [_answer_whole, _answer_streamed])
@socket_test
async def test_demanded_tool_that_is_not_called_is_an_error(
    gateway: Gateway, provider: FakeProvider, answer: Callable[..., Any]
) -> None:
    provider.scripts.append(said("No."))

    def ask(client: openai.OpenAI) -> None:
        with pytest.raises(openai.APIError, match="did not call a tool"):
            answer(client, SUMS, tool_choice="required")

    await _with(gateway, ask)
    assert provider.requests[0].body["tool_choice"] == "required"
