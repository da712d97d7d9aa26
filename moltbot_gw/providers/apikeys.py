"""Where a provider's API key comes from: the environment first, then the config."""

from __future__ import annotations

from collections.abc import Mapping

from moltbot_gw.config import ProviderEntry

# Source: the original's provider table (reference, "API key order for a provider").
_VARIABLES: dict[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_OAUTH_TOKEN", "ANTHROPIC_API_KEY"),
    "google": ("GEMINI_API_KEY",),
    "vercel-ai-gateway": ("AI_GATEWAY_API_KEY",),
    "kimi-code": ("KIMICODE_API_KEY",),
    "zai": ("ZAI_API_KEY", "Z_AI_API_KEY"),
    "opencode": ("OPENCODE_API_KEY", "OPENCODE_ZEN_API_KEY"),
    "qwen-portal": ("QWEN_OAUTH_TOKEN", "QWEN_PORTAL_API_KEY"),
    "github-copilot": ("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"),
    "chutes": ("CHUTES_OAUTH_TOKEN", "CHUTES_API_KEY"),
}
_BY_NAME = frozenset(
    {
        "openai",
        "groq",
        "cerebras",
        "xai",
        "mistral",
        "openrouter",
        "moonshot",
        "minimax",
        "venice",
        "xiaomi",
        "synthetic",
        "deepgram",
    }
)


def find_api_key(
    name: str, entry: ProviderEntry, environ: Mapping[str, str]
) -> str | None:
    """Return the key for the provider *name*, or None for a server that needs none."""
    name = name.lower()
    variables = _VARIABLES.get(name, ())
    if name in _BY_NAME:
        variables = (f"{name.upper()}_API_KEY",)
    for variable in variables:
        value = environ.get(variable, "").strip()
        if value:
            return value
    return (entry.api_key.reveal().strip() or None) if entry.api_key else None
