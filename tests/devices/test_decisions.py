"""Who may come in, and who must be approved first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moltbot_gw.devices.ledger import MAX_PAIRED, MAX_PENDING
from moltbot_gw.devices.pairing import (
    PairingStore,
    TooManyDevices,
    UnknownRequest,
)
from moltbot_gw.errors import InvalidRequest
from tests.devices.conftest import MakeStore
from tests.devices.support import (
    ADMIN,
    NOW_MS,
    READ,
    Time,
    finish,
    keep_out,
    let_in,
    pair,
    request,
    stored,
)

FIVE_MINUTES = 300.0


def test_remote_stranger_must_be_approved(store: PairingStore) -> None:
    required = keep_out(store, request(display_name="laptop", remote_ip="10.0.0.7"))
    assert required.is_new
    assert msgspec.to_builtins(required.pending) == {
        "requestId": required.request_id,
        "deviceId": request().device_id,
        "publicKey": request().public_key,
        "displayName": "laptop",
        "role": "operator",
        "roles": ("operator",),
        "scopes": READ,
        "remoteIp": "10.0.0.7",
        "silent": False,
        "isRepair": False,
        "ts": NOW_MS,
    }


def test_waiting_device_keeps_its_request(store: PairingStore) -> None:
    first = keep_out(store, request())
    again = keep_out(store, request(scopes=ADMIN, display_name="other"))
    assert (again.is_new, again.request_id) == (False, first.request_id)
    assert again.pending == first.pending


def test_approved_device_comes_in_with_a_token(store: PairingStore) -> None:
    authorized = pair(store, request())
    assert authorized.resolved is None
    assert re.fullmatch("[0-9a-f]{32}", authorized.token.token)
    assert authorized.token.role == "operator"
    assert authorized.token.scopes == READ
    assert authorized.token.issued_at_ms == NOW_MS


def test_approval_tells_of_the_device_but_not_of_its_token(store: PairingStore) -> None:
    waiting = keep_out(store, request(platform="linux"))
    resolved = finish(store.approve(waiting.request_id))
    assert (resolved.request_id, resolved.decision) == (waiting.request_id, "approved")
    assert (resolved.device_id, resolved.ts) == (request().device_id, NOW_MS)
    assert msgspec.to_builtins(resolved.device) == {
        "deviceId": request().device_id,
        "publicKey": request().public_key,
        "platform": "linux",
        "role": "operator",
        "roles": ("operator",),
        "scopes": READ,
        "tokens": ({"role": "operator", "scopes": READ, "createdAtMs": NOW_MS},),
        "createdAtMs": NOW_MS,
        "approvedAtMs": NOW_MS,
    }


def test_request_can_be_approved_once(store: PairingStore) -> None:
    waiting = keep_out(store, request())
    finish(store.approve(waiting.request_id))
    for decide in (store.approve, store.reject):
        with pytest.raises(UnknownRequest, match=r"^unknown requestId$"):
            finish(decide(waiting.request_id))


def test_rejected_device_must_ask_again(store: PairingStore) -> None:
    waiting = keep_out(store, request())
    resolved = finish(store.reject(waiting.request_id))
    assert (resolved.decision, resolved.device) == ("rejected", None)
    assert resolved.device_id == request().device_id
    again = keep_out(store, request())
    assert again.is_new
    assert again.request_id != waiting.request_id


def test_local_stranger_is_approved_on_the_spot(store: PairingStore) -> None:
    authorized = let_in(store, request(is_local=True))
    assert authorized.resolved is not None
    assert authorized.resolved.decision == "approved"
    assert authorized.resolved.device_id == request().device_id
    assert authorized.resolved.request_id
    assert finish(store.list())[0] == ()
    assert let_in(store, request(is_local=True)).resolved is None


@pytest.mark.parametrize(
    "more",
    [{"role": "node", "scopes": ()}, {"scopes": ADMIN}, {"scopes": READ + ADMIN}],
)
def test_paired_device_that_wants_more_must_be_approved_for_it(
    store: PairingStore, more: dict[str, Any]
) -> None:
    pair(store, request())
    waiting = keep_out(store, request(**more))
    assert waiting.pending.is_repair
    let_in(store, request())
    finish(store.approve(waiting.request_id))
    let_in(store, request(**more))
    let_in(store, request())


@pytest.mark.parametrize("less", [{"scopes": ()}, {"scopes": READ * 2}])
def test_paired_device_may_want_less(store: PairingStore, less: dict[str, Any]) -> None:
    first = pair(store, request())
    assert let_in(store, request(**less)) == first


def test_local_device_gets_more_without_asking(store: PairingStore) -> None:
    first = let_in(store, request(is_local=True))
    more = let_in(store, request(is_local=True, scopes=ADMIN))
    assert more.resolved is not None
    assert more.token.token != first.token.token
    assert more.token.scopes == ADMIN + READ
    assert let_in(store, request()).token == more.token


def test_device_has_one_token_for_each_role(store: PairingStore) -> None:
    operator = let_in(store, request(is_local=True)).token
    node = let_in(store, request(is_local=True, role="node", scopes=())).token
    assert (node.role, node.scopes) == ("node", ())
    assert let_in(store, request()).token == operator
    assert let_in(store, request(role="node", scopes=())).token == node


def test_local_request_settles_an_older_one_from_elsewhere(store: PairingStore) -> None:
    waiting = keep_out(store, request())
    authorized = let_in(store, request(is_local=True, scopes=READ + ADMIN))
    assert authorized.resolved is not None
    assert authorized.resolved.request_id == waiting.request_id
    assert finish(store.list())[0] == ()


def test_local_request_grants_no_more_than_it_asks_for(store: PairingStore) -> None:
    waiting = keep_out(store, request(scopes=ADMIN))
    authorized = let_in(store, request(is_local=True))
    assert authorized.resolved is not None
    assert authorized.resolved.request_id != waiting.request_id
    assert finish(store.list())[0] == (waiting.pending,)
    assert not keep_out(store, request(scopes=ADMIN)).is_new


def test_another_key_inherits_no_trust(store: PairingStore) -> None:
    old = pair(store, request(scopes=ADMIN))
    changed = request(public_key=request(2).public_key)
    waiting = keep_out(store, changed)
    assert waiting.pending.is_repair
    finish(store.approve(waiting.request_id))
    [device] = finish(store.list())[1]
    assert (device.scopes, device.roles) == (READ, ("operator",))
    assert device.public_key == changed.public_key
    assert not finish(
        store.check_token(device.device_id, old.token.token, "operator", READ)
    )
    keep_out(store, request(scopes=ADMIN))


def test_local_device_with_another_key_starts_afresh(store: PairingStore) -> None:
    pair(store, request(scopes=ADMIN))
    let_in(store, request(public_key=request(2).public_key, is_local=True))
    [device] = finish(store.list())[1]
    assert device.scopes == READ


def test_request_of_another_key_is_another_request(store: PairingStore) -> None:
    first = keep_out(store, request())
    second = keep_out(store, request(public_key=request(2).public_key))
    assert second.is_new
    assert len(finish(store.list())[0]) == 2
    assert first.request_id != second.request_id


def test_request_lives_five_minutes(store: PairingStore, time: Time) -> None:
    waiting = keep_out(store, request())
    time.now += FIVE_MINUTES
    assert not keep_out(store, request()).is_new
    time.now += 0.001
    assert finish(store.list())[0] == ()
    with pytest.raises(UnknownRequest):
        finish(store.approve(waiting.request_id))
    assert keep_out(store, request()).is_new


def test_clock_set_back_keeps_no_request_for_longer(
    store: PairingStore, time: Time
) -> None:
    keep_out(store, request())
    time.now -= 2 * FIVE_MINUTES
    assert finish(store.list())[0] == ()


def test_paired_device_is_described_as_it_came_last(
    store: PairingStore, folder: Path
) -> None:
    pair(store, request(display_name="old", platform="linux", client_id="cli"))
    let_in(store, request(display_name="new", client_mode="ui", remote_ip="10.0.0.7"))
    [device] = stored(folder, "paired.json").values()
    expected = {
        "displayName": "new",
        "platform": "linux",
        "clientId": "cli",
        "clientMode": "ui",
        "remoteIp": "10.0.0.7",
    }
    assert {name: device[name] for name in expected} == expected


def test_lists_begin_with_the_newest(store: PairingStore, time: Time) -> None:
    for number in (1, 2, 3):
        let_in(store, request(number, is_local=True))
        keep_out(store, request(number + 10))
        time.now += 1
    pending, paired = finish(store.list())
    assert [each.device_id for each in paired] == [
        request(number).device_id for number in (3, 2, 1)
    ]
    assert [each.device_id for each in pending] == [
        request(number).device_id for number in (13, 12, 11)
    ]


def test_of_too_many_requests_the_oldest_goes(store: PairingStore, time: Time) -> None:
    for number in range(1, MAX_PENDING + 1):
        keep_out(store, request(number))
        time.now += 1
    assert not keep_out(store, request(1)).is_new
    keep_out(store, request(100))
    waiting = [each.device_id for each in finish(store.list())[0]]
    assert len(waiting) == MAX_PENDING
    assert request(1).device_id not in waiting
    assert {request(2).device_id, request(100).device_id} <= set(waiting)


def many_devices(folder: Path, make_store: MakeStore, count: int) -> PairingStore:
    """Return a store with one device of ours and *count* - 1 made up ones."""
    let_in(make_store(), request(1, is_local=True))
    path = folder / "paired.json"
    [device] = stored(folder, "paired.json").values()
    devices = {each: {**device, "deviceId": each} for each in map(str, range(count))}
    del devices["0"]
    path.write_bytes(msgspec.json.encode({device["deviceId"]: device, **devices}))
    return make_store()


def test_full_house_takes_no_stranger(folder: Path, make_store: MakeStore) -> None:
    store = many_devices(folder, make_store, MAX_PAIRED)
    with pytest.raises(TooManyDevices, match="1024 devices are paired already"):
        finish(store.authorize(request(2, is_local=True)))
    waiting = keep_out(store, request(3))
    with pytest.raises(TooManyDevices):
        finish(store.approve(waiting.request_id))
    assert finish(store.list())[0] == (waiting.pending,)
    let_in(store, request(1, is_local=True, scopes=ADMIN))


def test_last_place_is_given(folder: Path, make_store: MakeStore) -> None:
    store = many_devices(folder, make_store, MAX_PAIRED - 1)
    let_in(store, request(2, is_local=True))
    assert len(finish(store.list())[1]) == MAX_PAIRED


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"device_id": "ab"}, "device.id"),
        ({"device_id": "A" * 64}, "device.id"),
        ({"device_id": "a" * 64 + "\n"}, "device.id"),
        ({"public_key": "x" * 44}, "device.publicKey"),
        ({"role": ""}, "role"),
        ({"role": "r" * 101}, "role"),
        ({"scopes": ("",)}, "scopes"),
        ({"scopes": ("a\nb",)}, "scopes"),
        ({"scopes": ("\ud800",)}, "scopes"),
        ({"scopes": ("s" * 101,)}, "scopes"),
        ({"scopes": tuple(map(str, range(65)))}, "scopes"),
    ],
)
def test_what_decides_must_be_of_a_sane_form(
    store: PairingStore, changes: dict[str, Any], param: str
) -> None:
    for is_local in (True, False):
        with pytest.raises(InvalidRequest) as caught:
            finish(store.authorize(request(**changes, is_local=is_local)))
        assert caught.value.param == param


def test_scopes_of_a_device_do_not_pile_up(store: PairingStore) -> None:
    for start in (0, 32):
        scopes = tuple(map(str, range(start, start + 32)))
        let_in(store, request(is_local=True, scopes=scopes))
    with pytest.raises(InvalidRequest, match="scopes"):
        finish(store.authorize(request(is_local=True, scopes=("one.more",))))
    [device] = finish(store.list())[1]
    assert len(device.scopes) == 64


def test_what_is_shown_is_cut_and_made_printable(store: PairingStore) -> None:
    waiting = keep_out(
        store,
        request(
            display_name="a\x1b[2J\ud800" + "n" * 300,
            platform="p" * 300,
            client_id="c" * 300,
            client_mode="",
            remote_ip="r" * 300,
        ),
    )
    pending = waiting.pending
    assert pending.display_name == "a?[2J?" + "n" * 194
    assert pending.client_mode is None
    for text in (pending.platform, pending.client_id, pending.remote_ip):
        assert len(text or "") == 100
