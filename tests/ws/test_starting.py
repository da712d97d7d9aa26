from __future__ import annotations

from moltbot_gw.events import Usage
from moltbot_gw.ws.starting import usage_of


def test_input_is_what_was_not_read_from_the_cache() -> None:
    usage = Usage(
        prompt_tokens=9, completion_tokens=2, total_tokens=11, cached_tokens=4
    )
    assert usage_of(usage) == {
        "input": 5,
        "output": 2,
        "cacheRead": 4,
        "cacheWrite": 0,
        "total": 11,
    }


def test_provider_that_counts_its_cache_apart_makes_no_negative_input() -> None:
    usage = Usage(prompt_tokens=5, completion_tokens=1, total_tokens=6, cached_tokens=9)
    assert usage_of(usage)["input"] == 0
