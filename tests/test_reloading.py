"""When a configuration is read anew, and what is told of it; on a fake clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from moltbot_gw.config import Secret
from moltbot_gw.refusal import StartRefused
from moltbot_gw.reloading import WAITS_FOR_RESTART, Reloader, watched_files
from moltbot_gw.reloadstatus import MAX_ERROR_CHARS, ReloadStatus
from moltbot_gw.sdnotify import Notifier
from moltbot_gw.settings import CommandLine, Current, Settings, load_settings
from moltbot_gw.supervision import Supervision
from tests.support.gateway import LogTape

TOKEN = "0f" * 32


class Sketch:
    """A draft that notes what is done with it."""

    def __init__(self, house: House, settings: Settings) -> None:
        self._house = house
        self._settings = settings
        self.changes = settings != house.current.settings
        self.done: list[str] = []

    async def open(self) -> None:
        self.done.append("open")
        if self._house.opening is not None:
            await self._house.opening
        if self._settings.port == 1:
            raise StartRefused("cannot listen on 1")

    async def discard(self) -> None:
        self.done.append("discard")

    def install(self) -> tuple[str, ...]:
        if self._house.is_broken:
            raise RuntimeError("broken")
        self.done.append("install")
        self._house.current.settings = self._settings
        return self._house.waiting

    async def finish(self) -> None:
        self.done.append("finish")


class House:
    """A configuration's file, who reloads it, and what came of that."""

    def __init__(self, home: Path, **reload: Any) -> None:
        self.home = home
        self.path = home / "moltbot.json"
        self.reload = {"debounceMs": 0, **reload}
        self.write(port=100)
        self.clock = Clock()
        self.current = Current(self.read())
        self.status = ReloadStatus(unix_time=lambda: 1000 + self.clock.seconds())
        self.drafts: list[Sketch] = []
        self.told: list[dict[str, Any]] = []
        self.opening: Deferred[None] | None = None
        self.reading: Deferred[None] | None = None
        self.is_broken = False
        self.waiting: tuple[str, ...] = ()
        supervision = Supervision(
            Notifier({}, 1), clock=self.clock, describe=lambda: ""
        )
        self.reloader = Reloader(
            current=self.current,
            status=self.status,
            reread=self.read,
            draft=self.draft,
            told=lambda: self.told.append(self.status.to_wire()),
            supervision=supervision,
            run_in_thread=self.run_in_thread,
            clock=self.clock,
        )

    def write(self, text: str | None = None, **gateway: Any) -> None:
        tree = {"gateway": {"reload": self.reload, **gateway}}
        self.path.write_text(json.dumps(tree) if text is None else text)

    def read(self) -> Settings:
        options = CommandLine(config=str(self.path), token=Secret(TOKEN))
        return load_settings(options, {}, self.home)

    def draft(self, settings: Settings) -> Sketch:
        self.drafts.append(Sketch(self, settings))
        return self.drafts[-1]

    def run_in_thread(self, work: Callable[[], Any]) -> Deferred[Any]:
        if work == self.read and self.reading is not None:
            return self.reading.addCallback(lambda _: work())
        return maybeDeferred(work)

    def wait(self, seconds: float = 3.0) -> None:
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)

    @property
    def port(self) -> int:
        return self.current.settings.port


Make = Callable[..., House]


@pytest.fixture(autouse=True)
def log() -> Iterator[LogTape]:
    """Record the log; whatever is worse than info and not taken fails the test."""
    with LogTape() as tape:
        yield tape
    assert tape.problems == []


@pytest.fixture
def make(log: LogTape, tmp_path: Path) -> Iterator[Make]:
    made: list[House] = []

    def make_house(*, start: bool = True, **reload: Any) -> House:
        made.append(House(tmp_path, **reload))
        if start:
            made[-1].reloader.start()
            made[-1].wait()  # the file is so new that it is looked at once more
        return made[-1]

    yield make_house
    for house in made:
        house.reloader.stop()
        assert not house.clock.getDelayedCalls()


def test_file_that_says_the_same_changes_nothing(make: Make, log: LogTape) -> None:
    house = make()
    assert house.drafts
    assert {step for one in house.drafts for step in one.done} == set()
    assert house.told == []
    assert not any("reloaded" in line for line in log.lines)


def test_good_file_is_taken_whole(make: Make) -> None:
    house = make()
    house.write(port=200)
    house.wait()
    assert house.port == 200
    assert house.drafts[-1].done == ["open", "install", "finish"]
    [told] = house.told
    assert (told["ok"], told["error"], told["restartNeeded"]) == (True, None, [])
    assert 1_003_000 < told["loadedAt"] < 1_006_100


def test_bad_file_is_told_once_until_it_is_another(make: Make, log: LogTape) -> None:
    house = make()
    for text in ("{", "{", '{"x": 1}', '{"x": 1}'):
        house.write(text)
        house.wait()
    assert house.port == 100
    problems = log.take_problems()
    assert len(problems) == 2
    assert "stays in force" in problems[0]
    assert [told["ok"] for told in house.told] == [False, False]
    assert "Invalid config" in str(house.status.error)
    house.write(port=100)
    house.wait()
    assert house.status.ok


def test_mended_include_is_noticed(make: Make, log: LogTape) -> None:
    house = make()
    part = house.home / "part.json"
    house.write('{"gateway": {"$include": "part.json"}}')
    house.wait()
    assert not house.status.ok
    part.write_text('{"port": 300, "prt": 1}')
    house.wait()
    assert "prt" in str(house.status.error)
    part.write_text('{"port": 300}')
    house.wait()
    assert (house.port, house.status.ok) == (300, True)
    log.take_problems()


def test_port_that_cannot_be_opened_changes_nothing(make: Make, log: LogTape) -> None:
    house = make()
    house.write(port=1)
    house.wait()
    assert (house.port, house.status.error) == (100, "cannot listen on 1")
    assert len(log.take_problems()) == 1


def test_what_waits_for_a_restart_is_told(make: Make, log: LogTape) -> None:
    house = make()
    house.waiting = ("the state directory",)
    house.write(port=200)
    house.wait()
    assert house.status.waiting == ("the state directory",)
    [problem] = log.take_problems()
    assert problem.strip() == "a restart is needed for a change of the state directory"


def test_mode_off_reloads_by_hand_alone(make: Make) -> None:
    house = make(mode="off")
    house.write(port=200)
    house.wait()
    assert house.port == 100
    house.reloader.reload()
    house.wait()
    assert house.port == 200


def test_mode_restart_says_so_once(make: Make, log: LogTape) -> None:
    house = make(mode="restart")
    for port in (200, 300):
        house.write(port=port)
        house.wait()
    assert house.port == 100
    assert house.status.waiting == (WAITS_FOR_RESTART,)
    assert len(log.take_problems()) == 1
    house.reloader.reload()
    house.wait()
    assert (house.port, house.status.waiting) == (300, ())


def test_bad_file_is_told_again_to_who_asks(make: Make, log: LogTape) -> None:
    house = make()
    house.write("{")
    house.wait()
    house.reloader.reload()
    house.wait()
    assert len(log.take_problems()) == 2


def test_change_in_the_middle_of_a_reload_is_not_lost(make: Make) -> None:
    house = make()
    house.opening = Deferred()
    house.write(port=200)
    house.wait()
    house.write(port=300)
    house.reloader.reload()
    house.reloader.reload()
    opening, house.opening = house.opening, None
    opening.callback(None)
    house.wait(0.1)
    assert house.port == 300


@pytest.mark.parametrize("moment", ["reading", "opening"])
def test_stop_drops_what_is_being_reloaded(make: Make, moment: str) -> None:
    house = make()
    setattr(house, moment, Deferred())
    house.write(port=200)
    house.reloader.reload()
    house.reloader.stop()
    house.wait()
    assert house.port == 100
    if moment == "opening":
        assert house.drafts[-1].done == ["open", "discard"]


def test_nothing_is_done_before_the_start(make: Make) -> None:
    house = make(start=False)
    house.write(port=200)
    house.reloader.reload()
    house.wait()
    assert house.port == 100


def test_defect_is_logged_and_told(make: Make, log: LogTape) -> None:
    house = make()
    house.is_broken = True
    house.write(port=200)
    house.wait()
    [problem] = log.take_problems()
    assert "RuntimeError" in problem
    assert house.status.error == "the gateway failed; its log knows more"
    house.is_broken = False
    house.reloader.reload()
    house.wait()
    assert (house.port, house.status.ok) == (200, True)


def test_certificates_are_watched_with_the_rest(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(tls={"enabled": True, "certPath": "/c.pem", "keyPath": "/k.pem"})
    names = {str(file) for file in watched_files(house.read())}
    assert {"/c.pem", "/k.pem", str(house.path)} <= names


def test_long_error_is_cut() -> None:
    status = ReloadStatus(unix_time=lambda: 1.0)
    status.refused("x" * 10_000)
    assert len(str(status.error)) == MAX_ERROR_CHARS
