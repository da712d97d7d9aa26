"""What holds whatever is asked for, in whatever order."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moltbot_gw.devices.pairing import PairingStore
from moltbot_gw.errors import GatewayError
from tests.devices.support import Thread, Time, finish, request, stored

devices = st.integers(1, 3)
roles = st.sampled_from(["operator", "node"])
scopes = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3).map(tuple)
calls = st.one_of(
    st.tuples(st.just("authorize"), devices, roles, scopes, st.booleans()),
    st.tuples(st.just("rotate"), devices, roles, st.none() | scopes),
    st.tuples(st.just("revoke"), devices, roles),
    st.tuples(st.just("decide"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1, 200])),
)


def do(store: PairingStore, time: Time, call: tuple[Any, ...]) -> None:
    match call:
        case ("authorize", number, role, scopes, is_local):
            wanted = request(number, role=role, scopes=scopes, is_local=is_local)
            finish(store.authorize(wanted))
        case ("rotate", number, role, scopes):
            finish(store.rotate(request(number).device_id, role, scopes))
        case ("revoke", number, role):
            finish(store.revoke(request(number).device_id, role))
        case ("decide", is_yes):
            for pending in finish(store.list())[0][:1]:
                decide = store.approve if is_yes else store.reject
                finish(decide(pending.request_id))
        case ("wait", seconds):
            time.now += seconds


def check(folder: Path, store: PairingStore, time: Time) -> None:
    pending, paired = finish(store.list())
    again = PairingStore(folder, unix_time=time, run_in_thread=Thread())
    assert finish(again.list()) == (pending, paired)
    assert len({(each.device_id, each.public_key) for each in pending}) == len(pending)
    for device in paired:
        for token in device.tokens:
            assert token.role in device.roles
            assert set(token.scopes) <= set(device.scopes)
    if paired:
        records = stored(folder, "paired.json").values()
        tokens = [t["token"] for each in records for t in each["tokens"].values()]
        assert len(set(tokens)) == len(tokens)


@given(st.lists(calls, max_size=12))
def test_tokens_stay_within_what_was_approved(sequence: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, time = Path(name) / "devices", Time()
        store = PairingStore(folder, unix_time=time, run_in_thread=Thread())
        for call in sequence:
            with suppress(GatewayError):
                do(store, time, call)
            check(folder, store, time)
