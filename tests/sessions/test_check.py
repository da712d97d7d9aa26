"""Asking whether turns could be stored, and what is counted meanwhile."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moltbot_gw.errors import StoreFailed
from moltbot_gw.sessions import SqliteSessionStore
from tests.sessions.support import Pump, start
from tests.sessions.test_batches import Hold


def test_the_check_writes_to_the_disk(
    path: Path, store: SqliteSessionStore, pump: Pump
) -> None:
    pump.wait(store.open())
    wal = path.with_name(f"{path.name}-wal")
    before = wal.stat().st_size
    pump.wait(store.check())
    assert wal.stat().st_size > before


def test_storage_that_is_mended_passes_again(
    path: Path, store: SqliteSessionStore, pump: Pump
) -> None:
    path.parent.write_text("in the way")
    with pytest.raises(StoreFailed, match="cannot be opened"):
        pump.wait(store.check())
    assert store.faults == 1
    path.parent.unlink()
    pump.wait(store.check())
    assert store.faults == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill(ballast: Path) -> None:
    """Leave no page free on the disk of *ballast*."""
    with ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_does_not_pass(small_disk: Path, pump: Pump) -> None:
    store = SqliteSessionStore(small_disk / "s", pump, reopen_interval=0.0)
    pump.wait(store.open())
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="space"):
        fill(ballast)
    with pytest.raises(StoreFailed, match="the disk is full"):
        pump.wait(store.check())
    ballast.unlink()
    pump.wait(store.check())
    pump.wait(store.close())


def test_jobs_that_wait_are_known(store: SqliteSessionStore, pump: Pump) -> None:
    pump.wait(store.open())
    hold = Hold(store, pump)
    waiting = [store.begin_turn(start(f"run-{n}")) for n in range(5)]
    assert (store.writes_waiting, store.reads_waiting) == (5, 0)
    hold.release()
    for one in waiting:
        pump.wait(one)
    assert store.writes_waiting == 0


def test_each_commit_is_timed(store: SqliteSessionStore, pump: Pump) -> None:
    pump.wait(store.begin_turn(start()))
    pump.wait(store.check())
    assert sum(store.commit_seconds.counts) == store.commits == 2
    assert store.commit_seconds.total > 0
