"""Keys that change in the configuration's files, on a clock that tests move."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from moltbot_gw.config import LoadedConfig, load_config
from moltbot_gw.keyring import KeyRing
from moltbot_gw.keywatch import KeyWatch
from tests.support.gateway import LogTape
from tests.support.keys import make_key, secret_of


def tree(*names: str, **more: Any) -> dict[str, Any]:
    """Return a configuration with keys called *names*."""
    keys = []
    for name in names:
        key = make_key(name)
        assert key.hash is not None
        keys.append({"name": name, "id": key.id, "hash": key.hash.reveal()})
    return {"gateway": {"auth": {"keys": keys}}, **more}


class Desk:
    """A watch of the file ``moltbot.json`` in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.path = folder / "moltbot.json"
        self.keys = KeyRing((), self.clock.seconds)
        self.loads = 0
        self.held: list[Deferred[LoadedConfig]] | None = None
        self.watch = KeyWatch(
            keys=self.keys,
            path=self.path,
            load=self._load,
            run_in_thread=self._run,
            clock=self.clock,
        )

    def write(self, content: Any, name: str = "moltbot.json") -> None:
        """Write a file in the way of an editor: by renaming a whole one."""
        text = content if isinstance(content, str) else json.dumps(content)
        new = self.path.with_name("new")
        new.write_text(text)
        new.rename(self.path.with_name(name))

    def names(self, *names: str) -> list[str]:
        """Return those of *names* that are keys now."""
        return [n for n in names if self.keys.find(secret_of(n).encode())]

    def wait(self, seconds: int = 3) -> None:
        for _ in range(seconds):
            self.clock.advance(1)

    def _load(self) -> LoadedConfig:
        self.loads += 1
        path = self.path if self.path.exists() else None
        return load_config({}, self.path.parent, path=path)

    def _run(self, work: Any) -> Deferred[LoadedConfig]:
        if self.held is None:
            return maybeDeferred(work)
        self.held.append(Deferred())
        return self.held[-1]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with LogTape() as tape:
        found = Desk(tmp_path)
        found.watch.start()
        yield found
        found.watch.stop()
        assert found.clock.getDelayedCalls() == []
    assert tape.problems == []


def test_keys_are_taken_in_and_go(desk: Desk) -> None:
    desk.wait()
    assert desk.names("one") == []
    desk.write(tree("one"))
    desk.wait()
    assert desk.names("one", "two") == ["one"]
    desk.write(tree("two"))
    desk.wait()
    assert desk.names("one", "two") == ["two"]
    desk.path.unlink()
    desk.wait()
    assert desk.names("one", "two") == []


def test_what_stays_as_it_is_is_read_once(desk: Desk) -> None:
    desk.write(tree("one"))
    desk.wait(10)
    assert desk.loads == 1


def test_a_file_that_is_being_written_is_not_read(desk: Desk) -> None:
    desk.wait()
    before = desk.loads
    for number in range(5):
        desk.write(tree("one") if number == 4 else "{" + " " * number)
        desk.wait(1)
    assert desk.loads == before
    desk.wait(1)
    assert desk.names("one") == ["one"]


def test_what_is_not_valid_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    with LogTape() as tape:
        desk = Desk(tmp_path)
        desk.write(tree("one"))
        desk.watch.start()
        desk.wait()
        desk.write({"gateway": {"auth": {"keys": "none"}}})
        desk.wait(10)
        desk.watch.stop()
        (problem,) = tape.take_problems()
    assert problem.startswith("the keys stay as they were: Invalid config")
    assert desk.names("one") == ["one"]


def test_included_files_are_watched(desk: Desk) -> None:
    desk.write({"$include": "./keys.json"})
    desk.write(tree("one"), "keys.json")
    desk.wait(6)
    assert desk.names("one", "two") == ["one"]
    desk.write(tree("two"), "keys.json")
    desk.wait()
    assert desk.names("one", "two") == ["two"]


def test_a_slow_reading_is_waited_for_and_a_later_change_not_lost(desk: Desk) -> None:
    desk.wait()
    desk.write(tree("one"))
    desk.held = []
    desk.wait()
    desk.write(tree("two"))
    desk.wait()
    (first,), desk.held = desk.held, None
    first.callback(load_config({}, desk.path.parent, path=desk.path))
    desk.wait()
    assert desk.names("one", "two") == ["two"]


def test_a_stop_waits_for_no_reading(desk: Desk) -> None:
    desk.held = []
    desk.wait()
    assert len(desk.held) == 1
    desk.watch.stop()
    desk.watch.stop()
