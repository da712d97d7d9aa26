from __future__ import annotations

import pytest

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.thinking import with_thinking
from moltbot_gw.messages import SamplingOptions

PLAIN, REASONS = ModelRef("p", "plain"), ModelRef("p", "deep", reasons=True)


@pytest.mark.parametrize("level", ["minimal", "low", "medium", "high", "xhigh"])
def test_level_becomes_the_effort(level: str) -> None:
    options = SamplingOptions(temperature=0.5)
    changed = with_thinking(options, REASONS, level)
    assert changed == SamplingOptions(temperature=0.5, reasoning_effort=level)


@pytest.mark.parametrize(
    ("levels", "effort"),
    [
        (("high", "low", "medium"), "high"),
        ((None, "low", "medium"), "low"),
        ((None, None, "medium"), "medium"),
        (("", "low"), "low"),
        (("off", "high"), None),
        ((None, "off", "high"), None),
        (("strange", "high"), None),
        ((None, None, None), None),
        ((), None),
    ],
)
def test_first_level_that_is_set_counts(
    levels: tuple[str | None, ...], effort: str | None
) -> None:
    changed = with_thinking(SamplingOptions(), REASONS, *levels)
    assert changed.reasoning_effort == effort


def test_model_that_does_not_reason_is_not_asked_to() -> None:
    assert with_thinking(SamplingOptions(), PLAIN, "high") == SamplingOptions()


@pytest.mark.parametrize("level", ["high", "off", None])
def test_clients_own_effort_stays(level: str | None) -> None:
    options = SamplingOptions(reasoning_effort="low")
    assert with_thinking(options, REASONS, level) is options
