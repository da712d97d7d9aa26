"""What ``read``, ``write`` and ``edit`` do for an agent in its workspace."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from moltbot_gw.config import load_config
from moltbot_gw.messages import ImagePart, TextPart
from moltbot_gw.tooling import ToolFailed
from moltbot_gw.tools import filework, reading
from moltbot_gw.tools.files import file_roots
from tests.devices.support import Thread, result
from tests.tools.support import Desk

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def lines(first: int, last: int) -> str:
    return "".join(f"line {n}\n" for n in range(first, last + 1))


def test_models_are_told_the_names_of_the_parameters(desk: Desk) -> None:
    told = {name: tool.spec().parameters for name, tool in desk.tools.items()}
    names = {name: list(spec["properties"]) for name, spec in told.items() if spec}
    assert names == {
        "read": ["path", "offset", "limit"],
        "write": ["path", "content"],
        "edit": ["path", "oldText", "newText"],
    }


def test_people_are_shown_the_path_of_a_call(desk: Desk) -> None:
    tool = desk.tools["read"]
    assert tool.label(tool.parse('{"path": "a/b.txt"}')) == "a/b.txt"


# read


def test_a_file_is_read_as_it_is(desk: Desk) -> None:
    desk.file("a/b.txt", "one\r\n\ttwo ä\n")
    found = desk.call("read", path="a/b.txt")
    assert found.content == "one\r\n\ttwo ä\n"
    assert found.details == {
        "path": "a/b.txt",
        "firstLine": 1,
        "lastLine": 2,
        "totalLines": 2,
    }


@pytest.mark.parametrize("form", ["{w}/a.txt", "~/work/a.txt", "./x/..//a.txt"])
def test_a_file_has_many_paths(desk: Desk, form: str) -> None:
    desk.file("a.txt", "here")
    desk.file("x/b.txt")
    assert desk.text("read", file_path=form.format(w=desk.workspace)) == "here"


def test_a_long_file_comes_in_pieces(desk: Desk) -> None:
    desk.file("a.txt", lines(1, 4500))
    assert desk.text("read", path="a.txt") == (
        lines(1, 2000) + "\n[Lines 1 to 2000 of 4500; go on with offset=2001.]"
    )
    assert desk.text("read", path="a.txt", offset=4001) == lines(4001, 4500)


def test_limit_asks_for_fewer_lines(desk: Desk) -> None:
    desk.file("a.txt", "a\nb\nc")
    hint = "\n[Lines 2 to 2 of 3; go on with offset=3.]"
    assert desk.text("read", path="a.txt", offset=2, limit=1) == f"b\n{hint}"
    assert desk.text("read", path="a.txt", offset=3, limit=9000) == "c"


def test_lines_are_whole_when_there_are_too_many_bytes(desk: Desk) -> None:
    desk.file("a.txt", ("x" * 999 + "\n") * 60)
    text = desk.text("read", path="a.txt")
    assert text.endswith("\n\n[Lines 1 to 51 of 60; go on with offset=52.]")
    assert text.count("x" * 999 + "\n") == 51


@pytest.mark.parametrize("tail", ["", "\n", "\nnext\n"])
def test_a_line_that_is_too_long_is_cut(desk: Desk, tail: str) -> None:
    desk.file("a.txt", "first\n" + "ä" * 60_000 + tail)
    text = desk.text("read", path="a.txt", offset=2)
    assert text.startswith("ä" * 25_600 + "\n\n[Line 2 has more than 51200 bytes")
    assert ("offset=3" in text) == ("next" in tail)
    if "next" in tail:
        assert desk.text("read", path="a.txt", offset=3) == "next\n"


def test_a_cut_inside_a_character_leaves_it_out(desk: Desk) -> None:
    desk.file("a.txt", "x" + "ä" * 60_000)
    text = desk.text("read", path="a.txt")
    assert text.startswith("x" + "ä" * 25_599 + "\n\n[Line 1 has more")


@pytest.mark.parametrize(
    ("content", "offset", "problem"),
    [
        ("a\nb\n", 3, "offset: 3 is behind the end; the file has 2 lines."),
        ("a\nb", 9, "offset: 9 is behind the end; the file has 2 lines."),
        ("", 2, "offset: 2 is behind the end; the file has 0 lines."),
    ],
)
def test_offset_behind_the_end(
    desk: Desk, content: str, offset: int, problem: str
) -> None:
    desk.file("a.txt", content)
    assert desk.refusal("read", path="a.txt", offset=offset) == problem


def test_an_empty_file_is_said_to_be_empty(desk: Desk) -> None:
    desk.file("a.txt")
    assert desk.text("read", path="a.txt") == "[The file is empty.]"


def test_lines_of_a_huge_file_are_counted_up_to_a_bound(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_SCAN_BYTES", 1000)
    monkeypatch.setattr(reading, "_BLOCK", 100)
    desk.file("a.txt", lines(1, 3000))
    text = desk.text("read", path="a.txt")
    assert text.endswith("[Lines 1 to 2000 of more; go on with offset=2001.]")
    assert desk.text("read", path="a.txt", offset=90, limit=1).startswith("line 90\n")
    problem = desk.refusal("read", path="a.txt", offset=2500)
    assert problem.startswith("offset: line 2500 lies too far behind")


def test_bytes_that_are_no_utf8_are_told(desk: Desk) -> None:
    desk.file("a.txt", b"caf\xe9\n")
    note = "[Bytes that are no UTF-8 are shown as \ufffd.]"
    assert desk.text("read", path="a.txt") == f"caf\ufffd\n\n{note}"
    desk.file("b.txt", "\ufeffreal \ufffd\n")
    assert desk.text("read", path="b.txt") == "real \ufffd\n"


@pytest.mark.parametrize("tool", ["read", "edit"])
def test_binary_files_are_no_text(desk: Desk, tool: str) -> None:
    desk.file("a.bin", b"\x7fELF\0\1")
    more = {} if tool == "read" else {"oldText": "ELF", "newText": "x"}
    problem = desk.refusal(tool, path="a.bin", **more)
    assert problem == "path: the file is binary; this tool knows text only."


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\0\0", "image/jpeg"),
        (b"GIF89a\0", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
def test_a_picture_is_shown_whatever_its_name(
    desk: Desk, data: bytes, mime: str
) -> None:
    desk.file("a.txt", data)
    found = desk.call("read", path="a.txt")
    words = f'"a.txt" is a picture ({mime}, {len(data)} bytes).'
    url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    assert found.content == (TextPart(words), ImagePart(url))


def test_a_picture_may_be_too_large(desk: Desk) -> None:
    path = desk.file("a.png", PNG)
    os.truncate(path, filework.MAX_PICTURE_BYTES)
    assert desk.call("read", path="a.png").details
    os.truncate(path, filework.MAX_PICTURE_BYTES + 1)
    assert "larger than 5242880 bytes" in desk.refusal("read", path="a.png")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("gone.txt", 'path: "gone.txt" does not exist.'),
        ("no/such/x", 'path: "no/such/x" does not exist.'),
        ("a.txt/b", 'path: "a.txt/b" leads through something that is no folder.'),
        ("sub", "path: it is a folder; name a file in it."),
        ("sub/", 'path: "sub/" is a folder; name a file in it.'),
        (".", 'path: "." is a folder; name a file in it.'),
        ("sub/..", 'path: "sub/.." is a folder; name a file in it.'),
        ("", "path: it is empty; name a file."),
    ],
)
def test_what_is_no_file_is_told(desk: Desk, path: str, problem: str) -> None:
    desk.file("a.txt")
    desk.file("sub/b.txt")
    assert desk.refusal("read", path=path) == problem


def test_workspace_itself_is_no_file(desk: Desk) -> None:
    assert "is a folder" in desk.refusal("read", path=str(desk.workspace))


# write


def test_a_file_is_made_with_its_folders(desk: Desk) -> None:
    found = desk.call("write", file_path="a/b/c.txt", content="häl\r\n")
    assert found.content == 'Made "a/b/c.txt": 6 bytes.'
    assert found.details == {"path": "a/b/c.txt", "bytes": 6, "created": True}
    path = desk.workspace / "a/b/c.txt"
    assert path.read_bytes() == b"h\xc3\xa4l\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_a_replaced_file_keeps_its_permissions(desk: Desk) -> None:
    path = desk.file("run.sh", "old")
    path.chmod(0o4755)
    assert desk.text("write", path="run.sh", content="new").startswith("Replaced ")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert os.listdir(desk.workspace) == ["run.sh"]


def test_a_replaced_file_keeps_its_owner(desk: Desk) -> None:
    path = desk.file("a.txt", "old")
    try:
        os.chown(path, 1234, 2345)
    except PermissionError:
        pytest.skip("only root may give files away")
    desk.call("write", path="a.txt", content="new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_a_new_group_does_not_inherit_the_rights_of_the_old(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise PermissionError

    path = desk.file("a.txt", "old")
    path.chmod(0o664)
    monkeypatch.setattr(os, "fchown", refuse)
    desk.call("write", path="a.txt", content="new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_workspace_that_is_missing_is_made_for_a_file(desk: Desk) -> None:
    desk.workspace.rmdir()
    assert "does not exist" in desk.refusal("read", path="a.txt")
    desk.call("write", path="a.txt", content="x")
    assert desk.text("read", path="a.txt") == "x"


def test_a_refused_write_makes_no_folders(desk: Desk) -> None:
    for path in ("new/", "new/../../outside/x", "new/../a.txt", "sub/new/.."):
        desk.refusal("write", path=path, content="x")
    assert os.listdir(desk.workspace) == []


def test_content_has_a_bound(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filework, "MAX_WRITE_BYTES", 4)
    desk.call("write", path="a.txt", content="1234")
    assert "5 bytes" in desk.refusal("write", path="a.txt", content="12345")
    edit = {"path": "a.txt", "oldText": "1", "newText": "11"}
    assert "5 bytes" in desk.refusal("edit", **edit)
    desk.file("a.txt", "12345")
    assert "5 bytes" in desk.refusal("edit", **edit)


def test_a_read_only_file_is_not_replaced(desk: Desk) -> None:
    path = desk.file("a.txt", "old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("root may write everything")
    problem = desk.refusal("write", path="a.txt", content="new")
    assert problem == 'path: "a.txt" is not allowed to this user.'


def test_a_failure_of_the_disk_leaves_the_file_as_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    path = desk.file("a.txt", "old")
    monkeypatch.setattr(os, "rename", fail)
    problem = desk.refusal("write", path="a.txt", content="new")
    assert problem == 'path: "a.txt" failed: No space left on device.'
    assert path.read_text() == "old"
    assert os.listdir(desk.workspace) == ["a.txt"]


# edit


def edited(desk: Desk, content: bytes | str, old: str, new: str) -> bytes:
    path = desk.file("a.txt", content)
    desk.call("edit", path="a.txt", old_string=old, new_string=new)
    return path.read_bytes()


def test_a_passage_is_replaced(desk: Desk) -> None:
    desk.file("a.txt", "one\ntwo\nthree\n")
    edit = {"oldText": "two\nth", "newText": "2\n\\1 th"}
    found = desk.call("edit", path="a.txt", **edit)
    assert found.content == 'Replaced the passage in "a.txt", line 2.'
    assert found.details == {"path": "a.txt", "firstChangedLine": 2}
    assert desk.text("read", path="a.txt") == "one\n2\n\\1 three\n"


@pytest.mark.parametrize(
    ("content", "old", "new", "after"),
    [
        (b"a\r\nb\r\n", "a\nb", "x\ny\nz", b"x\r\ny\r\nz\r\n"),
        (b"a\r\nb\r\n", "a\r\nb", "x\r\ny", b"x\r\ny\r\n"),
        (b"a\r\nb\nc\n", "a", "x\ny", b"x\ny\r\nb\nc\n"),
        (b"a\r\nb\nc\n", "a\nb", "x\ny", b"x\r\ny\nc\n"),
        (b"a\r\nb\nc\n", "b\r\nc", "x\r\ny", b"a\r\nx\ny\n"),
        (b"a\nb", "a\r\nb", "x\r\ny", b"x\ny"),
        (b"\xef\xbb\xbfa\n", "a", "b", b"\xef\xbb\xbfb\n"),
        (b"caf\xe9 a\n", "a\n", "b\n", b"caf\xe9 b\n"),
        (b"abc", "b", "", b"ac"),
    ],
)
def test_all_else_stays_as_it_was(
    desk: Desk, content: bytes, old: str, new: str, after: bytes
) -> None:
    assert edited(desk, content, old, new) == after


@pytest.mark.parametrize(
    ("content", "old", "new", "problem"),
    [
        ("abc", "x", "y", "Read the file again."),
        ("abc", "  \n", "y", "Read the file again."),
        ("x\n\n  if a:\n\tb()\n", "if a:\n    b()", "y", "Line 3 differs in blanks"),
        ("a\nb\na\n", "a", "y", "more than once (lines 1, 3); add lines"),
        ("aaa", "aa", "y", "more than once (lines 1, 1)"),
        ("a\n" * 9, "a", "y", "(lines 1, 2, 3, 4, 5, ...)"),
        ("abc", "abc", "abc", "same as oldText"),
        ("a\nb", "a\nb", "a\r\nb", "differs in line ends only"),
    ],
)
def test_a_passage_must_be_there_once(
    desk: Desk, content: str, old: str, new: str, problem: str
) -> None:
    path = desk.file("a.txt", content)
    assert problem in desk.refusal("edit", path="a.txt", oldText=old, newText=new)
    assert path.read_text() == content


def test_an_empty_passage_is_no_passage(desk: Desk) -> None:
    desk.file("a.txt")
    problem = desk.refusal("edit", path="a.txt", oldText="", newText="x")
    assert "oldText" in problem


def test_a_missing_file_is_not_edited(desk: Desk) -> None:
    edit = {"oldText": "a", "newText": "b"}
    assert "does not exist" in desk.refusal("edit", path="gone/x", **edit)
    assert os.listdir(desk.workspace) == []


# cancelling


@pytest.mark.parametrize("tool", ["read", "write"])
def test_a_cancelled_call_that_waits_for_a_thread_does_nothing(
    tmp_path: Path, tool: str
) -> None:
    thread = Thread()
    desk = Desk(tmp_path, thread=thread)
    thread.held = True
    more = {"content": "x"} if tool == "write" else {}
    call = desk.start(tool, path="new/a.txt", **more)
    call.cancel()
    thread.go()
    with pytest.raises(CancelledError):
        result(call)
    assert os.listdir(desk.workspace) == []


def test_a_call_that_is_cancelled_late_leaves_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = Thread()
    desk = Desk(tmp_path, thread=thread)
    path = desk.file("a.txt", "old")
    thread.held = True
    call = desk.start("write", path="a.txt", content="new")
    fchmod = os.fchmod

    def cancel_meanwhile(descriptor: int, mode: int) -> None:
        fchmod(descriptor, mode)
        call.cancel()

    monkeypatch.setattr(os, "fchmod", cancel_meanwhile)
    thread.go()
    with pytest.raises(CancelledError):
        result(call)
    assert path.read_text() == "old"
    assert os.listdir(desk.workspace) == ["a.txt"]


# roots


def configured(folder: Path, tools: Any, own: Any) -> Any:
    path = folder / "moltbot.json"
    path.write_text(
        f'{{tools: {tools}, agents: {{list: [{{id: "Main", tools: {own}}}]}}}}'
    )
    return load_config({}, folder, path=path).config


@pytest.mark.parametrize(
    ("tools", "own", "roots"),
    [
        ("{}", "{}", []),
        ('{fs: {roots: ["/a", "~/b"]}}', "{}", ["/a", "{home}/b"]),
        ('{fs: {roots: ["/a"]}}', '{fs: {roots: ["/c"]}}', ["/c"]),
        ('{fs: {roots: ["/a"]}}', "{fs: {roots: []}}", []),
        ('{fs: {roots: ["/a"]}}', "{fs: {}}", ["/a"]),
    ],
)
def test_an_agents_own_roots_count(
    tmp_path: Path, tools: str, own: str, roots: list[str]
) -> None:
    config = configured(tmp_path, tools, own)
    expected = tuple(Path(root.format(home=tmp_path)) for root in roots)
    assert file_roots(config, "main") == expected


def test_all_agents_have_the_roots_of_all(tmp_path: Path) -> None:
    config = configured(tmp_path, '{fs: {roots: ["/a"]}}', '{fs: {roots: ["/c"]}}')
    assert file_roots(config, "other") == (Path("/a"),)


def test_roots_are_served_beside_the_workspace(tmp_path: Path) -> None:
    desk = Desk(tmp_path, roots=(tmp_path / "more",))
    desk.call("write", path="a.txt", content="a")
    (tmp_path / "more").mkdir()
    desk.call("write", path="../more/sub/b.txt", content="b")
    assert desk.text("read", path="~/more/sub/b.txt") == "b"
    (desk.workspace / "link").symlink_to(tmp_path / "more/sub/b.txt")
    assert desk.text("read", path="link") == "b"
    (tmp_path / "more/back").symlink_to("../work")
    assert desk.text("read", path=f"{tmp_path}/more/back/a.txt") == "a"


def test_roots_of_one_agent_are_not_those_of_another(tmp_path: Path) -> None:
    desk = Desk(tmp_path, roots=(tmp_path / "outside",))
    path = str(desk.secret)
    assert desk.call("read", path=path)
    call = desk.start("read", agent_id="other", path=path)
    with pytest.raises(ToolFailed, match="is outside of what this agent may use"):
        result(call)


def test_a_missing_root_is_not_made(tmp_path: Path) -> None:
    desk = Desk(tmp_path, roots=(tmp_path / "more",))
    problem = desk.refusal("write", path="~/more/x", content="x")
    assert problem == 'path: "~/more/x" does not exist.'


def test_workspace_may_be_a_link_of_its_owner(tmp_path: Path) -> None:
    desk = Desk(tmp_path, roots=(tmp_path,))
    (tmp_path / "real").mkdir()
    desk.workspace.rmdir()
    desk.workspace.symlink_to(tmp_path / "real")
    desk.call("write", path="a.txt", content="a")
    for path in ("a.txt", str(desk.workspace / "a.txt"), str(tmp_path / "real/a.txt")):
        assert desk.text("read", path=path) == "a"


def test_links_inside_work(desk: Desk) -> None:
    desk.file("real/a.txt", "a")
    (desk.workspace / "file").symlink_to("real/./a.txt")
    (desk.workspace / "folder").symlink_to(desk.workspace / "real/")
    (desk.workspace / "real/up").symlink_to("../folder/new.txt")
    assert desk.text("read", path="file") == "a"
    assert desk.text("read", path="folder/../real/a.txt") == "a"
    desk.call("write", path="real/up", content="n")
    assert (desk.workspace / "real/new.txt").read_text() == "n"
    assert (desk.workspace / "real/up").is_symlink()
