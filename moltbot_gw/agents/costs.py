"""What tokens cost, by the prices of the configuration.

Money is in USD; the counts are in the protocol's own split of them: what was read from
the provider's cache is no part of *input*.

Source: upstream ``src/utils/usage-format.ts``.
"""

from __future__ import annotations

import msgspec

from moltbot_gw.config import Cost
from moltbot_gw.events import Usage

_PER_MILLION = 1_000_000


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of tokens; *total* is the provider's own sum."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    total: int = 0


class Price(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What some tokens cost, in all and by kind."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0
    total: float = 0.0


def tokens_of(prompt: int, completion: int, cached: int, total: int) -> Tokens:
    """Split counts as OpenAI makes them, where the cached ones are in *prompt*."""
    return Tokens(
        input=max(0, prompt - cached),
        output=completion,
        cache_read=cached,
        total=total,
    )


def count_tokens(usage: Usage) -> Tokens:
    """Split the counts of *usage*."""
    return tokens_of(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens or 0,
        usage.total_tokens,
    )


def price_of(tokens: Tokens, cost: Cost) -> Price:
    """Return what *tokens* cost; *cost* is per million of them."""
    parts = {
        "input": tokens.input * cost.input / _PER_MILLION,
        "output": tokens.output * cost.output / _PER_MILLION,
        "cache_read": tokens.cache_read * cost.cache_read / _PER_MILLION,
    }
    return Price(**parts, total=sum(parts.values()))
