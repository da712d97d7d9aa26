"""When a session is too old."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.sessions import ResetPolicy, fresh_after_ms, session_kind

_MINUTE = 60_000
_HOUR = 60 * _MINUTE

pytestmark = pytest.mark.skipif(
    "America/New_York" not in available_timezones(), reason="no time zones here"
)


def _ms(text: str) -> int:
    """Return the Unix milliseconds of an ISO date and time with an offset."""
    return int(datetime.fromisoformat(text).timestamp()) * 1000


@pytest.mark.parametrize(
    ("zone", "at_hour", "now", "expected"),
    [
        ("UTC", 4, "2026-01-29T10:00:00+00:00", "2026-01-29T04:00:00+00:00"),
        ("UTC", 4, "2026-01-29T04:00:00+00:00", "2026-01-29T04:00:00+00:00"),
        ("UTC", 4, "2026-01-29T03:59:59+00:00", "2026-01-28T04:00:00+00:00"),
        ("UTC", 0, "2026-03-01T00:00:01+00:00", "2026-03-01T00:00:00+00:00"),
        ("UTC", 23, "2026-01-01T05:00:00+00:00", "2025-12-31T23:00:00+00:00"),
        ("Asia/Kolkata", 4, "2026-01-29T00:00:00+00:00", "2026-01-29T04:00:00+05:30"),
        # The night before the clock goes forward is an hour shorter ...
        (
            "America/New_York",
            4,
            "2026-03-08T03:30:00-04:00",
            "2026-03-07T04:00:00-05:00",
        ),
        # ... and an hour that it skips counts as the moment of the skip.
        (
            "America/New_York",
            2,
            "2026-03-08T03:00:00-04:00",
            "2026-03-08T03:00:00-04:00",
        ),
        (
            "America/New_York",
            2,
            "2026-03-08T01:59:59-05:00",
            "2026-03-07T02:00:00-05:00",
        ),
        # An hour that comes twice counts once.
        (
            "America/New_York",
            1,
            "2026-11-01T01:30:00-04:00",
            "2026-11-01T01:00:00-04:00",
        ),
        (
            "America/New_York",
            1,
            "2026-11-01T01:30:00-05:00",
            "2026-11-01T01:00:00-04:00",
        ),
        # A whole day that was never there.
        (
            "Pacific/Apia",
            4,
            "2011-12-31T03:00:00+14:00",
            "2011-12-29T04:00:00-10:00",
        ),
    ],
)
def test_daily_reset(zone: str, at_hour: int, now: str, expected: str) -> None:
    policy = ResetPolicy(at_hour=at_hour)
    assert fresh_after_ms(policy, _ms(now), ZoneInfo(zone)) == _ms(expected)


@pytest.mark.parametrize(
    ("policy", "ago"),
    [
        (ResetPolicy(), 6 * _HOUR),
        (ResetPolicy(idle_minutes=30), 30 * _MINUTE),
        (ResetPolicy(idle_minutes=600), 6 * _HOUR),
        (ResetPolicy(mode="idle"), _HOUR),
        (ResetPolicy(mode="idle", idle_minutes=600), 10 * _HOUR),
    ],
)
def test_the_stricter_rule_counts(policy: ResetPolicy, ago: int) -> None:
    now_ms = _ms("2026-01-29T10:00:00+00:00")
    assert fresh_after_ms(policy, now_ms, timezone.utc) == now_ms - ago


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield ZoneInfo("America/New_York")
    monkeypatch.undo()
    time.tzset()


def test_no_zone_is_the_zone_of_the_machine(local_zone: ZoneInfo) -> None:
    first = _ms("2026-03-07T00:30:00+00:00")
    for hour in range(72):
        now_ms = first + hour * _HOUR
        here = fresh_after_ms(ResetPolicy(), now_ms)
        assert here == fresh_after_ms(ResetPolicy(), now_ms, local_zone)


@given(
    now_ms=st.integers(min_value=0, max_value=4_000_000_000_000),
    at_hour=st.integers(min_value=0, max_value=23),
    zone=st.sampled_from(
        (
            "UTC",
            "Europe/Vienna",
            "America/New_York",
            "Pacific/Apia",
            "Asia/Kolkata",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
            "America/Caracas",
        )
    ),
)
def test_daily_reset_is_the_last_one_before_now(
    now_ms: int, at_hour: int, zone: str
) -> None:
    tz = ZoneInfo(zone)
    policy = ResetPolicy(at_hour=at_hour)
    reset_ms = fresh_after_ms(policy, now_ms, tz)
    assert reset_ms <= now_ms < reset_ms + 50 * _HOUR
    assert fresh_after_ms(policy, reset_ms, tz) == reset_ms
    # The wall clock says the hour, or the hour was skipped.
    at = datetime.fromtimestamp(reset_ms // 1000, tz)
    before = datetime.fromtimestamp(reset_ms // 1000 - 1, tz)
    assert (at.hour, at.minute) == (at_hour, 0) or at.replace(
        tzinfo=None
    ) - before.replace(tzinfo=None) > timedelta(seconds=1)


@pytest.mark.parametrize("bad", [{"at_hour": 24}, {"mode": "x"}, {"idle_minutes": 0}])
def test_senseless_policy_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ResetPolicy(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("session_key", "kind"),
    [
        ("agent:main:main", "dm"),
        ("agent:main:dm:ann", "dm"),
        ("global", "dm"),
        ("agent:main:telegram:group:7", "group"),
        ("agent:main:slack:channel:c7", "group"),
        ("agent:main:slack:CHANNEL:C7", "group"),
        ("agent:main:slack:channel:c7:thread:9", "thread"),
        ("agent:main:telegram:group:7:Topic:9", "thread"),
    ],
)
def test_kind_of_a_session(session_key: str, kind: str) -> None:
    assert session_kind(session_key) == kind
