from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from moltbot_gw.config import (
    Agents,
    Config,
    Gateway,
    ModelChoice,
    Secret,
    Session,
    Unread,
    decode_hook,
)

from .support import at, load

EXAMPLE = """
// gateway with the OpenAI endpoint and one local model server
{
  gateway: { mode: "local", auth: { token: "${GW_TOKEN}" },
             http: { endpoints: { chatCompletions: { enabled: true } } } },
  models: { providers: { local: {
    baseUrl: "http://127.0.0.1:8000/v1", apiKey: "x", api: "openai-completions",
    models: [ { id: "m1", name: "M1", contextWindow: 32768, maxTokens: 4096 } ] } } },
  agents: { defaults: { model: { primary: "local/m1" }, workspace: "~/work" },
            list: [ { id: "main", default: true },
                    { id: "beta", model: "local/m1", tools: { profile: "minimal" } } ],
  },
}
"""


@pytest.fixture
def example(tmp_path: Path) -> Config:
    return load(tmp_path, EXAMPLE, {"GW_TOKEN": "s3"}).config


def test_gateway_of_the_reference_example(example: Config) -> None:
    assert example.gateway.mode == "local"
    assert example.gateway.auth.token == Secret("s3")
    assert example.gateway.http.endpoints.chat_completions.enabled


def test_provider_of_the_reference_example(example: Config) -> None:
    provider = example.models.providers["local"]
    [model] = provider.models
    assert provider.api == "openai-completions"
    assert (model.id, model.context_window, model.max_tokens) == ("m1", 32768, 4096)


def test_agents_of_the_reference_example(example: Config) -> None:
    main, beta = example.agents.list
    assert example.agents.defaults.model == ModelChoice(primary="local/m1")
    assert (main.default, beta.default) == (True, False)
    assert beta.model == "local/m1"


def test_gateway_defaults() -> None:
    gateway = Gateway()
    assert (gateway.port, gateway.bind, gateway.mode) == (18789, "loopback", None)
    assert (gateway.auth.mode, gateway.auth.token) == (None, None)
    assert (gateway.tls.enabled, gateway.tls.auto_generate) == (False, True)
    assert gateway.drain_seconds == 30


def test_http_defaults() -> None:
    http = Gateway().http
    chat = http.endpoints.chat_completions
    assert (chat.enabled, chat.max_body_bytes, chat.on_disconnect) == (
        False,
        20_971_520,
        "cancel",
    )
    assert chat.disconnect_grace_seconds == 30
    assert (http.header_timeout_seconds, http.body_timeout_seconds) == (10, 30)
    assert (http.idle_timeout_seconds, http.stall_timeout_seconds) == (75, 60)
    assert (http.keep_alive_seconds, http.cors.allowed_origins) == (10, ())


def test_agent_defaults() -> None:
    defaults = Agents().defaults
    assert (defaults.timeout_seconds, defaults.max_concurrent) == (600, 4)
    assert defaults.bootstrap_max_chars == 20_000
    assert defaults.compaction.mode == "safeguard"
    assert defaults.subagents.max_concurrent == 8


def test_model_entry_defaults(tmp_path: Path) -> None:
    provider = {"baseUrl": "http://x", "models": [{"id": "m", "name": "M"}]}
    entry = load(tmp_path, at("models.providers.p", provider)).config
    [model] = entry.models.providers["p"].models
    assert (model.reasoning, model.input, model.max_tokens) == (False, ("text",), None)
    assert (model.cost.output, model.context_window) == (0, 200_000)
    assert model.compat.supports_store is None


def test_anonymous_sessions_are_kept_for_a_day() -> None:
    assert Session().anonymous_retention_seconds == 86_400


def test_no_fallbacks_differ_from_unsaid_fallbacks(tmp_path: Path) -> None:
    agents = [{"id": "a", "model": {"primary": "x/y", "fallbacks": []}}, {"id": "b"}]
    first, second = load(tmp_path, at("agents.list", agents)).config.agents.list
    assert first.model == ModelChoice(primary="x/y", fallbacks=())
    assert second.model is None


def test_well_known_models_get_their_alias(tmp_path: Path) -> None:
    models: dict[str, Any] = {"anthropic/claude-opus-4-5": {}, "x/y": {}}
    models["openai/gpt-5.2"] = {"alias": "mine"}
    made = load(tmp_path, at("agents.defaults.models", models)).config
    aliases = {ref: m.alias for ref, m in made.agents.defaults.models.items()}
    assert aliases == {
        "anthropic/claude-opus-4-5": "opus",
        "x/y": None,
        "openai/gpt-5.2": "mine",
    }


def test_configuration_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Config().gateway = Gateway()  # type: ignore[misc]


def test_msgspec_alone_reads_the_model_too() -> None:
    tree = {"gateway": {"auth": {"token": "a"}}, "channels": {"x": 1}}
    config = msgspec.convert(tree, Config, dec_hook=decode_hook)
    assert config.gateway.auth.token == Secret("a")
    assert config.channels == Unread()


def test_every_top_level_key_of_the_original_is_accepted() -> None:
    names = """
        meta env wizard diagnostics logging update browser ui auth models nodeHost
        agents tools bindings broadcast audio media messages commands approvals session
        cron hooks web channels discovery canvasHost talk gateway skills plugins
    """
    fields = {field.encode_name for field in msgspec.structs.fields(Config)}
    assert fields == set(names.split())


def sections(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Give every section type that is reachable from *kind*."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from sections(field.type)
    for inner in get_args(kind):
        yield from sections(inner)


@pytest.mark.parametrize("kind", sorted(set(sections(Config)), key=str))
def test_sections_are_strict_and_described(kind: type[msgspec.Struct]) -> None:
    strict = kind.__struct_config__.forbid_unknown_fields
    assert strict is (kind.__name__ not in ("GatewayTls", "Env"))
    assert kind.__struct_config__.frozen
    assert kind.__doc__
