"""Parameters that the original reads as far as they have the right type."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Text1 = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(ge=1)]


class LooseParams(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of parameters among which others may stand."""


def text_in(value: Any) -> str | None:
    """Return *value* without the blanks around it; None if it is no words."""
    return value.strip() or None if isinstance(value, str) else None


def number_in(value: Any) -> float | None:
    """Return *value* if it is a number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number else None


def texts_in(value: Any) -> tuple[str, ...] | None:
    """Return *value* if it is a list of words."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None
