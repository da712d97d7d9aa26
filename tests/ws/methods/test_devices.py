"""``device.*``: who decides about devices, and what everybody hears of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.control import JSON, Client, Control
from tests.support.device import make_identity
from tests.ws.connecting import DEVICE, LOCAL, log_in_with

OTHER = make_identity(2)
PAIRING = ["operator.pairing"]


def ask_in(control: Control, identity: Any = DEVICE, **changes: Any) -> str:
    """Let a remote device ask to be paired; return the request's id."""
    _, answer = log_in_with(control, None, identity, **changes)
    request_id: str = answer["error"]["details"]["requestId"]
    return request_id


def listed(client: Client) -> JSON:
    payload: JSON = client.call("device.pair.list", {})["payload"]
    return payload


def message_of(answer: JSON) -> str:
    assert answer["error"]["code"] == "INVALID_REQUEST"
    message: str = answer["error"]["message"]
    return message


def test_at_first_there_is_no_device(control: Control) -> None:
    assert listed(control.member()) == {"pending": [], "paired": []}


def test_a_waiting_device_is_listed_with_what_it_says(control: Control) -> None:
    client = control.member()
    cli = {
        "id": "cli",
        "version": "1",
        "platform": "linux",
        "mode": "cli",
        "displayName": "Box",
    }
    request_id = ask_in(control, client=cli, scopes=["operator.read"])
    (pending,) = listed(client)["pending"]
    assert pending["requestId"] == request_id
    assert pending["deviceId"] == DEVICE.id
    assert pending["displayName"] == "Box"
    assert pending["role"] == "operator"
    assert pending["scopes"] == ["operator.read"]
    assert pending["remoteIp"] == "192.168.1.1"
    assert pending["ts"] == int(control.unix_time() * 1000)


def test_paired_devices_are_listed_without_their_tokens(control: Control) -> None:
    _, answer = log_in_with(control, LOCAL, scopes=["operator.admin"])
    token = answer["payload"]["auth"]["deviceToken"]
    shown = control.member().call("device.pair.list", {})
    (device,) = shown["payload"]["paired"]
    assert device["deviceId"] == DEVICE.id
    assert [t["role"] for t in device["tokens"]] == ["operator"]
    assert [t["scopes"] for t in device["tokens"]] == [["operator.admin"]]
    assert token not in str(shown)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_decision_is_answered_and_told_to_all_who_decide(
    control: Control, decision: str
) -> None:
    client, other = control.member(), control.member(scopes=PAIRING)
    reader = control.member(scopes=["operator.read"])
    request_id = ask_in(control)
    answer = client.call(f"device.pair.{decision}", {"requestId": request_id})
    payload = answer["payload"]
    assert payload["requestId"] == request_id
    if decision == "approve":
        assert payload["device"]["deviceId"] == DEVICE.id
    else:
        assert payload["deviceId"] == DEVICE.id
    (event,) = other.events("device.pair.resolved")
    assert event["payload"] == {
        "requestId": request_id,
        "deviceId": DEVICE.id,
        "decision": {"approve": "approved", "reject": "rejected"}[decision],
        "ts": int(control.unix_time() * 1000),
    }
    assert reader.events("device.pair.resolved") == []
    assert listed(client)["pending"] == []


def test_a_rejected_device_stays_out_and_may_ask_again(control: Control) -> None:
    client = control.member()
    first = ask_in(control)
    client.call("device.pair.reject", {"requestId": first})
    assert listed(client)["paired"] == []
    assert ask_in(control) != first


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_request_is_decided_once(control: Control, decision: str) -> None:
    client = control.member()
    params = {"requestId": ask_in(control)}
    assert client.call(f"device.pair.{decision}", params)["ok"]
    for again in ("approve", "reject"):
        answer = client.call(f"device.pair.{again}", params)
        assert message_of(answer) == "unknown requestId"


def test_a_request_is_forgotten_after_five_minutes(control: Control) -> None:
    request_id = ask_in(control)
    control.advance(301.0)
    client = control.member()
    assert listed(client)["pending"] == []
    answer = client.call("device.pair.approve", {"requestId": request_id})
    assert message_of(answer) == "unknown requestId"


def test_nobody_hands_out_more_than_he_has(control: Control) -> None:
    client = control.member(scopes=PAIRING)
    admin = ask_in(control, scopes=["operator.admin"])
    answer = client.call("device.pair.approve", {"requestId": admin})
    assert message_of(answer) == "missing scope: operator.admin"
    pairer = ask_in(control, OTHER, scopes=PAIRING)
    assert client.call("device.pair.approve", {"requestId": pairer})["ok"]
    assert client.call("device.pair.reject", {"requestId": admin})["ok"]


def rotate(client: Client, **params: Any) -> JSON:
    wanted = {"deviceId": DEVICE.id, "role": "operator", **params}
    return client.call("device.token.rotate", wanted)


def test_a_rotated_token_replaces_the_old_one(control: Control) -> None:
    _, answer = log_in_with(control, LOCAL, scopes=["operator.read"])
    old = answer["payload"]["auth"]["deviceToken"]
    payload = rotate(control.member())["payload"]
    assert payload["deviceId"] == DEVICE.id
    assert payload["role"] == "operator"
    assert payload["scopes"] == ["operator.read"]
    assert payload["rotatedAtMs"] == int(control.unix_time() * 1000)
    for token, is_good in ((old, False), (payload["token"], True)):
        _, answer = log_in_with(
            control, scopes=["operator.read"], auth={"token": token}
        )
        assert answer["ok"] is is_good


def test_a_token_may_become_narrower_but_not_wider(control: Control) -> None:
    log_in_with(control, LOCAL, scopes=["operator.read", "operator.write"])
    client = control.member()
    assert rotate(client, scopes=["operator.read"])["payload"]["scopes"] == [
        "operator.read"
    ]
    assert message_of(rotate(client, scopes=["operator.admin"])).startswith("scopes: ")


def test_nobody_rotates_for_more_than_he_has(control: Control) -> None:
    log_in_with(control, LOCAL, scopes=["operator.admin"])
    client = control.member(scopes=PAIRING)
    for params in ({}, {"scopes": ["operator.admin"]}):
        answer = rotate(client, **params)
        assert message_of(answer) == "missing scope: operator.admin"


@pytest.mark.parametrize("method", ["rotate", "revoke"])
@pytest.mark.parametrize(
    "params",
    [
        {"deviceId": OTHER.id, "role": "operator"},
        {"deviceId": DEVICE.id, "role": "node"},
    ],
)
def test_an_unknown_device_is_told(control: Control, method: str, params: JSON) -> None:
    log_in_with(control, LOCAL)
    answer = control.member().call(f"device.token.{method}", params)
    assert message_of(answer) == "unknown deviceId/role"


def test_a_revoked_token_is_worthless_until_the_secret_is_brought(
    control: Control,
) -> None:
    _, answer = log_in_with(control, LOCAL)
    token = answer["payload"]["auth"]["deviceToken"]
    params = {"deviceId": DEVICE.id, "role": "operator"}
    payload = control.member().call("device.token.revoke", params)["payload"]
    now_ms = int(control.unix_time() * 1000)
    assert payload == {**params, "revokedAtMs": now_ms}
    assert not log_in_with(control, auth={"token": token})[1]["ok"]
    _, answer = log_in_with(control)
    assert answer["ok"]
    assert answer["payload"]["auth"]["deviceToken"] != token


def test_a_device_may_revoke_its_own_token(control: Control) -> None:
    client, _ = log_in_with(control, LOCAL)
    client.ask("device.token.revoke", {"deviceId": DEVICE.id, "role": "operator"})
    assert [answer["ok"] for answer in client.answers()] == [True]
    assert client.close == (1008, "device token revoked")


def test_a_token_is_revoked_for_one_role(control: Control) -> None:
    operator, _ = log_in_with(control, LOCAL)
    node, _ = log_in_with(control, LOCAL, role="node")
    params = {"deviceId": DEVICE.id, "role": "node"}
    assert control.member().call("device.token.revoke", params)["ok"]
    assert node.close == (1008, "device token revoked")
    assert operator.close is None


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("device.pair.list", {"x": 1}),
        ("device.pair.approve", {}),
        ("device.pair.approve", {"requestId": ""}),
        ("device.pair.reject", {"requestId": 5}),
        ("device.token.rotate", {"deviceId": "x"}),
        ("device.token.rotate", {"deviceId": "x", "role": "node", "scopes": "all"}),
        ("device.token.revoke", {"deviceId": "x", "role": "node", "scopes": []}),
    ],
)
def test_wrong_parameters_are_told(control: Control, method: str, params: JSON) -> None:
    answer = control.member().call(method, params)
    assert message_of(answer).startswith(f"invalid {method} params: ")


def test_what_is_decided_outlives_the_gateway(control: Control) -> None:
    client = control.member()
    client.call("device.pair.approve", {"requestId": ask_in(control)})
    again = Control(control.folder)
    _, answer = log_in_with(again)
    assert answer["ok"]
    again.close()
