from __future__ import annotations

import pytest
from twisted.logger import LogLevel

from moltbot_gw.logs.levels import Levels
from tests.logs.support import event

LEVELS = ("debug", "info", "warn", "error", "critical")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("silent", ()),
        ("fatal", LEVELS[4:]),
        ("error", LEVELS[3:]),
        ("warn", LEVELS[2:]),
        ("info", LEVELS[1:]),
        ("debug", LEVELS),
        ("trace", LEVELS),
    ],
)
def test_a_level_shows_what_is_at_least_as_bad(
    level: str, shown: tuple[str, ...]
) -> None:
    levels = Levels(level, {})
    found = [
        name
        for name in LEVELS
        if levels.shows(event(log_level=LogLevel.levelWithName(name)))
    ]
    assert tuple(found) == shown


@pytest.mark.parametrize(
    ("namespace", "shown"),
    [
        ("moltbot_gw.http", True),
        ("moltbot_gw.http.site", True),
        ("moltbot_gw.http.site.deeper", True),
        ("moltbot_gw.http.accesslog", False),
        ("moltbot_gw.httpx", False),
        ("moltbot_gw", False),
        ("", False),
    ],
)
def test_the_longest_name_that_fits_decides(namespace: str, shown: bool) -> None:
    parts = {"moltbot_gw.http": "debug", "moltbot_gw.http.accesslog": "silent"}
    levels = Levels("info", parts)
    debug = event(log_level=LogLevel.debug, log_namespace=namespace)
    assert levels.shows(debug) == shown


def test_an_event_without_level_or_name() -> None:
    assert not Levels("trace", {}).shows({"log_format": "x"})
    assert Levels("info", {}).shows({"log_level": LogLevel.info})
