from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from moltbot_gw import privatefile


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_file_and_every_folder_made_for_it_are_the_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    before = os.umask(0)
    try:
        privatefile.write(path, b"x")
    finally:
        os.umask(before)
    assert [mode(each) for each in (path.parent.parent, path.parent, path)] == [
        0o700,
        0o700,
        0o600,
    ]


def test_file_is_replaced_whole_and_made_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a long content")
    path.chmod(0o644)
    privatefile.write(path, b"short")
    assert (path.read_bytes(), mode(path)) == (b"short", 0o600)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failed_write_leaves_the_file_and_nothing_else(
    tmp_path: Path, call: str
) -> None:
    path = tmp_path / "file"
    privatefile.write(path, b"old")
    with (
        patch.object(os, call, side_effect=OSError(28, "full")),
        pytest.raises(OSError, match="full"),
    ):
        privatefile.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file_has_no_content(tmp_path: Path) -> None:
    assert privatefile.read(tmp_path / "none", 10) is None


def test_long_file_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert privatefile.read(path, 10) == b"0123456789"
    assert privatefile.read(path, 9) == b"012345678"


def test_what_is_no_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        privatefile.read(tmp_path, 10)


def test_file_set_aside_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"{")
    aside = privatefile.set_aside(path, 1234)
    assert aside == tmp_path / "file.json.corrupt-1234"
    assert aside.read_bytes() == b"{"
    assert not path.exists()


def test_leftovers_of_a_crash_are_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.tmp"
    privatefile.write(path, b"x")
    with patch.object(os, "replace"):
        privatefile.write(path, b"y")
    (tmp_path / ".folder.tmp").mkdir()
    assert len(list(tmp_path.iterdir())) == 3
    privatefile.clear_leftovers(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"file.tmp", ".folder.tmp"}
    privatefile.clear_leftovers(tmp_path / "none")
