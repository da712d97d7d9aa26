from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.devices.pairing import (
    PairingStore,
    ScopesTooWide,
    TokenRevoked,
    UnknownDevice,
)
from moltbot_gw.errors import InvalidRequest
from tests.devices.conftest import MakeStore
from tests.devices.support import (
    ADMIN,
    NOW_MS,
    READ,
    Time,
    finish,
    let_in,
    request,
    stored,
)

DEVICE = request().device_id


def paired(store: PairingStore, scopes: tuple[str, ...] = READ) -> str:
    """Pair the device and return its token."""
    return let_in(store, request(is_local=True, scopes=scopes)).token.token


def is_valid(store: PairingStore, token: str, **changes: Any) -> bool:
    call = {"device_id": DEVICE, "role": "operator", "scopes": READ, **changes}
    return finish(store.check_token(token=token, **call))


def test_token_lets_its_device_in(store: PairingStore) -> None:
    token = paired(store, READ + ADMIN)
    assert is_valid(store, token)
    assert is_valid(store, token, scopes=ADMIN)
    assert is_valid(store, token, scopes=[])


@pytest.mark.parametrize(
    "changes",
    [
        {"device_id": request(2).device_id},
        {"role": "node"},
        {"scopes": ADMIN},
        {"scopes": READ + ADMIN},
    ],
)
def test_token_is_for_its_device_role_and_scopes(
    store: PairingStore, changes: dict[str, Any]
) -> None:
    let_in(store, request(2, is_local=True))
    assert not is_valid(store, paired(store), **changes)


@pytest.mark.parametrize("token", ["", "0" * 32, "é", "\ud800"])
def test_other_tokens_let_nobody_in(store: PairingStore, token: str) -> None:
    paired(store)
    assert not is_valid(store, token)
    assert not is_valid(store, token, device_id="nobody")


def test_use_is_noted_once_a_minute(
    store: PairingStore, time: Time, folder: Path
) -> None:
    token = paired(store)

    def last_use() -> object:
        device = stored(folder, "paired.json")[DEVICE]
        return device["tokens"]["operator"].get("lastUsedAtMs")

    assert last_use() is None
    for seconds, noted in [(0, 0), (59.5, 0), (60, 60), (119, 60), (120, 120)]:
        time.now = NOW_MS / 1000 + seconds
        assert is_valid(store, token)
        assert last_use() == NOW_MS + noted * 1000


def test_refused_use_is_not_noted(store: PairingStore, folder: Path) -> None:
    token = paired(store)
    before = (folder / "paired.json").read_bytes()
    assert not is_valid(store, token, scopes=ADMIN)
    assert (folder / "paired.json").read_bytes() == before


def test_rotated_token_replaces_the_last(store: PairingStore, time: Time) -> None:
    old = paired(store)
    time.now += 1
    issued = finish(store.rotate(DEVICE, "operator", None))
    assert (issued.role, issued.scopes) == ("operator", READ)
    assert issued.issued_at_ms == NOW_MS + 1000
    assert is_valid(store, issued.token)
    assert not is_valid(store, old)
    assert let_in(store, request()).token == issued


def test_rotation_may_narrow_a_token(store: PairingStore) -> None:
    paired(store, READ + ADMIN)
    issued = finish(store.rotate(DEVICE, "operator", list(READ)))
    assert issued.scopes == READ
    assert not is_valid(store, issued.token, scopes=ADMIN)
    again = finish(store.rotate(DEVICE, "operator", None))
    assert again.scopes == READ
    wide = let_in(store, request(scopes=ADMIN))
    assert wide.token.scopes == ADMIN + READ


def test_rotation_never_widens_what_was_approved(store: PairingStore) -> None:
    old = paired(store)
    with pytest.raises(ScopesTooWide, match=r"^scopes: wider than"):
        finish(store.rotate(DEVICE, "operator", READ + ADMIN))
    assert is_valid(store, old)


def test_device_that_has_no_token_gets_one_by_rotation(
    make_store: MakeStore, folder: Path
) -> None:
    paired(make_store(), READ + ADMIN)
    path = folder / "paired.json"
    path.write_text(path.read_text().replace('"tokens"', '"lost"'))
    store = make_store()
    with pytest.raises(UnknownDevice):
        finish(store.revoke(DEVICE, "operator"))
    assert finish(store.rotate(DEVICE, "operator", None)).scopes == ADMIN + READ


def test_insane_scopes_are_refused(store: PairingStore) -> None:
    paired(store)
    with pytest.raises(InvalidRequest):
        finish(store.rotate(DEVICE, "operator", ["x" * 1000]))


def test_revoked_token_is_worthless(store: PairingStore, time: Time) -> None:
    old = paired(store)
    time.now += 1
    assert finish(store.revoke(DEVICE, "operator")) == NOW_MS + 1000
    assert not is_valid(store, old)
    [device] = finish(store.list())[1]
    assert device.tokens[0].revoked_at_ms == NOW_MS + 1000


def test_token_is_revoked_once(store: PairingStore, time: Time) -> None:
    paired(store)
    finish(store.revoke(DEVICE, "operator"))
    time.now += 1
    assert finish(store.revoke(DEVICE, "operator")) == NOW_MS


def test_device_comes_back_from_a_revocation_with_another_token(
    store: PairingStore,
) -> None:
    old = paired(store, READ + ADMIN)
    finish(store.revoke(DEVICE, "operator"))
    again = let_in(store, request()).token
    assert again.token != old
    assert again.scopes == READ
    assert is_valid(store, again.token)


def test_revoked_token_can_be_rotated(store: PairingStore) -> None:
    paired(store)
    finish(store.revoke(DEVICE, "operator"))
    issued = finish(store.rotate(DEVICE, "operator", None))
    assert is_valid(store, issued.token)


@pytest.mark.parametrize("place", [(DEVICE, "node"), ("nobody", "operator")])
def test_unknown_device_or_role_has_no_token(
    store: PairingStore, place: tuple[str, str]
) -> None:
    paired(store)
    with pytest.raises(UnknownDevice, match=r"^unknown deviceId/role$"):
        finish(store.rotate(*place, None))
    with pytest.raises(UnknownDevice, match=r"^unknown deviceId/role$"):
        finish(store.revoke(*place))


def test_tokens_of_two_programs_of_one_device_settle(store: PairingStore) -> None:
    paired(store, READ + ADMIN)
    finish(store.rotate(DEVICE, "operator", READ))
    first = let_in(store, request(scopes=ADMIN)).token
    assert let_in(store, request(scopes=READ)).token == first
    assert let_in(store, request(scopes=ADMIN)).token == first


def test_tokens_show_nowhere(store: PairingStore, lines: list[str]) -> None:
    authorized = let_in(store, request(is_local=True))
    issued = finish(store.rotate(DEVICE, "operator", None))
    is_valid(store, issued.token)
    finish(store.revoke(DEVICE, "operator"))
    shown = [repr(authorized), repr(issued), repr(finish(store.list()))]
    shown += [repr(store._books), *lines]
    assert len(lines) == 3
    for token in (authorized.token.token, issued.token):
        assert not [text for text in shown if token in text]


def test_token_that_was_revoked_since_it_was_checked_lets_nobody_in(
    store: PairingStore,
) -> None:
    token = paired(store)
    assert is_valid(store, token)
    finish(store.authorize(request(scopes=READ), token))
    finish(store.revoke(DEVICE, "operator"))
    with pytest.raises(TokenRevoked):
        finish(store.authorize(request(scopes=READ), token))
