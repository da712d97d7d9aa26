from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, LogPublisher

from moltbot_gw import logfile
from moltbot_gw.logfile import FLUSH_SECONDS, MAX_WAITING, MOST_WAITING, LogFile
from moltbot_gw.logs.levels import Levels
from moltbot_gw.logs.scribe import MAX_MESSAGE_CHARS, Scribe
from moltbot_gw.logs.scrub import Scrubber

SECRET = "the-token-of-this-test"

LEVELS = ("debug", "info", "warn", "error", "critical")
NAMES = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")


class Reactor(Clock):
    """A clock that keeps the calls of other threads until they are wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: list[Callable[[], None]] = []

    def callFromThread(self, work: Callable[..., None], *args: object) -> None:
        self.from_threads.append(lambda: work(*args))


class Disk:
    """A thread that writes; one that *hangs* does so when the test lets it."""

    def __init__(self) -> None:
        self.hangs = False
        self._held: list[tuple[Callable[[], None], Deferred[None]]] = []

    def run(self, work: Callable[[], None]) -> Deferred[None]:
        if not self.hangs:
            return succeed(work())
        self._held.append((work, Deferred()))
        return self._held[-1][1]

    def go_on(self) -> None:
        self.hangs = False
        while self._held:
            work, done = self._held.pop(0)
            done.callback(work())


class Desk:
    """A log file, a logger that writes to it, and the lines in the file."""

    def __init__(self, folder: Path, path: Path | None, level: str) -> None:
        self.clock = Reactor()
        self.disk = Disk()
        self.folder = folder
        self.file = LogFile(
            path=path,
            folder=folder,
            scribe=Scribe(Scrubber([SECRET])),
            levels=Levels(level, {}),
            clock=self.clock,
            run_in_thread=self.disk.run,
        )
        self.publisher = LogPublisher(self.file)
        self.log = Logger("moltbot_gw.http.site", observer=self.publisher)

    @property
    def found(self) -> Path:
        path = self.file.find()
        assert path is not None
        return path

    @property
    def lines(self) -> list[Any]:
        self.file.flush()
        return [json.loads(line) for line in self.found.read_bytes().splitlines()]

    @property
    def line(self) -> Any:
        (line,) = self.lines
        return line


MakeDesk = Callable[..., Desk]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeDesk]:
    """Make log files below an empty folder; at the end none waits for its timer."""
    desks: list[Desk] = []

    def make_desk(level: str = "info", path: Path | None = None) -> Desk:
        desks.append(Desk(tmp_path / "logs", path, level))
        return desks[-1]

    yield make_desk
    for desk in desks:
        desk.file.flush()
        assert desk.clock.getDelayedCalls() == []


@pytest.fixture
def desk(make: MakeDesk) -> Desk:
    return make()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- lines


def test_a_line_has_the_shape_of_the_original(desk: Desk) -> None:
    event = {
        "log_level": LogLevel.warn,
        "log_namespace": "moltbot_gw.http.site",
        "log_format": "{a} is not {b!r}",
        "log_time": 1_700_000_000.4567,
    }
    desk.file({**event, "a": 1, "b": "two"})
    when = "2023-11-14T22:13:20.456Z"
    assert desk.line == {
        "0": '{"subsystem":"http.site"}',
        "1": "1 is not 'two'",
        "_meta": {"name": "moltbot_gw.http.site", "logLevelName": "WARN", "date": when},
        "time": when,
    }


def test_a_part_of_another_program_keeps_its_whole_name(desk: Desk) -> None:
    Logger("twisted.web", observer=desk.publisher).info("x")
    assert json.loads(desk.line["0"]) == {"subsystem": "twisted.web"}


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("silent", 0),
        ("fatal", 1),
        ("error", 2),
        ("warn", 3),
        ("info", 4),
        ("debug", 5),
        ("trace", 5),
    ],
)
def test_levels(make: MakeDesk, level: str, shown: int) -> None:
    desk = make(level)
    for name in LEVELS:
        desk.log.emit(LogLevel.levelWithName(name), "words")
    desk.file.flush()
    found = desk.lines if shown else []
    assert [x["_meta"]["logLevelName"] for x in found] == list(NAMES)[5 - shown :]
    assert (desk.file.find() is None) == (shown == 0)


def test_an_event_without_a_level_is_no_line(desk: Desk) -> None:
    desk.file({"log_format": "words"})
    desk.file.flush()
    assert desk.file.find() is None


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"log_format": "{words}", "words": "a\x1b[0m\r\nb"}, r"a\x1b[0m\r\nb"),
        ({"log_format": "it is {it}", "it": SECRET}, "it is ***"),
        ({"log_format": "{call()} {it}", "call": lambda: 1, "it": 2}, "1 2"),
        ({"log_format": "(in parentheses)"}, "(in parentheses)"),
        ({"log_format": "{{}} {a[b]} {c.real}", "a": {"b": 1}, "c": 2}, "{} 1 2"),
        ({"log_format": "\ud800 {path}", "path": "\udcff"}, "\\ud800 \\udcff"),
        ({"log_format": b"bytes"}, "bytes"),
        ({}, ""),
    ],
)
def test_messages(desk: Desk, event: Any, text: str) -> None:
    desk.file({"log_level": LogLevel.info, **event})
    assert desk.line["1"] == text
    assert desk.line["time"] == "1970-01-01T00:00:00.000Z"


class Stubborn:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_event_that_cannot_be_formatted_is_told_all_the_same(desk: Desk) -> None:
    desk.log.info("{it} {missing}", it=Stubborn())
    desk.log.info("{it}", it=Stubborn())
    one, two = desk.lines
    assert "missing" in one["1"]
    assert "no words" in two["1"]


def test_a_failure_brings_its_traceback(desk: Desk) -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        desk.log.failure("method {name} failed", name="health")
    first, *trace = desk.line["1"].splitlines()
    assert first == "method health failed"
    assert "test_a_failure_brings_its_traceback" in "\n".join(trace)
    assert trace[-1].strip().startswith("KeyError: [what it says is not")
    assert desk.line["_meta"]["logLevelName"] == "FATAL"


def test_a_long_message_is_cut(desk: Desk) -> None:
    desk.log.info("{words}", words="\u20ac" * 100_000)
    assert desk.line["1"] == "\u20ac" * MAX_MESSAGE_CHARS


# -- when it is written


def test_lines_are_written_together_after_a_moment(desk: Desk) -> None:
    desk.log.info("one")
    desk.clock.advance(FLUSH_SECONDS / 2)
    desk.log.info("two")
    assert desk.file.find() is None
    desk.clock.advance(FLUSH_SECONDS / 2)
    assert desk.found.read_bytes().count(b"\n") == 2
    assert desk.clock.getDelayedCalls() == []


def test_lines_after_the_moment_begin_another(desk: Desk) -> None:
    for number in range(3):
        desk.log.info("line")
        desk.clock.advance(FLUSH_SECONDS)
        assert desk.found.read_bytes().count(b"\n") == number + 1


def test_many_lines_are_written_at_once(desk: Desk) -> None:
    for _ in range(MAX_WAITING):
        desk.log.info("line")
    assert desk.file.find() is None
    desk.log.info("one more")
    assert desk.found.read_bytes().count(b"\n") == MAX_WAITING + 1


def test_lines_of_other_threads_go_through_the_reactor(desk: Desk) -> None:
    thread = Thread(target=desk.log.info, args=("from afar",))
    thread.start()
    thread.join()
    assert desk.clock.getDelayedCalls() == []
    for work in desk.clock.from_threads:
        work()
    assert desk.line["1"] == "from afar"


def test_lines_wait_for_a_disk_that_hangs(desk: Desk) -> None:
    desk.disk.hangs = True
    for number in range(MAX_WAITING + 2):
        desk.log.info("{number}", number=number)
        desk.clock.advance(FLUSH_SECONDS)
    assert desk.file.find() is None
    desk.disk.go_on()
    desk.clock.advance(FLUSH_SECONDS)
    assert [line["1"] for line in desk.lines] == [
        str(number) for number in range(MAX_WAITING + 2)
    ]


def test_what_a_hanging_disk_costs_is_bounded_and_told(desk: Desk) -> None:
    desk.disk.hangs = True
    desk.log.info("first")
    desk.clock.advance(FLUSH_SECONDS)
    for _ in range(MOST_WAITING + 7):
        desk.log.info("line")
    desk.disk.go_on()
    lines = [line["1"] for line in desk.lines]
    assert len(lines) == 1 + MOST_WAITING + 1
    assert lines[-1].startswith("7 log lines were dropped")


# -- the file


def test_the_file_is_of_the_day_and_for_its_owner_alone(desk: Desk) -> None:
    old_mask = os.umask(0o022)
    try:
        desk.log.info("line")
        desk.file.flush()
    finally:
        os.umask(old_mask)
    assert desk.found.name == time.strftime("moltbot-%Y-%m-%d.log")
    assert (mode(desk.found), mode(desk.folder)) == (0o600, 0o700)


def test_a_file_of_its_own(make: MakeDesk, tmp_path: Path) -> None:
    old_mask = os.umask(0o022)
    path = tmp_path / "a" / "b" / "gw.log"
    try:
        desk = make(path=path)
        assert desk.file.find() is None
        desk.log.info("line")
        assert desk.line["1"] == "line"
    finally:
        os.umask(old_mask)
    assert desk.found == path
    assert [mode(p) for p in (path, path.parent, tmp_path / "a")] == [
        0o600,
        *[0o700] * 2,
    ]
    assert not desk.folder.exists()


def test_lines_follow_those_of_the_run_before(make: MakeDesk) -> None:
    for number in range(2):
        desk = make()
        desk.log.info("run {number}", number=number)
        desk.file.flush()
    assert [line["1"] for line in desk.lines] == ["run 0", "run 1"]


def test_another_day_has_another_file_and_the_older_are_removed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.folder.mkdir()
    for name in ("moltbot-2020-01-01.log", "moltbot-2020-01-01.log.1", "mine.log"):
        (desk.folder / name).touch()
        os.utime(desk.folder / name, (0, 0))
    monkeypatch.setattr(time, "strftime", _day(time.strftime, "2020-01-02"))
    desk.log.info("line")
    desk.file.flush()
    left = sorted(path.name for path in desk.folder.iterdir())
    assert left == ["mine.log", "moltbot-2020-01-02.log"]
    monkeypatch.setattr(time, "strftime", _day(time.strftime, "2020-01-03"))
    assert desk.found.name == "moltbot-2020-01-02.log"
    desk.log.info("line")
    desk.file.flush()
    assert desk.found.name == "moltbot-2020-01-03.log"


def _day(strftime: Any, day: str) -> Any:
    def changed(form: str, *more: Any) -> Any:
        if form.startswith("moltbot-"):
            return f"moltbot-{day}.log"
        return strftime(form, *more)

    return changed


@pytest.mark.parametrize("name", [None, "gw.log"])
def test_a_large_file_is_begun_anew(
    make: MakeDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.setattr(logfile, "MAX_FILE_BYTES", 100)
    desk = make(path=tmp_path / name if name else None)
    for word in ("one", "two", "three"):
        desk.log.info(word)
        assert desk.line["1"] == word  # a line has more than a hundred bytes
    older = desk.found.with_name(f"{desk.found.name}.1")
    assert [json.loads(x)["1"] for x in older.read_text().splitlines()] == ["two"]
    names = {path.name for path in desk.found.parent.iterdir()} - {"logs"}
    assert names == {desk.found.name, older.name}
    assert mode(older) == 0o600


def test_the_newest_file_is_no_older_part_of_its_day(desk: Desk) -> None:
    desk.folder.mkdir()
    for name in ("moltbot-2020-01-01.log", "moltbot-2020-01-02.log"):
        (desk.folder / name).touch()
        (desk.folder / f"{name}.1").touch()
    (desk.folder / "zzz.log").touch()
    assert desk.found.name == "moltbot-2020-01-02.log"


# -- it stops nothing


def test_a_folder_that_cannot_be_made(desk: Desk) -> None:
    desk.folder.write_text("a file is in its way")
    desk.log.info("line")
    desk.clock.advance(FLUSH_SECONDS)
    assert desk.file.find() is None
    desk.folder.unlink()
    desk.log.info("another")
    assert desk.line["1"] == "another"


def test_a_file_that_cannot_be_written(make: MakeDesk, tmp_path: Path) -> None:
    desk = make(path=tmp_path)
    for _ in range(2 * MAX_WAITING):
        desk.log.info("line")
    desk.clock.advance(FLUSH_SECONDS)
    assert desk.file.find() is None


def test_what_cannot_be_written_is_not_logged_in_turn(
    make: MakeDesk, tmp_path: Path
) -> None:
    desk = make(path=tmp_path)
    seen: list[Any] = []
    observer: Any = seen.append
    desk.publisher.addObserver(observer)
    desk.log.info("line")
    desk.clock.advance(FLUSH_SECONDS)
    assert [event["log_format"] for event in seen] == ["line"]


def test_a_disk_that_is_full(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs a disk that is always full")
    monkeypatch.setattr(desk.file, "_open", lambda named: full.open("ab"))
    desk.log.info("line")
    desk.clock.advance(FLUSH_SECONDS)
    assert desk.clock.getDelayedCalls() == []


def test_nothing_is_written_for_nothing(desk: Desk) -> None:
    desk.file.flush()
    assert not desk.folder.exists()


def test_each_line_is_one_line(desk: Desk) -> None:
    desk.log.info("{words}", words="a\nb\r\nc\u2028d\x85e")
    desk.file.flush()
    assert re.fullmatch(rb"[^\r\n]*\n", desk.found.read_bytes())


def test_file_may_change(make: MakeDesk, tmp_path: Path) -> None:
    desk = make()
    desk.log.info("one")
    before = desk.lines
    desk.log.info("two")
    moved = tmp_path / "moved" / "other.log"
    desk.file.move(moved)
    desk.log.info("three")
    assert [line["1"] for line in desk.lines] == ["three"]
    assert desk.found == moved
    assert [line["1"] for line in before] == ["one"]
    [today] = list(desk.folder.glob("*.log"))
    assert "two" in today.read_text()
