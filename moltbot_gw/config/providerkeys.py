"""Which variables of the environment hold the API key of a provider.

Source: the original's provider table (reference, "API key order for a provider").
"""

from __future__ import annotations

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


def key_variables(provider: str) -> tuple[str, ...]:
    """Return the variables to look for, in this order; the id's case does not count."""
    name = provider.lower()
    if name in _BY_NAME:
        return (f"{name.upper()}_API_KEY",)
    return _VARIABLES.get(name, ())
