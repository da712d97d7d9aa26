"""Real files, a clock that tests move."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from moltbot_gw.watching import POLL_SECONDS, STABLE_SECONDS, FileWatcher, look_at

LONG_AGO = 1_000_000_000.0


class Watch:
    """A watcher of *files*; *changes* counts what it has told."""

    def __init__(self, *files: Path, quiet: float = 0.0, now: float = 4e9) -> None:
        self.clock = Clock()
        self.changes = 0
        self.held: list[Deferred[None]] = []
        self.holds = False
        self.watcher = FileWatcher(
            changed=self._changed,
            quiet=lambda: quiet,
            run_in_thread=maybeDeferred,
            clock=self.clock,
            unix_time=lambda: now,
        )
        self.watcher.watch(files)
        self.watcher.start()

    def wait(self, seconds: float) -> int:
        """Let time pass in small steps; return how many changes there were in all."""
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)
        return self.changes

    async def _changed(self) -> None:
        self.changes += 1
        if self.holds:
            held: Deferred[None] = Deferred()
            self.held.append(held)
            await held


MakeWatch = Callable[..., Watch]


@pytest.fixture
def make() -> Iterator[MakeWatch]:
    made: list[Watch] = []

    def make_watch(*files: Path, **options: Any) -> Watch:
        made.append(Watch(*files, **options))
        return made[-1]

    yield make_watch
    for watch in made:
        watch.watcher.stop()
        assert not watch.clock.getDelayedCalls()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_text("one")
    return path


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def mode(path: Path, text: str) -> None:
    path.chmod(0o640)


def remove(path: Path, text: str) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [Path.write_text, replace, mode, remove])
def test_change_is_told_once(make: MakeWatch, file: Path, change: Any) -> None:
    watch = make(file)
    assert watch.wait(5) == 0
    change(file, "other")
    assert watch.wait(5) == 1


def test_file_that_comes_is_a_change(make: MakeWatch, tmp_path: Path) -> None:
    watch = make(tmp_path / "later")
    (tmp_path / "later").write_text("x")
    assert watch.wait(3) == 1


def test_file_that_cannot_be_looked_at_is_no_change(
    make: MakeWatch, file: Path
) -> None:
    watch = make(file / "below", Path("\0"))
    assert watch.wait(3) == 0


def test_nothing_is_told_while_a_file_is_written(make: MakeWatch, file: Path) -> None:
    watch = make(file, quiet=0.5)
    for number in range(20):
        file.write_text("x" * number)
        os.utime(file, (number, number))
        assert watch.wait(0.4) == 0
    assert watch.wait(POLL_SECONDS + 1.1) == 1


def test_quiet_has_a_least(make: MakeWatch, file: Path) -> None:
    watch = make(file)
    file.write_text("other")
    watch.clock.advance(POLL_SECONDS)
    watch.clock.advance(STABLE_SECONDS / 2)
    assert watch.changes == 0
    watch.clock.advance(STABLE_SECONDS / 2)
    assert watch.changes == 1


def test_file_that_has_just_changed_is_told_once_more(
    make: MakeWatch, file: Path
) -> None:
    watch = make(file, now=LONG_AGO)
    assert watch.wait(5) == 1


def test_other_files_may_be_watched(
    make: MakeWatch, file: Path, tmp_path: Path
) -> None:
    watch = make(file)
    watch.watcher.watch([tmp_path / "b"])
    file.write_text("other")
    assert watch.wait(3) == 0
    (tmp_path / "b").write_text("x")
    assert watch.wait(3) == 1


def test_nobody_looks_while_a_change_is_worked_on(make: MakeWatch, file: Path) -> None:
    watch = make(file)
    watch.holds = True
    file.write_text("other")
    watch.wait(3)
    file.write_text("yet another")
    assert watch.wait(3) == 1
    watch.holds = False
    watch.held.pop().callback(None)
    assert watch.wait(3) == 2


def test_stopping_ends_the_waiting(make: MakeWatch, file: Path) -> None:
    watch = make(file, quiet=10.0)
    file.write_text("other")
    watch.wait(2)
    watch.watcher.stop()
    watch.watcher.stop()
    assert watch.wait(20) == 0


@given(texts=st.lists(st.binary(max_size=3), min_size=1, max_size=6))
def test_what_was_told_last_is_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("w") / "f"
    path.write_bytes(b"")
    watch = Watch(path)
    for text in texts:
        path.write_bytes(text)
        watch.wait(0.5)
    watch.wait(3)
    told = watch.changes
    assert told >= (look_at(path) is not None)
    assert watch.wait(3) == told
    watch.watcher.stop()
