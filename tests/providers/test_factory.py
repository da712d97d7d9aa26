"""Providers from their configuration: what is sent where, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest_twisted import async_yield_fixture
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from moltbot_gw.config import ProviderEntry, Secret, load_config
from moltbot_gw.interfaces import IModelProvider
from moltbot_gw.messages import ModelRequest, SamplingOptions, UserMessage
from moltbot_gw.providers.anthropic import AnthropicProvider
from moltbot_gw.providers.factory import BadProvider, build_provider, is_served
from moltbot_gw.providers.openai import OpenAIProvider
from moltbot_gw.providers.responses import ResponsesProvider
from tests.integration.waiting import (
    clean_reactor,
    fake_provider,
    next_turn,
    reactor,
    socket_test,
    start_stream,
    within,
)
from tests.providers.test_streaming import RecordingSink
from tests.support.fake_provider import FakeProvider, ProviderRequest
from tests.support.tls import Authority

clean = async_yield_fixture(name="clean")(clean_reactor)
provider = async_yield_fixture(name="provider")(fake_provider)

REQUEST = ModelRequest(
    model="m1", system="Be kind.", messages=(UserMessage(content="hi"),)
)


def _entry(folder: Path, **members: Any) -> ProviderEntry:
    """Return the configuration of a provider, read as the daemon reads it."""
    wire = {"baseUrl": "http://127.0.0.1:9/v1", "models": [], **members}
    path = folder / "moltbot.json"
    path.write_text(json.dumps({"models": {"providers": {"local": wire}}}))
    config = load_config({}, folder, path=path).config
    return config.models.providers["local"]


def _refusal(entry: ProviderEntry, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(BadProvider) as caught:
        build_provider("local", entry, environ or {}, MemoryReactorClock())
    return str(caught.value)


async def _ask(
    provider: FakeProvider,
    entry: ProviderEntry,
    request: ModelRequest = REQUEST,
    *,
    name: str = "local",
    environ: Mapping[str, str] | None = None,
) -> ProviderRequest:
    """Return what *provider* is sent for *request*."""
    entry = msgspec.structs.replace(entry, base_url=provider.base_url)
    adapter = build_provider(name, entry, environ or {}, reactor)
    await within(5, start_stream(adapter, request, RecordingSink()))
    await next_turn()
    await adapter.close()
    return provider.requests[-1]


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        (None, OpenAIProvider),
        ("openai-completions", OpenAIProvider),
        ("anthropic-messages", AnthropicProvider),
        ("openai-responses", ResponsesProvider),
    ],
)
def test_provider_keeps_the_contract(
    tmp_path: Path, api: str | None, kind: type[object]
) -> None:
    entry = _entry(tmp_path, **({"api": api} if api else {}))
    made = build_provider("local", entry, {}, MemoryReactorClock())
    verifyObject(IModelProvider, made)
    assert isinstance(made, kind)


@pytest.mark.parametrize(
    ("api", "served"),
    [
        (None, True),
        ("openai-completions", True),
        ("anthropic-messages", True),
        ("openai-responses", True),
        ("google-generative-ai", False),
    ],
)
def test_apis_that_are_served(tmp_path: Path, api: str | None, served: bool) -> None:
    assert is_served(_entry(tmp_path, **({"api": api} if api else {}))) is served


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1",
        "ftp://example.org/v1",
        "http:///v1",
        "http://user:pw@example.org/v1",
        "http://bücher.example/v1",
        "http://my_host/v1",
        "https://my_host/v1",
        "https://a..b/v1",
        f"https://{'a' * 64}/v1",
        "http://-x/v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://host:abc/v1",
        "http://[::1/v1",
        "http://ho st/v1",
        "http://host/v 1",
        "http://host/v1\r\nX: y",
    ],
)
def test_address_that_cannot_work_is_refused_at_start(tmp_path: Path, url: str) -> None:
    refusal = _refusal(_entry(tmp_path, baseUrl=url))
    assert refusal.startswith("models.providers.local.baseUrl: ")
    assert "pw" not in refusal
    assert "\n" not in refusal


@pytest.mark.parametrize(
    "members",
    [
        {"apiKey": "sk-line\nbreak"},
        {"apiKey": "sk-schlüssel"},
        {"headers": {"X-Key": "a\r\nb"}},
        {"headers": {"X Key": "text"}},
        {"headers": {"X-Schlüssel": "text"}},
        {"models": [{"id": "m", "name": "m", "headers": {"X-Key": "a\nb"}}]},
    ],
)
def test_headers_that_are_no_http_are_refused_without_their_text(
    tmp_path: Path, members: dict[str, Any]
) -> None:
    refusal = _refusal(_entry(tmp_path, **members))
    assert refusal.startswith("models.providers.local")
    for secret in ("break", "schlüssel", "\n", "text"):
        assert secret not in refusal


@pytest.mark.parametrize("text", [None, "", "no PEM", "-----BEGIN CERTIFICATE-----\nx"])
def test_ca_file_without_a_certificate_is_refused(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    refusal = _refusal(_entry(tmp_path, caFile=str(path)))
    assert refusal.startswith("models.providers.local.caFile: ")


def test_bundle_of_authorities_is_read(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    parts = [Authority(tmp_path, name).ca_file.read_text() for name in ("A", "B")]
    bundle.write_text("# two\n" + "\n".join(parts))
    entry = _entry(tmp_path, baseUrl="https://host/v1", caFile=str(bundle))
    assert build_provider("local", entry, {}, MemoryReactorClock())


@socket_test
async def test_key_is_sent_as_a_bearer_token(
    provider: FakeProvider, tmp_path: Path
) -> None:
    asked = await _ask(provider, _entry(tmp_path, apiKey="sk-1"))
    assert asked.line == "POST /v1/chat/completions HTTP/1.1"
    assert asked.headers["authorization"] == "Bearer sk-1"
    assert asked.headers["content-type"] == "application/json"


@socket_test
async def test_server_without_a_key_gets_none(
    provider: FakeProvider, tmp_path: Path
) -> None:
    asked = await _ask(provider, _entry(tmp_path))
    assert "authorization" not in asked.headers


@socket_test
async def test_own_header_replaces_the_bearer_token(
    provider: FakeProvider, tmp_path: Path
) -> None:
    entry = _entry(tmp_path, apiKey="sk-1", authHeader=False, headers={"api-key": "k2"})
    asked = await _ask(provider, entry)
    assert "authorization" not in asked.headers
    assert asked.headers["api-key"] == "k2"


@socket_test
async def test_environment_wins_over_the_configured_key(
    provider: FakeProvider, tmp_path: Path
) -> None:
    entry = _entry(tmp_path, apiKey="sk-config")
    environ = {"OPENAI_API_KEY": "sk-environ"}
    asked = await _ask(provider, entry, name="openai", environ=environ)
    assert asked.headers["authorization"] == "Bearer sk-environ"


@socket_test
async def test_headers_of_a_model_go_with_that_model_only(
    provider: FakeProvider, tmp_path: Path
) -> None:
    models = [
        {"id": "m1", "name": "1", "headers": {"X-Model": "one", "X-All": "m1"}},
        {"id": "m2", "name": "2"},
    ]
    entry = _entry(tmp_path, headers={"X-All": "yes"}, models=models)
    first = await _ask(provider, entry)
    second = await _ask(provider, entry, msgspec.structs.replace(REQUEST, model="m2"))
    assert (first.headers["x-model"], first.headers["x-all"]) == ("one", "m1")
    assert "x-model" not in second.headers
    assert second.headers["x-all"] == "yes"


OPTIONS = SamplingOptions(max_tokens=500, reasoning_effort="low")


@pytest.mark.parametrize(
    ("compat", "expected", "absent"),
    [
        ({}, {"max_tokens": 500, "reasoning_effort": "low"}, {"store"}),
        (
            {"maxTokensField": "max_completion_tokens"},
            {"max_completion_tokens": 500},
            {"max_tokens"},
        ),
        ({"supportsStore": True}, {"store": False}, set()),
        ({"supportsReasoningEffort": False}, {}, {"reasoning_effort"}),
    ],
)
@socket_test
async def test_dialect_of_a_server(
    provider: FakeProvider,
    tmp_path: Path,
    compat: dict[str, Any],
    expected: dict[str, Any],
    absent: set[str],
) -> None:
    models = [{"id": "m1", "name": "1", "compat": compat}]
    request = msgspec.structs.replace(REQUEST, options=OPTIONS)
    asked = await _ask(provider, _entry(tmp_path, models=models), request)
    assert expected.items() <= asked.body.items()
    assert not absent & asked.body.keys()


@pytest.mark.parametrize(
    ("compat", "role"),
    [({}, "system"), ({"supportsDeveloperRole": True}, "developer")],
)
@socket_test
async def test_role_of_the_system_prompt(
    provider: FakeProvider, tmp_path: Path, compat: dict[str, Any], role: str
) -> None:
    models = [{"id": "m1", "name": "1", "reasoning": True, "compat": compat}]
    asked = await _ask(provider, _entry(tmp_path, models=models))
    assert asked.roles == [role, "user"]


@pytest.mark.parametrize(
    ("asked_for", "limit", "sent"),
    [(None, 100, 100), (50, 100, 50), (500, 100, 100), (500, None, 500)],
)
@socket_test
async def test_limit_of_a_model_bounds_the_wish(
    provider: FakeProvider,
    tmp_path: Path,
    asked_for: int | None,
    limit: int | None,
    sent: int,
) -> None:
    model: dict[str, Any] = {"id": "m1", "name": "1"}
    if limit is not None:
        model["maxTokens"] = limit
    options = SamplingOptions(max_tokens=asked_for)
    request = msgspec.structs.replace(REQUEST, options=options)
    asked = await _ask(provider, _entry(tmp_path, models=[model]), request)
    assert asked.body["max_tokens"] == sent


@socket_test
async def test_model_that_is_not_listed_is_asked_for_all_the_same(
    provider: FakeProvider, tmp_path: Path
) -> None:
    request = msgspec.structs.replace(REQUEST, model="other/model")
    asked = await _ask(provider, _entry(tmp_path), request)
    assert asked.body["model"] == "other/model"
    assert "max_tokens" not in asked.body


def test_openai_itself_gets_its_own_dialect(tmp_path: Path) -> None:
    entry = _entry(tmp_path, baseUrl="https://api.openai.com/v1/")
    made = build_provider("openai", entry, {}, MemoryReactorClock())
    assert isinstance(made, OpenAIProvider)
    assert made._default_dialect.max_tokens_field == "max_completion_tokens"


@pytest.mark.parametrize("api", ["openai-completions", "anthropic-messages"])
def test_secrets_do_not_show_in_a_repr(tmp_path: Path, api: str) -> None:
    headers = {"X-Key": "also-hidden"}
    entry = _entry(tmp_path, api=api, apiKey="sk-hidden", headers=headers)
    made: Any = build_provider("local", entry, {}, MemoryReactorClock())
    model = made._model
    shown = f"{made!r} {model!r} {model._settings!r} {model._client!r} {entry!r}"
    assert "hidden" not in shown


@socket_test
async def test_blanks_and_slash_around_an_address_do_no_harm(
    provider: FakeProvider,
) -> None:
    url = f" {provider.base_url}/ "
    entry = ProviderEntry(base_url=url, api_key=Secret("sk-1"), models=())
    adapter = build_provider("local", entry, {}, reactor)
    await within(5, start_stream(adapter, REQUEST, RecordingSink()))
    await next_turn()
    await adapter.close()
    assert provider.requests[0].line == "POST /v1/chat/completions HTTP/1.1"


def test_secrets_of_headers_are_known_for_what_they_are(tmp_path: Path) -> None:
    headers = {"Authorization": "Basic aGlkZGVuOnNlY3JldA=="}
    models = [{"id": "m", "name": "m", "headers": {"X-Key": "model-secret"}}]
    entry = _entry(tmp_path, apiKey="sk-key", headers=headers, models=models)
    made: Any = build_provider("local", entry, {}, MemoryReactorClock())
    assert {
        "sk-key",
        "Basic aGlkZGVuOnNlY3JldA==",
        "aGlkZGVuOnNlY3JldA==",
        "model-secret",
    } == set(made._model._settings.secrets)
