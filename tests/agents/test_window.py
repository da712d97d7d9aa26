"""The thresholds of the original, and proportions for small windows."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.window import (
    MIN_WINDOW,
    CompactionSettings,
    compaction_settings,
    window_of,
)
from moltbot_gw.config import Config
from moltbot_gw.errors import InvalidRequest

DEFAULTS = CompactionSettings()


def _model(size: int | None) -> ModelRef:
    return ModelRef("local", "m1", context_window=size)


def _settings(**defaults: object) -> CompactionSettings:
    config = msgspec.convert({"agents": {"defaults": defaults}}, Config)
    return compaction_settings(config.agents.defaults)


@pytest.mark.parametrize(
    ("size", "threshold"),
    [(None, 180_000), (200_000, 180_000), (32_000, 16_000), (16_000, 8_000)],
)
def test_part_of_the_window_stays_free(size: int | None, threshold: int) -> None:
    assert window_of(_model(size), DEFAULTS).threshold == threshold


def test_window_too_small_for_an_agent_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="local/m1 has a context window of 15999"):
        window_of(_model(MIN_WINDOW - 1), DEFAULTS)


def test_unset_configuration_means_the_defaults() -> None:
    assert _settings() == DEFAULTS


def test_configuration_is_honoured() -> None:
    settings = _settings(
        contextTokens=100_000,
        compaction={
            "mode": "default",
            "reserveTokensFloor": 30_000,
            "maxHistoryShare": 0.2,
        },
    )
    assert not settings.lists
    window = window_of(_model(None), settings)
    assert (window.size, window.threshold) == (100_000, 70_000)
    assert window.budget(0).recent == 14_000
    assert window_of(_model(50_000), settings).size == 50_000


@pytest.mark.parametrize(("floor", "reserve"), [(0, 16_384), (10**6, 10**6)])
def test_reserve_is_never_less_than_the_least(floor: int, reserve: int) -> None:
    assert _settings(compaction={"reserveTokensFloor": floor}).reserve == reserve


def test_recent_messages_of_a_large_window_are_those_of_the_original() -> None:
    assert window_of(_model(None), DEFAULTS).budget(5_000).recent == 20_000


@given(
    st.integers(MIN_WINDOW, 10**6),
    st.integers(0, 10**6),
    st.integers(16_384, 10**6),
    st.floats(0.1, 0.9),
)
def test_parts_are_smaller_than_the_whole(
    size: int, overhead: int, reserve: int, share: float
) -> None:
    settings = CompactionSettings(reserve=reserve, history_share=share)
    window = window_of(_model(size), settings)
    assert size // 2 <= window.threshold < size
    budget = window.budget(overhead)
    assert budget.summary > 0
    assert 0 < budget.recent <= budget.turn
    if overhead <= window.threshold * 3 // 4:
        assert overhead + budget.recent + budget.summary < window.threshold
        assert overhead + budget.turn + budget.summary <= window.threshold
    # A chunk, the summary so far, and an answer twice as long as asked.
    assert 0 < budget.chunk + 3 * budget.summary < size
