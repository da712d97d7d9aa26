"""How hard a model should think: the levels of people, in the words of providers."""

from __future__ import annotations

from typing import Literal

import msgspec

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.messages import SamplingOptions

Thinking = Literal["off", "minimal", "low", "medium", "high", "xhigh"]
_EFFORTS = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
}


def thinking_level(model: ModelRef, *levels: str | None) -> str:
    """Return the first of *levels* that somebody has set, else what is usual."""
    usual = "low" if model.reasons else "off"
    return next((level for level in levels if level), usual)


def with_thinking(
    options: SamplingOptions, model: ModelRef, *levels: str | None
) -> SamplingOptions:
    """Return *options* with the first of *levels* that somebody has set.

    Nothing changes for a model that does not reason, for ``off``, and where the client
    has named an effort itself.
    """
    level = next((level for level in levels if level), None)
    effort = _EFFORTS.get(level or "")
    if effort is None or not model.reasons or options.reasoning_effort is not None:
        return options
    return msgspec.structs.replace(options, reasoning_effort=effort)
