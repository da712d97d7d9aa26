from __future__ import annotations

from pathlib import Path

import pytest

from moltbot_gw.refusal import StartRefused
from moltbot_gw.statelock import FILE_NAME, StateLock


def test_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "a" / "state")
    assert (tmp_path / "a" / "state").stat().st_mode & 0o777 == 0o700
    path = tmp_path / "a" / "state" / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    lock.release()


def test_second_gateway_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    for _ in range(2):
        with pytest.raises(StartRefused, match="another gateway already runs"):
            StateLock(tmp_path)
    lock.release()


def test_released_folder_can_be_had_again(tmp_path: Path) -> None:
    StateLock(tmp_path).release()
    lock = StateLock(tmp_path)
    with pytest.raises(StartRefused):
        StateLock(tmp_path)
    lock.release()
    lock.release()


def test_releasing_twice_lets_go_of_nobody_elses_lock(tmp_path: Path) -> None:
    first = StateLock(tmp_path)
    first.release()
    second = StateLock(tmp_path)
    first.release()
    with pytest.raises(StartRefused):
        StateLock(tmp_path)
    second.release()


def test_two_folders_are_two_gateways(tmp_path: Path) -> None:
    locks = [StateLock(tmp_path / name) for name in "ab"]
    for name in "ab":
        with pytest.raises(StartRefused):
            StateLock(tmp_path / name)
    for lock in locks:
        lock.release()


@pytest.mark.parametrize("place", ["file", "file/state", "n" * 300])
def test_folder_that_cannot_be_made_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartRefused, match="cannot use the state folder"):
        StateLock(tmp_path / place)


def test_lock_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(StartRefused, match="Is a directory"):
        StateLock(tmp_path)
