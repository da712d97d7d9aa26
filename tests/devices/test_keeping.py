"""What the store keeps on the disk, and what it does when the disk does not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from twisted.internet.defer import CancelledError

from moltbot_gw import privatefile
from moltbot_gw.devices.pairing import Authorized, PairingStore
from moltbot_gw.errors import StoreFailed
from tests.devices.conftest import MakeStore
from tests.devices.support import (
    ADMIN,
    NOW_MS,
    READ,
    Thread,
    Time,
    finish,
    keep_out,
    let_in,
    pair,
    request,
    result,
    start,
    stored,
)

DEVICE = request().device_id


class Disk:
    """Fails to write the files that are *full*."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.written: list[str] = []
        self._write = privatefile.write

    def write(self, path: Path, data: bytes) -> None:
        if path.name in self.full:
            raise OSError(28, "No space left on device", str(path))
        self.written.append(path.name)
        self._write(path, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(privatefile, "write", disk.write)
    return disk


def test_everything_outlives_a_restart(make_store: MakeStore) -> None:
    first = make_store()
    token = pair(first, request()).token
    keep_out(first, request(2))
    second = make_store()
    assert finish(second.list()) == finish(first.list())
    assert let_in(second, request()).token == token
    assert finish(second.check_token(DEVICE, token.token, "operator", READ))
    assert not keep_out(second, request(2)).is_new


def test_files_have_the_originals_form(store: PairingStore, folder: Path) -> None:
    token = pair(store, request(client_id="cli")).token
    finish(store.check_token(DEVICE, token.token, "operator", READ))
    assert stored(folder, "paired.json") == {
        DEVICE: {
            "deviceId": DEVICE,
            "publicKey": request().public_key,
            "clientId": "cli",
            "role": "operator",
            "roles": ["operator"],
            "scopes": list(READ),
            "tokens": {
                "operator": {
                    "token": token.token,
                    "role": "operator",
                    "scopes": list(READ),
                    "createdAtMs": NOW_MS,
                    "lastUsedAtMs": NOW_MS,
                }
            },
            "createdAtMs": NOW_MS,
            "approvedAtMs": NOW_MS,
        }
    }
    assert stored(folder, "pending.json") == {}
    assert (folder / "paired.json").read_text().startswith('{\n  "')


def test_files_and_folder_are_the_owners_only(
    store: PairingStore, folder: Path
) -> None:
    pair(store, request())
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in folder.iterdir()} == {"paired.json", "pending.json"}


def test_asking_makes_no_file(store: PairingStore, folder: Path) -> None:
    assert finish(store.list()) == ((), ())
    assert not finish(store.check_token(DEVICE, "x", "operator", READ))
    assert not folder.exists()


def test_nothing_is_written_where_nothing_changed(
    store: PairingStore, disk: Disk
) -> None:
    pair(store, request())
    disk.written.clear()
    let_in(store, request())
    finish(store.list())
    keep_out(store, request(2))
    keep_out(store, request(2))
    assert disk.written == ["pending.json"]


def write_paired(folder: Path, **changes: Any) -> None:
    record = {
        "deviceId": DEVICE,
        "publicKey": request().public_key,
        "createdAtMs": 1,
        "approvedAtMs": 2,
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "paired.json").write_text(json.dumps({DEVICE: record}))


def test_unknown_keys_are_skipped(store: PairingStore, folder: Path) -> None:
    write_paired(folder, roles=["operator"], scopes=list(READ), later={"a": 1})
    let_in(store, request())
    assert "later" not in stored(folder, "paired.json")[DEVICE]


def test_older_record_with_one_role_is_understood(
    store: PairingStore, folder: Path
) -> None:
    write_paired(folder, role="operator", scopes=list(READ))
    let_in(store, request())
    keep_out(store, request(role="node"))
    assert stored(folder, "paired.json")[DEVICE]["roles"] == ["operator"]


@pytest.mark.parametrize("grants", [{}, {"roles": ["operator"]}, {"scopes": READ}])
def test_record_that_grants_nothing_lets_nobody_in(
    store: PairingStore, folder: Path, grants: dict[str, Any]
) -> None:
    write_paired(folder, **grants)
    assert keep_out(store, request()).pending.is_repair


def test_request_without_a_role_gives_no_token(
    store: PairingStore, folder: Path
) -> None:
    folder.mkdir(parents=True)
    pending = {
        "requestId": "r1",
        "deviceId": DEVICE,
        "publicKey": request().public_key,
        "silent": True,
        "ts": NOW_MS,
    }
    (folder / "pending.json").write_text(json.dumps({"r1": pending}))
    let_in(store, request(is_local=True))
    resolved = finish(store.approve("r1"))
    assert resolved.device is not None
    assert len(resolved.device.tokens) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"x": {"deviceId": "x"}}',
        b'{"x": {"deviceId": "y", "publicKey": "k", "createdAtMs": 1,'
        b' "approvedAtMs": 1, "requestId": "y", "ts": 1}}',
    ],
)
@pytest.mark.parametrize("name", ["paired.json", "pending.json"])
def test_damaged_file_is_moved_aside_with_one_line(
    store: PairingStore, folder: Path, lines: list[str], name: str, content: bytes
) -> None:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    assert finish(store.list()) == ((), ())
    pair(store, request())
    assert (folder / f"{name}.corrupt-{NOW_MS}").read_bytes() == content
    told = [line for line in lines if "damaged" in line]
    assert len(told) == 1
    assert f"{name}.corrupt-{NOW_MS}" in told[0]


def test_damage_of_one_file_leaves_the_other(
    make_store: MakeStore, folder: Path
) -> None:
    pair(make_store(), request())
    (folder / "pending.json").write_text("{")
    let_in(make_store(), request())


def test_what_a_crash_has_left_is_removed(store: PairingStore, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ".paired.json.x1y2.tmp").write_text("{")
    finish(store.list())
    assert list(folder.iterdir()) == []


def test_expired_requests_vanish_on_load(
    make_store: MakeStore, folder: Path, time: Time
) -> None:
    keep_out(make_store(), request())
    time.now += 301
    store = make_store()
    assert finish(store.list()) == ((), ())
    keep_out(store, request(2))
    [pending] = stored(folder, "pending.json").values()
    assert pending["deviceId"] == request(2).device_id


def test_unreadable_folder_is_told_and_tried_again(
    store: PairingStore, folder: Path, lines: list[str]
) -> None:
    (folder / "paired.json").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(
            StoreFailed, match=r"^The device store could not be read: Is a directory\.$"
        ) as caught:
            finish(store.authorize(request()))
        assert caught.value.code == "device_store_error"
    assert len(lines) == 2
    assert str(folder) in lines[0]
    (folder / "paired.json").rmdir()
    keep_out(store, request())


def test_failed_write_changes_nothing(
    store: PairingStore, make_store: MakeStore, disk: Disk, lines: list[str]
) -> None:
    old = pair(store, request())
    waiting = keep_out(store, request(2))
    before = finish(store.list())
    disk.full = {"paired.json", "pending.json"}
    lines.clear()
    for call in (
        store.authorize(request(3, is_local=True)),
        store.authorize(request(4)),
        store.approve(waiting.request_id),
        store.reject(waiting.request_id),
        store.rotate(DEVICE, "operator", None),
        store.revoke(DEVICE, "operator"),
    ):
        with pytest.raises(StoreFailed, match="written: No space left on device"):
            finish(call)
    assert len(lines) == 6
    assert finish(store.list()) == before
    disk.full.clear()
    assert finish(make_store().list()) == before
    assert let_in(store, request()) == old
    finish(store.approve(waiting.request_id))


def test_full_disk_keeps_no_device_out(
    store: PairingStore, disk: Disk, lines: list[str]
) -> None:
    token = pair(store, request()).token.token
    disk.full = {"paired.json"}
    assert finish(store.check_token(DEVICE, token, "operator", READ))
    assert "No space left" in lines[-1]


def test_approval_stands_when_only_the_requests_could_not_be_written(
    store: PairingStore, make_store: MakeStore, disk: Disk, lines: list[str]
) -> None:
    waiting = keep_out(store, request())
    disk.full = {"pending.json"}
    finish(store.approve(waiting.request_id))
    assert any("pending.json could not be written" in line for line in lines)
    assert finish(store.list())[0] == ()
    assert let_in(make_store(), request()).token == let_in(store, request()).token


def test_answer_comes_when_the_file_is_written(
    store: PairingStore, thread: Thread, folder: Path
) -> None:
    finish(store.list())
    thread.held = True
    asked = start(store.authorize(request(is_local=True)))
    assert not asked.called
    thread.go()
    assert asked.called
    assert DEVICE in stored(folder, "paired.json")


def test_two_calls_at_once_give_a_device_one_token(
    store: PairingStore, thread: Thread
) -> None:
    thread.held = True
    calls = [start(store.authorize(request(is_local=True))) for _ in range(2)]
    thread.go()  # reads
    assert thread.waiting == 1
    thread.go()  # writes, once
    first, second = (result(call) for call in calls)
    assert isinstance(first, Authorized)
    assert isinstance(second, Authorized)
    assert first.token == second.token
    assert (first.resolved is None, second.resolved is None) == (False, True)
    assert thread.waiting == 0


def test_changes_are_written_one_after_the_other(
    store: PairingStore, thread: Thread, folder: Path
) -> None:
    finish(store.list())
    thread.held = True
    calls = [start(store.authorize(request(number))) for number in (1, 2, 3)]
    for done in (1, 2, 3):
        assert thread.waiting == 1
        thread.go()
        assert len(stored(folder, "pending.json")) == done
        assert [call.called for call in calls] == [n < done for n in range(3)]


def test_caller_that_goes_leaves_no_half_done_work(
    store: PairingStore, thread: Thread
) -> None:
    finish(store.list())
    thread.held = True
    going, waiting, staying = (
        start(store.authorize(request(number, is_local=True))) for number in (1, 2, 3)
    )
    for call in (going, waiting):
        call.cancel()
        with pytest.raises(CancelledError):
            result(call)
    assert thread.waiting == 1
    thread.go()
    thread.go()
    assert isinstance(result(staying), Authorized)
    paired = [device.device_id for device in finish(store.list())[1]]
    assert sorted(paired) == sorted([DEVICE, request(3).device_id])


def test_failure_for_a_caller_that_is_gone_stays_with_it(
    store: PairingStore, thread: Thread, disk: Disk
) -> None:
    finish(store.list())
    disk.full = {"paired.json"}
    thread.held = True
    going = start(store.authorize(request(is_local=True)))
    going.cancel()
    with pytest.raises(CancelledError):
        result(going)
    thread.go()
    assert finish(store.list()) == ((), ())


def test_token_replaced_while_its_use_is_noted_stays_replaced(
    store: PairingStore, thread: Thread
) -> None:
    token = pair(store, request()).token.token
    thread.held = True
    writes = start(store.authorize(request(2, is_local=True)))
    checks = start(store.check_token(DEVICE, token, "operator", READ))
    rotates = start(store.rotate(DEVICE, "operator", None))
    while thread.waiting:
        thread.go()
    result(writes)
    assert result(checks)
    thread.held = False
    assert let_in(store, request()).token == result(rotates)


def test_thousands_may_wait_for_one_write(store: PairingStore, thread: Thread) -> None:
    token = pair(store, request()).token.token
    finish(store.check_token(DEVICE, token, "operator", READ))
    thread.held = True
    writes = start(store.authorize(request(2, is_local=True)))
    calls = [
        start(store.check_token(DEVICE, token, "operator", READ)) for _ in range(3000)
    ]
    thread.go()
    result(writes)
    assert all(result(call) for call in calls)


def test_defect_of_a_step_is_the_callers_and_the_store_lives_on(
    store: PairingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("moltbot_gw.devices.ledger.authorize", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(store.authorize(request()))
    keep_out(store, request())


def test_file_is_whole_when_the_write_is_cut_off(
    store: PairingStore, folder: Path
) -> None:
    pair(store, request())
    before = (folder / "paired.json").read_bytes()
    with (
        patch.object(os, "replace", side_effect=OSError(5, "I/O error")),
        pytest.raises(StoreFailed),
    ):
        finish(store.authorize(request(is_local=True, scopes=ADMIN)))
    assert (folder / "paired.json").read_bytes() == before
