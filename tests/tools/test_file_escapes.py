"""Ways out of an agent's folders; none succeeds.

A way is a path and what somebody has prepared for it.  Each is tried with all three
tools; nothing beside the workspace may be read, made or changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.messages import text_of
from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools import storage
from moltbot_gw.tools.jail import Jails
from moltbot_gw.tools.storage import Locks
from tests.tools.support import SECRET, Desk

NOT_HERE = "is outside of what this agent may use"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def nothing(desk: Desk) -> None:
    """Prepare nothing."""


def link(name: str, target: str) -> Callable[[Desk], None]:
    def prepare(desk: Desk) -> None:
        path = desk.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target.format(d=desk))

    return prepare


def links(*pairs: tuple[str, str]) -> Callable[[Desk], None]:
    def prepare(desk: Desk) -> None:
        for name, target in pairs:
            link(name, target)(desk)

    return prepare


def node(kind: int, device: int = 0) -> Callable[[Desk], None]:
    def prepare(desk: Desk) -> None:
        try:
            os.mknod(desk.workspace / "node", kind | 0o666, device)
        except PermissionError:
            pytest.skip("only root may make devices")

    return prepare


LOOP = links(("a", "b"), ("b", "a"))
CHAIN = links(
    ("1", "2"), ("2", "sub/3"), ("sub/3", "../4"), ("4", "../outside/secret.txt")
)
LONG_CHAIN = links(
    *((str(n), str(n + 1)) for n in range(41)), ("41", "../outside/secret.txt")
)
NULL = os.makedev(1, 3)
KMSG = os.makedev(1, 11)

WAYS: dict[str, tuple[str, Callable[[Desk], None], str]] = {
    # words
    "parent": ("../outside/secret.txt", nothing, NOT_HERE),
    "parent later": ("x/../../outside/secret.txt", link("x", "."), NOT_HERE),
    "parent of nothing": ("gone/../../outside/secret.txt", nothing, "does not exist"),
    "many parents": ("../" * 60 + "etc/passwd", nothing, NOT_HERE),
    "parent in the middle": ("{d.workspace}/../outside/secret.txt", nothing, NOT_HERE),
    "absolute": ("{d.secret}", nothing, NOT_HERE),
    "absolute, many slashes": ("//{d.outside}//secret.txt", nothing, NOT_HERE),
    "system file": ("/etc/passwd", nothing, NOT_HERE),
    "what is not there": ("/no/such/file", nothing, NOT_HERE),
    "same beginning": ("{d.workspace}-other/secret.txt", nothing, NOT_HERE),
    "home": ("~/outside/secret.txt", nothing, NOT_HERE),
    "home alone": ("~", nothing, NOT_HERE),
    "URL": ("file://{d.secret}", nothing, "is a URL"),
    "short URL": ("FILE:{d.secret}", nothing, "is a URL"),
    "NUL": ("a.txt\0/../../outside/secret.txt", nothing, "control characters"),
    "newline": ("{d.workspace}/a\n{d.secret}", nothing, "control characters"),
    "escape": ("\x1b[2Ja.txt", nothing, "control characters"),
    "next line": ("a\x85b", nothing, "control characters"),
    "trailing slash": ("../outside/secret.txt/", nothing, "is a folder"),
    "folder": ("../outside", nothing, NOT_HERE),
    "long name": ("x" * 256, nothing, "too long"),
    "long name of a folder": ("x" * 256 + "/y", nothing, "too long"),
    "long path": ("x/" * 2048 + "y", nothing, "too long"),
    "very many steps": (
        "s/" * 6 + "x",
        link("s", "../work/" * 500),
        "too many components",
    ),
    # links
    "link": ("l", link("l", "{d.secret}"), NOT_HERE),
    "relative link": ("l", link("l", "../outside/secret.txt"), NOT_HERE),
    "link with a slash": ("l/", link("l", "{d.secret}"), "is a folder"),
    "link to a folder": ("l/secret.txt", link("l", "{d.outside}"), NOT_HERE),
    "link to a new file": ("l", link("l", "{d.outside}/new"), NOT_HERE),
    "link to a new folder": ("l/x/y", link("l", "{d.outside}/new"), NOT_HERE),
    "link to the root": ("l/etc/passwd", link("l", "/"), NOT_HERE),
    "link above": ("l/outside/secret.txt", link("l", ".."), NOT_HERE),
    "link below, parents": ("s/l/../../outside/x", link("s/l", ".."), NOT_HERE),
    "chain of links": ("1", CHAIN, NOT_HERE),
    "long chain of links": ("0", LONG_CHAIN, "too many symbolic links"),
    "loop of links": ("a", LOOP, "too many symbolic links"),
    "loop of folders": ("a/x", LOOP, "too many symbolic links"),
    "link to itself": ("a/x", link("a", "a/a"), "too many symbolic links"),
    # kernel
    "process files": ("/proc/self/environ", nothing, NOT_HERE),
    "process root": ("/proc/self/root{d.secret}", nothing, NOT_HERE),
    "working folder": ("/proc/self/cwd/x", nothing, NOT_HERE),
    "descriptors": ("/proc/self/fd/0", nothing, NOT_HERE),
    "link to the process root": ("l{d.secret}", link("l", "/proc/self/root"), NOT_HERE),
    "link to a descriptor": ("l", link("l", "/dev/fd/0"), NOT_HERE),
    "link to a device": ("l", link("l", "/dev/zero"), NOT_HERE),
    "pipe": ("node", node(stat.S_IFIFO), "no regular file"),
    "socket": ("node", node(stat.S_IFSOCK), "no regular file"),
    "device": ("node", node(stat.S_IFCHR, NULL), "no regular file"),
    "device of the log": ("node", node(stat.S_IFCHR, KMSG), "no regular file"),
    "link to a pipe": (
        "l",
        lambda desk: (node(stat.S_IFIFO)(desk), link("l", "node")(desk))[0],
        "no regular file",
    ),
}


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.mark.parametrize("name", WAYS)
def test_no_way_leads_out(desk: Desk, name: str) -> None:
    path, prepare, problem = WAYS[name]
    prepare(desk)
    before = desk.others(), descriptors()
    for attempt in desk.attempts(path.format(d=desk)):
        with pytest.raises(ToolFailed) as failed:
            attempt()
        assert problem in failed.value.message
        assert SECRET not in failed.value.message
    assert (desk.others(), descriptors()) == before


@pytest.mark.parametrize(
    "path",
    [
        "%2e%2e/outside/secret.txt",
        "..%2foutside%2fsecret.txt",
        "..\\outside\\secret.txt",
        "\uff0e\uff0e/outside/secret.txt",  # full-width dots
        "\u2024\u2024/outside/secret.txt",  # one dot leaders
        "..\u2215outside\u2215secret.txt",  # division slashes
        "..\u200b/outside/secret.txt",  # a blank without width
        "\u202etxt.terces/edistuo/..",  # right to left
        ".../outside/secret.txt",
        ".. /outside/secret.txt",
        "~root/secret.txt",
        "$HOME/outside/secret.txt",
        "c:\\outside",
        "*/secret.txt",
    ],
)
def test_other_characters_mean_themselves(desk: Desk, path: str) -> None:
    before = desk.others()
    with pytest.raises(ToolFailed):
        desk.call("read", path=path)
    if not path.endswith(".."):
        desk.call("write", path=path, content="own")
        assert desk.text("read", path=path) == "own"
        assert (desk.workspace / path).read_text() == "own"
    assert desk.others() == before


def test_a_hard_link_is_neither_read_nor_written_through(desk: Desk) -> None:
    os.link(desk.secret, desk.workspace / "hard")
    before = desk.secret.read_text(), desk.secret.stat().st_mode
    read, write, edit = desk.attempts("hard")
    for attempt in (read, edit):
        with pytest.raises(ToolFailed, match="hard links"):
            attempt()
    write()
    assert (desk.secret.read_text(), desk.secret.stat().st_mode) == before
    assert (desk.workspace / "hard").read_text() == "written"


# what is never served


def wide(folder: Path, *forbidden: Path) -> Desk:
    """Return a desk whose agent may use *folder*, but for *forbidden*."""
    return Desk(folder, roots=(folder,), forbidden=forbidden)


@pytest.mark.parametrize(
    "path",
    [
        "~/outside/secret.txt",
        "~/outside/new",
        "~/outside/gone/../secret.txt",
        "~/outside/deep/er/x",
        "../outside/secret.txt",
        "l/secret.txt",
        "f",
    ],
)
def test_a_forbidden_folder_is_not_served_in_a_root(tmp_path: Path, path: str) -> None:
    desk = wide(tmp_path, tmp_path / "outside")
    links(("l", "{d.outside}"), ("f", "{d.secret}"))(desk)
    (desk.outside / "deep").mkdir()
    before = desk.others()
    for attempt in desk.attempts(path):
        with pytest.raises(ToolFailed, match=NOT_HERE):
            attempt()
    assert desk.others() == before
    desk.call("write", path="~/beside.txt", content="x")


def test_a_forbidden_folder_is_known_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to("outside")
    desk = wide(tmp_path, tmp_path / "state")
    desk.outside.rename(tmp_path / "moved")
    (tmp_path / "state").unlink()
    (tmp_path / "state").symlink_to("moved")
    for attempt in desk.attempts("~/moved/secret.txt"):
        with pytest.raises(ToolFailed, match=NOT_HERE):
            attempt()


def test_a_forbidden_file_is_not_served(tmp_path: Path) -> None:
    desk = wide(tmp_path, tmp_path / "outside/secret.txt")
    for attempt in desk.attempts("~/outside/secret.txt"):
        with pytest.raises(ToolFailed, match="belongs to the gateway"):
            attempt()
    assert desk.secret.read_text() == SECRET


def test_a_root_in_a_forbidden_folder_is_not_served(tmp_path: Path) -> None:
    shared = tmp_path / "outside/shared"
    desk = Desk(tmp_path, roots=(shared,), forbidden=(tmp_path / "outside",))
    shared.mkdir()
    (shared / "a.txt").write_text(SECRET)
    for attempt in desk.attempts(f"{shared}/a.txt"):
        with pytest.raises(ToolFailed, match=NOT_HERE):
            attempt()


@pytest.mark.parametrize("is_wide", [False, True])
def test_a_workspace_in_a_forbidden_folder_is_served(
    tmp_path: Path, is_wide: bool
) -> None:
    roots = (tmp_path.parent,) if is_wide else ()
    desk = Desk(tmp_path, roots=roots, forbidden=(tmp_path,))
    desk.workspace.rmdir()
    for path in ("a.txt", str(desk.workspace / "b.txt")):
        desk.call("write", path=path, content="own")
        assert desk.text("read", path=path) == "own"
    for path in (str(desk.secret), "../outside/secret.txt", str(tmp_path / "new")):
        for attempt in desk.attempts(path):
            with pytest.raises(ToolFailed, match=NOT_HERE):
                attempt()
    desk.refusal("write", path=str(desk.workspace), content="x")


def test_a_missing_workspace_in_a_forbidden_folder_is_no_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path, roots=(tmp_path.parent,), forbidden=(tmp_path,))
    desk.workspace.rmdir()
    problem = desk.refusal("write", path=str(desk.workspace), content="x")
    assert NOT_HERE in problem
    assert not desk.workspace.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/proc/self/environ",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/setup.cfg",
        "/proc/self/fd/0",
        "/proc/1/cmdline",
        "/dev/zero",
        "/dev/fd/0",
        "/sys/kernel/notes",
        "/../proc/version",
    ],
)
def test_the_kernels_files_are_not_served_even_in_a_root(
    tmp_path: Path, path: str
) -> None:
    desk = Desk(tmp_path, roots=(Path("/"),))
    assert desk.text("read", path=str(desk.secret)) == SECRET
    assert desk.text("read", path="../" * 60 + str(desk.secret)) == SECRET
    for attempt in desk.attempts(path):
        with pytest.raises(ToolFailed, match=NOT_HERE):
            attempt()


def test_a_root_inside_of_another_is_no_way_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path, roots=(tmp_path / "work/vendor",))
    (desk.workspace / "vendor").symlink_to(desk.outside)
    for attempt in desk.attempts("vendor/secret.txt"):
        with pytest.raises(ToolFailed, match=NOT_HERE):
            attempt()


def test_a_root_that_becomes_a_link_leads_nowhere(desk: Desk) -> None:
    desk.call("write", path="a.txt", content="own")
    desk.workspace.rename(desk.home / "moved")
    desk.workspace.symlink_to(desk.outside)
    for attempt in desk.attempts("secret.txt"):
        with pytest.raises(ToolFailed, match="no folder"):
            attempt()
    assert desk.secret.read_text() == SECRET


# races


def put_link(path: Path, target: Path, kept: Path) -> None:
    """Put a link to *target* in the place of *path*, which goes to *kept*."""
    path.rename(kept)
    path.symlink_to(target)


@pytest.mark.parametrize("tool", ["read", "write", "edit"])
@pytest.mark.parametrize("name", ["folder", "folder/secret.txt"])
@pytest.mark.parametrize("call", ["readlink", "open", "stat"])
def test_a_link_that_comes_between_two_looks_is_not_followed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tool: str, name: str, call: str
) -> None:
    desk.file("folder/secret.txt", "own")
    target = desk.home / name.replace("folder", "outside")
    real: Any = getattr(os, call)
    last = Path(name).name

    def and_then_flip(path: Any, *args: Any, **more: Any) -> Any:
        try:
            return real(path, *args, **more)
        finally:
            if path == last and more.get("dir_fd") is not None:
                monkeypatch.setattr(os, call, real)
                put_link(desk.workspace / name, target, desk.workspace / "kept")

    monkeypatch.setattr(os, call, and_then_flip)
    args = {"read": {}, "write": {"content": "x"}}.get(
        tool, {"oldText": "own", "newText": "x"}
    )
    try:
        found = str(desk.call(tool, path="folder/secret.txt", **args))
    except ToolFailed as failed:
        found = failed.message
    assert SECRET not in found
    assert desk.secret.read_text() == SECRET
    assert os.listdir(desk.outside) == ["secret.txt"]


@pytest.mark.parametrize("tool", ["read", "edit", "write"])
def test_a_pipe_that_comes_between_two_looks_does_not_block(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    path = desk.file("a.txt", "own")
    real = os.stat

    def and_then_pipe(name: Any, *args: Any, **more: Any) -> os.stat_result:
        found = real(name, *args, **more)
        if name == "a.txt":
            path.unlink()
            os.mkfifo(path)
        return found

    monkeypatch.setattr(os, "stat", and_then_pipe)
    args = {"read": {}, "write": {"content": "x"}}.get(
        tool, {"oldText": "own", "newText": "x"}
    )
    assert desk.refusal(tool, path="a.txt", **args).startswith("path: ")
    assert path.is_fifo()


@pytest.mark.parametrize("name", ["folder", "folder/secret.txt"])
def test_a_race_is_not_won(desk: Desk, name: str) -> None:
    desk.file("folder/secret.txt", "own")
    before = desk.others()
    path, target = desk.workspace / name, desk.home / name.replace("folder", "outside")
    done = Event()

    def race() -> None:
        for number in range(100_000):
            kept = path.with_name(f"kept-{number}")
            # The tool may be first to make something of that name.
            with suppress(OSError):
                put_link(path, target, kept)
            with suppress(OSError):
                path.unlink()
            with suppress(OSError):
                kept.rename(path)
            if done.is_set():
                break

    racer = Thread(target=race)
    racer.start()
    try:
        texts = [text_of_attempt(desk, number) for number in range(600)]
    finally:
        done.set()
        racer.join()
    assert not any(SECRET in text for text in texts)
    assert desk.others() == before


def text_of_attempt(desk: Desk, number: int) -> str:
    """Return all that a model is told by one of the tools, in turn."""
    tool = ("read", "write", "edit")[number % 3]
    args = [{}, {"content": "own"}, {"oldText": "own", "newText": "owned"}][number % 3]
    path = "folder/secret.txt" if number % 2 else "folder/sub/new.txt"
    try:
        return text_of(desk.call(tool, path=path, **args).content)
    except ToolFailed as failed:
        return failed.message


def test_a_change_does_not_wait_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "LOCK_PATIENCE", 0)
    locks = Locks()
    own = Jails(()).jail(desk.workspace, ())
    with own.place_of("a.txt") as place, locks.hold(place):
        with pytest.raises(ToolFailed, match="try again"), locks.hold(place):
            pass
        with own.place_of("b.txt") as other, locks.hold(other):
            pass
    with own.place_of("a.txt") as place, locks.hold(place):
        pass


def test_edits_side_by_side_are_all_there(desk: Desk) -> None:
    names = [f"<{number}>" for number in range(8)]
    desk.file("a.txt", "".join(names))
    (desk.workspace / "b.txt").symlink_to("a.txt")

    def edit(number: int) -> None:
        path = ("a.txt", "b.txt")[number % 2]
        for step in range(20):
            old, new = f"<{number}{'x' * step}>", f"<{number}{'x' * (step + 1)}>"
            desk.call("edit", path=path, oldText=old, newText=new)

    editors = [Thread(target=edit, args=(number,)) for number in range(8)]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
    expected = "".join(f"<{number}{'x' * 20}>" for number in range(8))
    assert (desk.workspace / "a.txt").read_text() == expected


# any path


COMPONENTS = st.sampled_from(
    [
        *("..", "..", ".", "", "a", "b", "secret.txt", "new", "outside", "work", "~"),
        *("out", "up", "root", "loop", "in", "file", "proc", "etc"),
    ]
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("any"))
    desk.file("a/b/secret.txt", "own")
    links(
        *(("out", "{d.outside}"), ("a/up", "../.."), ("root", "/"), ("loop", "loop")),
        *(("in", "a/b"), ("a/b/in", "{d.workspace}/a"), ("file", "in/secret.txt")),
        *(("a/out", "../out"), ("a/b/file", "../../../outside/secret.txt")),
    )(desk)
    return desk


@given(
    parts=st.lists(COMPONENTS, max_size=12), start=st.sampled_from(["", "/", "~/", "w"])
)
def test_no_random_path_leads_out(shared: Desk, parts: list[str], start: str) -> None:
    path = start.replace("w", f"{shared.workspace}/") + "/".join(parts)
    before = shared.others()
    for attempt in shared.attempts(path):
        try:
            found = text_of(attempt().content)
        except ToolFailed as failed:
            found = failed.message
        assert SECRET not in found
    assert shared.others() == before
