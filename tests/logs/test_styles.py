from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from twisted.logger import LogLevel

from moltbot_gw.logs.scribe import Entry
from moltbot_gw.logs.styles import (
    bytes_of,
    is_journal,
    iso_time,
    render_compact,
    render_json,
    render_pretty,
)

ENTRY = Entry(
    time=1_700_000_000.4567,
    level=LogLevel.error,
    namespace="moltbot_gw.http.site",
    text="it broke",
    trace=("one", "two"),
)


def test_pretty_is_short_and_coloured_where_it_is_bad() -> None:
    first, *rest = render_pretty(ENTRY, {})
    pattern = r"\d\d:\d\d:\d\d error \x1b\[31m\[http\.site\] it broke\x1b\[0m"
    assert re.fullmatch(pattern, first)
    assert rest == ["    one", "    two"]
    calm = Entry(time=0.0, level=LogLevel.info, namespace="a", text="b")
    (line,) = render_pretty(calm, {})
    assert line.isprintable()


def test_compact_is_plain() -> None:
    assert render_compact(ENTRY, {}) == [
        "2023-11-14T22:13:20.456Z error [http.site] it broke",
        "    one",
        "    two",
    ]


@pytest.mark.parametrize(
    "seconds", [0.0, 1.0015, 1_700_000_000.9996, 1_700_000_000.9999999, 1_763_920_799.5]
)
def test_times_are_those_of_datetime(seconds: float) -> None:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    shown = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert iso_time(seconds) == shown


def test_json_is_one_object_in_which_fields_replace_nothing() -> None:
    (line,) = render_json(ENTRY, {"status": 200, "run": "r"})
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.456Z",
        "level": "error",
        "subsystem": "http.site",
        "message": "it broke",
        "trace": ["one", "two"],
        "status": 200,
        "run": "r",
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", 7), ("info", 6), ("warn", 4), ("error", 3), ("critical", 2)],
)
def test_each_line_for_the_journal_says_its_priority(level: str, priority: int) -> None:
    named = LogLevel.levelWithName(level)
    said = bytes_of(["a", "b"], named, for_journal=True)
    assert said == b"<%d>a\n<%d>b\n" % (priority, priority)
    assert bytes_of(["a"], named, for_journal=False) == b"a\n"


def test_the_journal_is_known_by_its_inode(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as file, (tmp_path / "b").open("w") as other:
        status = os.fstat(file.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(file.fileno(), environ)
        assert not is_journal(other.fileno(), environ)
        assert not is_journal(file.fileno(), {})
    assert not is_journal(-1, {"JOURNAL_STREAM": "1:2"})
