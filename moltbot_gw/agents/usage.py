"""Sums of what model calls have used."""

from __future__ import annotations

from moltbot_gw.events import Usage


def add_usage(one: Usage, other: Usage) -> Usage:
    """Return the sum; what neither provider has told stays unknown."""
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        total_tokens=one.total_tokens + other.total_tokens,
        cached_tokens=_add(one.cached_tokens, other.cached_tokens),
        reasoning_tokens=_add(one.reasoning_tokens, other.reasoning_tokens),
    )


def _add(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)
