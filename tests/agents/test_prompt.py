from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from moltbot_gw.agents.catalog import ModelRef
from moltbot_gw.agents.prompt import (
    EXPECTED_FILES,
    MAX_FILE_BYTES,
    OPTIONAL_FILES,
    WorkspaceFiles,
)
from moltbot_gw.agents.prompts import PATIENCE, Prompts
from moltbot_gw.agents.roster import Agent
from moltbot_gw.agents.silence import NOTE
from tests.agents.support import logged_failures, succeeded

NOON = 1769774400.0  # Friday, 2026-01-30, in UTC


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this machine into a zone of our own, twelve hours ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XST-12")
        time.tzset()
        yield
    time.tzset()


def agent_of(workspace: Path, **changes: str) -> Agent:
    identity: dict[str, str | None] = {"name": None, "theme": None, "emoji": None}
    return Agent(
        id="main",
        workspace=workspace,
        model=ModelRef("local", "m/1"),
        timeout=1.0,
        bootstrap_max_chars=100,
        **(identity | changes),
    )


def section(folder: Path, max_chars: int = 100) -> str:
    return WorkspaceFiles(folder, max_chars).section()


def fill(folder: Path) -> None:
    for name in EXPECTED_FILES + OPTIONAL_FILES:
        (folder / name).write_text(f"text of {name}")


def test_files_stand_in_their_order(tmp_path: Path) -> None:
    fill(tmp_path)
    text = section(tmp_path)
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [f"## {name}" for name in EXPECTED_FILES + OPTIONAL_FILES]
    assert "## SOUL.md\ntext of SOUL.md\n\n## TOOLS.md" in text


def test_missing_files_are_named_but_for_the_optional_ones(tmp_path: Path) -> None:
    text = section(tmp_path)
    for name in EXPECTED_FILES:
        assert f"## {name}\n[MISSING] Expected at: {tmp_path / name}" in text
    assert "MEMORY.md" not in text
    assert "memory.md" not in text


@pytest.mark.parametrize("content", ["", " \n\t"])
def test_empty_file_is_skipped(tmp_path: Path, content: str) -> None:
    (tmp_path / "SOUL.md").write_text(content)
    assert "SOUL.md" not in section(tmp_path)


def test_long_file_keeps_its_head_and_tail(tmp_path: Path) -> None:
    (tmp_path / "USER.md").write_text("h" * 70 + "m" * 50 + "t" * 20)
    shown = "h" * 70 + "\n\n[... 50 characters left out ...]\n\n" + "t" * 20
    assert f"## USER.md\n{shown}" in section(tmp_path, 100)


def test_file_at_the_limit_is_whole(tmp_path: Path) -> None:
    (tmp_path / "USER.md").write_text("é" * 100)
    assert "é" * 100 in section(tmp_path, 100)


def test_file_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    (tmp_path / "USER.md").write_bytes(b"a" * MAX_FILE_BYTES + b"b")
    assert "b\n" not in section(tmp_path, 2 * MAX_FILE_BYTES)


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    files = WorkspaceFiles(tmp_path, 100)
    path = tmp_path / "SOUL.md"
    path.write_text("first")
    assert "first" in files.section()
    path.write_text("second!")
    assert "second!" in files.section()
    path.unlink()
    assert "## SOUL.md\n[MISSING]" in files.section()


def test_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    files = WorkspaceFiles(tmp_path, 100)
    path = tmp_path / "SOUL.md"
    path.write_text("first")
    found = os.stat(path)
    files.section()
    path.write_text("other")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert "first" in files.section()


def test_no_workspace_folder_means_no_section(tmp_path: Path) -> None:
    assert section(tmp_path / "none") == ""
    assert section(tmp_path / ("n" * 300)) == ""


def test_folder_or_pipe_in_place_of_a_file_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "SOUL.md").mkdir()
    os.mkfifo(tmp_path / "USER.md")
    text = section(tmp_path)
    assert "## SOUL.md\n[MISSING]" in text
    assert "## USER.md\n[MISSING]" in text


def test_file_that_is_not_utf8_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "SOUL.md").write_bytes(b"a\xffb")
    assert "a\ufffdb" in section(tmp_path)


def test_link_from_one_spelling_to_the_other_is_shown_once(tmp_path: Path) -> None:
    (tmp_path / "MEMORY.md").write_text("remembered")
    (tmp_path / "memory.md").symlink_to("MEMORY.md")
    text = section(tmp_path)
    assert text.count("remembered") == 1
    assert "## memory.md" not in text


def prompts_of(agent: Agent) -> Prompts:
    return Prompts([agent], run_in_thread=lambda work: succeed(work()), clock=Clock())


def start(prompts: Prompts, extra: str = "", now: float = NOON) -> Deferred[str]:
    return Deferred.fromCoroutine(prompts.build("main", extra, now))


def built(prompts: Prompts, extra: str = "", now: float = NOON) -> str:
    return str(succeeded(start(prompts, extra, now)))


def opening(workspace: Path, **identity: str) -> str:
    prompt = built(prompts_of(agent_of(workspace, **identity)))
    return prompt.partition("\nYour workspace")[0]


def test_identity_file_says_who_the_agent_is(tmp_path: Path) -> None:
    (tmp_path / "IDENTITY.md").write_text("- Name: Ann\n- Emoji: #\n- Theme: calm\n")
    assert opening(tmp_path) == (
        "You are Ann #, an agent that runs inside Moltbot.\nYour theme: calm."
    )


def test_configured_identity_counts_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "IDENTITY.md").write_text("- Name: Ann\n- Emoji: #\n- Theme: calm\n")
    assert opening(tmp_path, name="Max", theme="space") == (
        "You are Max #, an agent that runs inside Moltbot.\nYour theme: space."
    )


def test_changed_identity_counts_from_the_next_second_on(tmp_path: Path) -> None:
    file = tmp_path / "IDENTITY.md"
    prompts = prompts_of(agent_of(tmp_path))
    for second, name in enumerate(("Ann", "Beatrice")):
        file.write_text(f"- Name: {name}\n")
        assert f"You are {name}," in built(prompts, now=NOON + second)


@pytest.mark.usefixtures("zone")
def test_prompt_says_who_when_and_where(tmp_path: Path) -> None:
    agent = agent_of(tmp_path / "none", name="Max", emoji="*", theme="space")
    assert built(prompts_of(agent)) == "\n\n".join(
        [
            "You are Max *, an agent that runs inside Moltbot.\n"
            f"Your theme: space.\nYour workspace is {tmp_path / 'none'}.",
            "Today is Saturday, 2026-01-31 (XST).",
            NOTE,
            "Runtime: agent=main | model=local/m/1 | channel=webchat",
        ]
    )


def test_extra_text_is_kept_verbatim_after_the_files(tmp_path: Path) -> None:
    fill(tmp_path)
    extra = "  Be brief.\n\n\n```x\n"
    text = built(prompts_of(agent_of(tmp_path)), extra)
    assert f"\n\n{extra}\n\nRuntime: " in text
    assert text.index("text of memory.md") < text.index(extra)


@pytest.mark.usefixtures("zone")
def test_date_is_the_local_one(tmp_path: Path) -> None:
    text = built(prompts_of(agent_of(tmp_path)))
    assert "Today is Saturday, 2026-01-31 (XST)." in text


@pytest.mark.usefixtures("zone")
def test_prompt_is_the_same_all_day(tmp_path: Path) -> None:
    prompts = prompts_of(agent_of(tmp_path))
    assert built(prompts, "x") == built(prompts, "x", NOON + 3600)


def test_a_changed_file_counts_from_the_next_second_on(tmp_path: Path) -> None:
    prompts = prompts_of(agent_of(tmp_path))
    soul = tmp_path / "SOUL.md"
    soul.write_text("calm")
    assert "calm" in built(prompts)
    soul.write_text("very lively")
    assert "calm" in built(prompts, now=NOON + 0.9)
    assert "very lively" in built(prompts, "extra", NOON + 1.0)


class Disk:
    """A thread that is as slow as the test wants."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.held: list[tuple[Callable[[], str], Deferred[str]]] = []
        self.prompts = Prompts(
            [agent_of(folder)], run_in_thread=self._hold, clock=self.clock
        )

    def _hold(self, work: Callable[[], str]) -> Deferred[str]:
        self.held.append((work, Deferred()))
        return self.held[-1][1]

    def go_on(self) -> None:
        work, done = self.held.pop()
        done.callback(work())


def test_runs_of_one_second_share_one_look(tmp_path: Path) -> None:
    (tmp_path / "SOUL.md").write_text("calm")
    disk = Disk(tmp_path)
    waiting = [start(disk.prompts, extra) for extra in ("one", "two")]
    assert (len(disk.held), [one.called for one in waiting]) == (1, [False, False])
    disk.go_on()
    first, second = map(succeeded, waiting)
    assert "calm" in first
    assert second == first.replace("\n\none\n\n", "\n\ntwo\n\n")
    assert "calm" in built(disk.prompts)
    assert (disk.held, disk.clock.getDelayedCalls()) == ([], [])


def test_nobody_waits_long_for_a_disk_that_hangs(tmp_path: Path) -> None:
    soul = tmp_path / "SOUL.md"
    soul.write_text("calm")
    disk = Disk(tmp_path)
    waiting = start(disk.prompts)
    disk.clock.advance(PATIENCE)
    prompt = succeeded(waiting)
    assert prompt.startswith("You are a personal assistant, an agent")
    assert "calm" not in prompt
    late = start(disk.prompts, now=NOON + 7)
    assert len(disk.held) == 1  # the first one hangs still
    disk.go_on()
    assert "calm" in succeeded(late)
    soul.write_text("lively")
    last = start(disk.prompts, now=NOON + 8)
    disk.clock.advance(PATIENCE)
    assert "calm" in succeeded(last)  # what was there before


def test_a_look_that_fails_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    waiting = start(disk.prompts)
    with logged_failures() as failures:
        disk.held.pop()[1].errback(ZeroDivisionError())
    assert "You are a personal assistant" in succeeded(waiting)
    assert [failure.type for failure in failures] == [ZeroDivisionError]
