from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config.reading import hash_of
from moltbot_gw.config.refusal import EditRefused
from moltbot_gw.config.writing import BUSY, _locked, write_config


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str) -> None:
    """Write *text* over what is there."""
    before = path.read_text() if path.exists() else None
    write_config(path, text, expected_hash=hash_of(before))


def refused(path: Path, text: str = "new", before: str | None = "old") -> str:
    with pytest.raises(EditRefused) as caught:
        write_config(path, text, expected_hash=hash_of(before))
    return caught.value.message


def test_file_and_folder_are_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "moltbot.json"
    write(path, "{}")
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert path.read_text() == "{}"


def test_loose_mode_is_tightened_in_file_and_backup(tmp_path: Path) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text("old")
    path.chmod(0o644)
    write(path, "new")
    assert (mode(path), mode(tmp_path / "moltbot.json.bak")) == (0o600, 0o600)


def test_five_backups_are_kept_the_youngest_first(tmp_path: Path) -> None:
    path = tmp_path / "moltbot.json"
    for number in range(8):
        write(path, str(number))
    found = {p.name: p.read_text() for p in tmp_path.iterdir() if ".bak" in p.name}
    assert found == {
        "moltbot.json.bak": "6",
        "moltbot.json.bak.1": "5",
        "moltbot.json.bak.2": "4",
        "moltbot.json.bak.3": "3",
        "moltbot.json.bak.4": "2",
    }


def test_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    link = tmp_path / "moltbot.json"
    link.symlink_to("dotfiles/real.json")
    write(link, "1")
    write(link, "2")
    assert link.is_symlink()
    assert (tmp_path / "dotfiles/real.json").read_text() == "2"
    assert (tmp_path / "dotfiles/real.json.bak").read_text() == "1"


def test_changed_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text("other")
    assert refused(path).startswith("config changed since last load")
    assert path.read_text() == "other"


def test_file_that_came_into_being_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text("other")
    assert refused(path, before=None).startswith("config changed since last load")


def test_second_writer_is_told_to_try_again(tmp_path: Path) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text("old")
    with _locked(path):
        assert refused(path) == BUSY
    write(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("nth", [1, 2])
def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text("old")
    real, calls = getattr(os, call), []

    def failing(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    monkeypatch.setattr(os, call, failing)
    message = "cannot write the configuration: No space left on device"
    assert refused(path) == message
    assert path.read_text() == "old"
    assert list(tmp_path.glob(".*.tmp")) == []


def test_leftover_of_a_crash_is_removed_by_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "moltbot.json"
    leftover = tmp_path / ".moltbot.json.0123.tmp"
    leftover.write_text("half")
    other = tmp_path / ".other.json.0123.tmp"
    other.write_text("not ours")
    write(path, "new")
    assert (leftover.exists(), other.exists()) == (False, True)


def test_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "moltbot.json"
    path.mkdir()
    assert refused(path) == "cannot read the configuration"


def test_device_is_refused(tmp_path: Path) -> None:
    path = Path("/dev/null")
    if not os.access("/dev", os.W_OK):
        pytest.skip("the lock cannot be made here")
    assert refused(path, before="") == "the configuration is not a regular file"
    Path("/dev/null.lock").unlink()


def test_of_two_writers_with_the_same_base_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "moltbot.json"
    path.write_text("old")
    start = threading.Barrier(8)
    won, lost = [], []

    def writer(name: str) -> None:
        start.wait(10)
        try:
            write_config(path, name, expected_hash=hash_of("old"))
            won.append(name)
        except EditRefused as exc:
            lost.append(exc.message)

    threads = [threading.Thread(target=writer, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(won), len(lost)) == (1, 7)
    assert path.read_text() == won[0]
