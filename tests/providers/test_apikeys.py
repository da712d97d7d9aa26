from __future__ import annotations

import pytest

from moltbot_gw.config import ProviderEntry, Secret
from moltbot_gw.providers.apikeys import find_api_key


def entry_of(key: str | None = "configured") -> ProviderEntry:
    secret = None if key is None else Secret(key)
    return ProviderEntry(base_url="http://x", models=(), api_key=secret)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("google", "GEMINI_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("OpenAI", "OPENAI_API_KEY"),
        ("groq", "GROQ_API_KEY"),
        ("zai", "Z_AI_API_KEY"),
        ("github-copilot", "GITHUB_TOKEN"),
    ],
)
def test_environment_beats_the_configured_key(name: str, variable: str) -> None:
    assert find_api_key(name, entry_of(), {variable: " k "}) == "k"


def test_first_variable_that_is_set_wins() -> None:
    environ = {"ANTHROPIC_OAUTH_TOKEN": " ", "ANTHROPIC_API_KEY": "second"}
    assert find_api_key("anthropic", entry_of(), environ) == "second"
    environ["ANTHROPIC_OAUTH_TOKEN"] = "first"
    assert find_api_key("anthropic", entry_of(), environ) == "first"


@pytest.mark.parametrize("name", ["local", "openai", "anthropic"])
def test_configured_key_is_used_where_no_variable_is_set(name: str) -> None:
    assert find_api_key(name, entry_of(), {"LOCAL_API_KEY": "x"}) == "configured"


@pytest.mark.parametrize("key", [None, "", "  "])
def test_server_may_need_no_key(key: str | None) -> None:
    assert find_api_key("local", entry_of(key), {}) is None
