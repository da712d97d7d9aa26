"""A store that fails: the client is told, the daemon lives, repair is enough."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway import Gateway, Reply, ask, configuration, post, send
from tests.integration.waiting import socket_test, until_true

_FILE = "sessions.sqlite3"


def _run(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=20)
    except OSError:
        return False
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    name = os.fspath(folder)
    mounting = ("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", name)
    if os.geteuid() != 0 or not _run(*mounting):
        pytest.skip("only root can mount a small disk")
    yield folder
    _run("umount", "-l", name)


def _is_store_error(reply: Reply) -> bool:
    if reply.status != 500:
        return False
    error = reply.json()["error"]
    assert error["code"] == "session_store_error"
    assert error["type"] == "api_error"
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["x-should-retry"] == "false"
    assert "/" not in error["message"]
    return True


async def _until_it_answers(gateway: Gateway, **members: object) -> None:
    """Ask until the store was opened again: it tries once a second at most."""

    async def answers() -> bool:
        reply = await post(gateway, ask("are you back?", **members))
        return reply.status == 200 or not _is_store_error(reply)

    await until_true(answers)


@socket_test
async def test_full_disk(clean: None, small_disk: Path, tmp_path: Path) -> None:
    state = small_disk / "state"
    gateway = await Gateway(tmp_path, configuration(None), state).start()
    assert (await post(gateway, ask("before", user="kim"))).status == 200
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"x" * 4 * 1024 * 1024)
    replies = [await post(gateway, ask("x" * 50_000, user="kim")) for _ in range(3)]
    assert all(map(_is_store_error, replies))
    client = await send(gateway, ask("x" * 50_000, user="kim", stream=True))
    assert _is_store_error(await client.reply())
    assert any("session store" in line for line in gateway.log)
    ballast.unlink()
    await _until_it_answers(gateway, user="kim")
    await gateway.stop()


@pytest.fixture
def protect() -> Iterator[Callable[[Path], None]]:
    """Make a file read-only, for root too, until ``umount``."""
    protected: list[str] = []

    def bind(path: Path) -> None:
        name = os.fspath(path)
        if os.geteuid() != 0 or not _run("mount", "--bind", name, name):
            pytest.skip("only root can mount a file read-only")
        protected.append(name)
        assert _run("mount", "-o", "remount,bind,ro", name)

    yield bind
    for name in protected:
        _run("umount", "-l", name)


@socket_test
async def test_file_that_is_read_only(
    clean: None, protect: Callable[[Path], None], tmp_path: Path
) -> None:
    first = await Gateway(tmp_path, configuration(None)).start()
    assert (await post(first, ask("before", user="kim"))).status == 200
    await first.stop()
    path = tmp_path / "state" / _FILE
    protect(path)
    gateway = await Gateway(tmp_path, configuration(None)).start()
    for _ in range(2):
        assert _is_store_error(await post(gateway, ask("now", user="kim")))
    assert _run("umount", os.fspath(path))
    await _until_it_answers(gateway, user="kim")
    await gateway.stop()


def _damage_header(path: Path) -> None:
    path.write_bytes(b"garbage " * 512 + path.read_bytes()[4096:])


def _zero_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)


def _cut_in_half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("damage", [_damage_header, _zero_a_page, _cut_in_half])
@socket_test
async def test_file_damaged_while_stopped(
    clean: None, tmp_path: Path, damage: Any
) -> None:
    config = configuration(None)
    first = await Gateway(tmp_path, config).start()
    for n in range(5):
        await post(first, ask(f"text {n} " + "x" * 4000, user="kim"))
    await first.stop()
    path = tmp_path / "state" / _FILE
    good = path.read_bytes()
    damage(path)
    broken = path.read_bytes()
    gateway = await Gateway(tmp_path, config).start()
    for stream in (False, True):
        assert _is_store_error(
            await post(gateway, ask("hi", user="kim", stream=stream))
        )
    assert path.read_bytes() == broken  # evidence is left alone
    assert any("session store" in line for line in gateway.log)
    repaired = path.with_suffix(".repaired")
    repaired.write_bytes(good)
    repaired.replace(path)
    await _until_it_answers(gateway, user="kim")
    await gateway.stop()


@socket_test
async def test_store_that_cannot_be_opened(clean: None, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / _FILE).mkdir(parents=True)
    gateway = await Gateway(tmp_path, configuration(None), state).start()
    assert _is_store_error(await post(gateway, ask("hi")))
    (state / _FILE).rmdir()
    await _until_it_answers(gateway)
    await gateway.stop()
