from __future__ import annotations

import pytest

from moltbot_gw.config import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("90s", 90.0),
        ("30m", 1800.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("5", 300.0),
        ("1.5h", 5400.0),
        (" 2 H ", 7200.0),
        ("0m", 0.0),
    ],
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "m", "-1m", "1w", "1h30m", ".5h", "1.h", "inf", "nan", "٣m", "9" * 400]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)
