"""Workspaces: made once, before the first run, without touching what is there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import msgspec
import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from moltbot_gw.agents.identity import parse_identity
from moltbot_gw.agents.prompt import EXPECTED_FILES, WorkspaceFiles
from moltbot_gw.agents.workspace import (
    FIRST_FILE,
    PATIENCE,
    Workspaces,
    leave_workspace,
    make_workspace,
)
from moltbot_gw.errors import RunAborted

from .support import GatedStore, House, agent_of, ended, succeeded

OTHERS = [name for name in EXPECTED_FILES if name != FIRST_FILE]


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"].endswith("agents.workspace"):
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield lines
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]


@attrs.define
class Thread:
    """Does its work when the test says so; or breaks instead."""

    works: list[tuple[Callable[[], None], Deferred[None]]] = attrs.Factory(list)

    def __call__(self, work: Callable[[], None]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.works.append((work, done))
        return done

    def work(self) -> None:
        work, done = self.works.pop(0)
        execute(work).chainDeferred(done)


def prepare(workspaces: Workspaces, folder: Path) -> Deferred[None]:
    agent = msgspec.structs.replace(agent_of("main"), workspace=folder)
    return Deferred.fromCoroutine(workspaces.prepare(agent))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# -- what is made


def test_missing_folder_is_made_with_all_files_for_its_owner_alone(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "some" / "where"
    make_workspace(folder)
    assert names(folder) == sorted(EXPECTED_FILES)
    assert mode(folder) == 0o700
    assert {mode(folder / name) for name in EXPECTED_FILES} == {0o600}


def test_templates_are_texts_that_the_prompt_takes_whole(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    section = WorkspaceFiles(tmp_path, 20_000).section()
    assert "[MISSING]" not in section
    for name in EXPECTED_FILES:
        assert (tmp_path / name).read_text("utf-8").strip() in section


def test_template_of_the_identity_says_nothing_yet(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    said = parse_identity((tmp_path / "IDENTITY.md").read_text())
    assert msgspec.structs.astuple(said) == (None, None, None, None)


@pytest.mark.parametrize("kept", OTHERS)
def test_folder_in_use_gets_what_it_lacks_but_no_beginning(
    tmp_path: Path, kept: str
) -> None:
    (tmp_path / kept).write_text("mine")
    make_workspace(tmp_path)
    assert names(tmp_path) == sorted(OTHERS)
    assert (tmp_path / kept).read_text() == "mine"


def test_folder_with_other_things_is_begun(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / FIRST_FILE).write_text("my own beginning")
    make_workspace(tmp_path)
    assert names(tmp_path) == sorted([*EXPECTED_FILES, "notes.txt"])
    assert (tmp_path / FIRST_FILE).read_text() == "my own beginning"


def test_finished_beginning_does_not_come_back(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    (tmp_path / FIRST_FILE).unlink()
    make_workspace(tmp_path)
    assert names(tmp_path) == sorted(OTHERS)


def test_link_to_a_folder_is_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    make_workspace(tmp_path / "link")
    assert names(tmp_path / "real") == sorted(EXPECTED_FILES)


def test_link_that_leads_nowhere_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "SOUL.md").symlink_to(tmp_path / "elsewhere")
    make_workspace(folder)
    assert not (tmp_path / "elsewhere").exists()
    assert (folder / "SOUL.md").is_symlink()
    assert names(folder) == sorted(OTHERS)


def test_file_that_cannot_be_written_whole_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fdopen(descriptor: int, mode: str) -> object:
        os.close(descriptor)
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", fdopen)
        with pytest.raises(OSError, match="full"):
            make_workspace(tmp_path)
    assert names(tmp_path) == []


# -- when it is made


def test_runs_that_come_meanwhile_wait_for_the_same_making(tmp_path: Path) -> None:
    thread, folder = Thread(), tmp_path / "w"
    workspaces = Workspaces(thread, Clock())
    waiting = [prepare(workspaces, folder) for _ in range(3)]
    assert not any(one.called for one in waiting)
    assert not folder.exists()
    thread.work()
    assert [succeeded(one) for one in waiting] == [None] * 3
    assert names(folder) == sorted(EXPECTED_FILES)
    assert thread.works == []


def test_workspace_is_made_once_in_a_process(tmp_path: Path) -> None:
    thread = Thread()
    workspaces = Workspaces(thread, Clock())
    prepare(workspaces, tmp_path)
    thread.work()
    (tmp_path / "SOUL.md").unlink()
    succeeded(prepare(workspaces, tmp_path))
    assert thread.works == []
    assert not (tmp_path / "SOUL.md").exists()


def test_each_folder_is_made_for_itself(tmp_path: Path) -> None:
    thread = Thread()
    workspaces = Workspaces(thread, Clock())
    first, second = (prepare(workspaces, tmp_path / name) for name in "ab")
    thread.work()
    succeeded(first)
    assert not second.called
    thread.work()
    succeeded(second)


def test_failure_is_told_once_and_stops_nobody(
    tmp_path: Path, warnings: list[str]
) -> None:
    folder = tmp_path / "file"
    folder.write_text("in the way")
    thread = Thread()
    workspaces = Workspaces(thread, Clock())
    waiting = [prepare(workspaces, folder) for _ in range(2)]
    thread.work()
    waiting.append(prepare(workspaces, folder))
    assert [succeeded(one) for one in waiting] == [None] * 3
    (line,) = warnings
    assert line.startswith(f"cannot make the workspace {folder}: ")
    assert folder.read_text() == "in the way"


def test_disk_that_hangs_is_waited_for_in_patience(
    tmp_path: Path, warnings: list[str]
) -> None:
    thread, clock = Thread(), Clock()
    waiting = prepare(Workspaces(thread, clock), tmp_path)
    clock.advance(PATIENCE - 0.1)
    assert not waiting.called
    clock.advance(0.2)
    succeeded(waiting)
    assert len(warnings) == 1
    thread.work()  # too late, but harmless
    assert clock.getDelayedCalls() == []


def test_no_timer_stays(tmp_path: Path) -> None:
    thread, clock = Thread(), Clock()
    prepare(Workspaces(thread, clock), tmp_path)
    thread.work()
    assert clock.getDelayedCalls() == []


# -- in a run


def test_first_run_waits_for_its_workspace() -> None:
    thread, clock = Thread(), Clock()
    workspaces = Workspaces(thread, clock)
    house = House(GatedStore(), clock, prepare_workspace=workspaces.prepare)
    run = house.start()
    assert house.provider.calls == []
    thread.works.pop()[1].callback(None)
    house.call.finish()
    assert ended(run).state == "done"
    house.check_idle()


def test_run_that_is_cancelled_meanwhile_calls_no_model() -> None:
    thread, clock = Thread(), Clock()
    workspaces = Workspaces(thread, clock)
    house = House(GatedStore(), clock, prepare_workspace=workspaces.prepare)
    run = house.start()
    run.cancel(RunAborted("stop"))
    thread.works.pop()[1].callback(None)
    assert ended(run).state == "aborted"
    assert house.provider.calls == []
    assert house.history() == ()
    house.check_idle()


def test_left_workspace_is_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    agent = msgspec.structs.replace(agent_of("main"), workspace=folder)
    succeeded(Deferred.fromCoroutine(leave_workspace(agent)))
    assert not folder.exists()
