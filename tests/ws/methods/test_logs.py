from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ws.methods.support import Desk, caller_of

READER = caller_of("read")
TEXT = "one\ntwo\nthree\n"


@pytest.fixture
def file(desk: Desk, tmp_path: Path) -> Path:
    """The log file, with three lines."""
    desk.log_file = tmp_path / "gw.log"
    desk.log_file.write_text(TEXT)
    return desk.log_file


def tail(desk: Desk, **params: Any) -> dict[str, Any]:
    told = desk.ask("logs.tail", params, READER)
    told.pop("file")
    return told  # type: ignore[no-any-return]


def expected(*lines: str, reset: bool = False, truncated: bool = False) -> Any:
    return {
        "cursor": len(TEXT),
        "size": len(TEXT),
        "lines": list(lines),
        "truncated": truncated,
        "reset": reset,
    }


def test_tail_of_a_whole_file(desk: Desk, file: Path) -> None:
    assert desk.ask("logs.tail", {}, READER)["file"] == str(file)
    assert tail(desk) == expected("one", "two", "three")


def test_only_what_is_new_follows_the_cursor(desk: Desk, file: Path) -> None:
    cursor = tail(desk)["cursor"]
    assert tail(desk, cursor=cursor) == expected()
    with file.open("a") as log:
        log.write("four\n")
    told = tail(desk, cursor=cursor)
    assert told["lines"] == ["four"]
    assert told["cursor"] == told["size"] == len(TEXT) + 5
    assert not told["reset"]


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"limit": 2}, expected("two", "three")),
        ({"maxBytes": 14}, expected("one", "two", "three")),
        ({"maxBytes": 13}, expected("two", "three", truncated=True)),
        ({"maxBytes": 10}, expected("two", "three", truncated=True)),
        ({"maxBytes": 3}, expected(truncated=True)),
        ({"cursor": 0}, expected("one", "two", "three")),
        ({"cursor": 4}, expected("two", "three")),
        ({"cursor": 5}, expected("three")),
        (
            {"cursor": 2, "maxBytes": 7},
            expected("three", reset=True, truncated=True),
        ),
        ({"cursor": 15}, expected("one", "two", "three", reset=True)),
        (
            {"cursor": 10**30, "maxBytes": 6},
            expected("three", reset=True, truncated=True),
        ),
    ],
)
def test_where_the_tail_begins(
    desk: Desk, file: Path, params: dict[str, Any], told: Any
) -> None:
    assert tail(desk, **params) == told


def test_last_line_may_be_unfinished(desk: Desk, file: Path) -> None:
    file.write_text("one\ntw")
    assert tail(desk)["lines"] == ["one", "tw"]


def test_bytes_that_are_no_text_are_replaced(desk: Desk, file: Path) -> None:
    file.write_bytes(b"\xff\n")
    assert tail(desk)["lines"] == ["\ufffd"]


@pytest.mark.parametrize("is_named", [True, False])
def test_missing_file_is_an_empty_one(
    desk: Desk, tmp_path: Path, is_named: bool
) -> None:
    desk.log_file = tmp_path / "none.log" if is_named else None
    assert desk.ask("logs.tail", {"cursor": 5}) == {
        "file": str(tmp_path / "none.log") if is_named else "",
        "cursor": 0,
        "size": 0,
        "lines": [],
        "truncated": False,
        "reset": False,
    }


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_read(desk: Desk, tmp_path: Path, make: Any) -> None:
    desk.log_file = tmp_path / "odd"
    make(desk.log_file)
    code, message = desk.refusal("logs.tail")
    assert code == "UNAVAILABLE"
    assert message.startswith("log read failed: ")


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": -1},
        {"limit": 0},
        {"limit": 5001},
        {"maxBytes": 0},
        {"maxBytes": 1_000_001},
        {"cursor": "0"},
        {"what": 1},
    ],
)
def test_tail_is_strict(desk: Desk, params: Any) -> None:
    code, message = desk.refusal("logs.tail", params)
    assert code == "INVALID_REQUEST"
    assert message.startswith("invalid logs.tail params: ")


def test_tail_needs_its_scope(desk: Desk) -> None:
    assert desk.refusal("logs.tail", {}, caller_of("pairing")) == (
        "INVALID_REQUEST",
        "missing scope: operator.read",
    )


@given(st.lists(st.text("ab", max_size=5), max_size=20), st.data())
def test_following_a_growing_file_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    desk = Desk(folder, {})
    desk.log_file = folder / "gw.log"
    desk.log_file.touch()
    cursor, seen, rest = 0, [], list(lines)
    while rest:
        count = data.draw(st.integers(1, len(rest)))
        with desk.log_file.open("a") as log:
            log.writelines(f"{line}\n" for line in rest[:count])
        rest = rest[count:]
        told = tail(desk, cursor=cursor)
        cursor = told["cursor"]
        seen += told["lines"]
    assert seen == lines
