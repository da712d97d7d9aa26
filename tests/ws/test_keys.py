"""Named keys over WebSocket: what they get, how much, and until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from moltbot_gw.config import AuthKey
from moltbot_gw.events import Usage
from tests.support.control import JSON, Client, Control, connect_params
from tests.support.gateway import LogTape
from tests.support.http_client import http_request
from tests.support.keys import make_key, secret_of
from tests.ws.connecting import LOCAL, connect, signed

Make = Callable[..., Control]
READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
KEYS = (
    make_key("reader", scopes=(READ,)),
    make_key("writer", scopes=(WRITE, "chat")),
    make_key("admin", scopes=(ADMIN,)),
    make_key("chatter"),
)


@pytest.fixture
def control(make_control: Make) -> Control:
    return make_control(keys=KEYS)


def auth(name: str, version: int = 1) -> JSON:
    return {"token": secret_of(name, version)}


def member(control: Control, name: str, **changes: Any) -> Client:
    return control.member(auth=auth(name), **changes)


def said(client: Client, method: str, params: Any = None) -> str:
    """Return ``ok``, or why the call was refused."""
    answer = client.call(method, params)
    return "ok" if answer["ok"] else str(answer["error"]["message"])


@pytest.mark.parametrize(
    ("name", "scopes", "method", "outcome"),
    [
        ("reader", None, "sessions.list", "ok"),
        ("reader", [READ, WRITE], "sessions.list", "ok"),
        ("reader", None, "chat.abort", "missing scope: operator.write"),
        ("reader", [ADMIN], "agents.list", "ok"),
        ("reader", [ADMIN], "device.pair.list", "missing scope: operator.pairing"),
        ("writer", None, "sessions.list", "ok"),
        ("writer", [READ], "sessions.list", "ok"),
        ("writer", [READ], "chat.abort", "missing scope: operator.write"),
        ("writer", None, "chat.abort", "ok"),
        ("writer", None, "sessions.reset", "missing scope: operator.admin"),
        ("admin", None, "device.pair.list", "ok"),
        ("admin", [READ], "device.pair.list", "missing scope: operator.pairing"),
    ],
)
def test_a_key_gets_no_more_than_its_scopes(
    control: Control, name: str, scopes: list[str] | None, method: str, outcome: str
) -> None:
    client = member(control, name, scopes=scopes)
    params = {"sessionKey": "main"} if method == "chat.abort" else None
    params = {"key": "main"} if method == "sessions.reset" else params
    assert said(client, method, params) == outcome


def refusal(control: Control, params: JSON) -> tuple[str, tuple[int | None, str]]:
    """Return the answer to ``connect``, and how the connection was closed."""
    client = control.client()
    client.send({"type": "req", "id": "c", "method": "connect", "params": params})
    control.advance(0)
    (answer,) = client.answers()
    assert not answer["ok"]
    assert client.close is not None
    return answer["error"]["message"], client.close


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auth": auth("chatter")}, "the key chatter has none of the scopes"),
        ({"auth": auth("reader"), "scopes": [WRITE]}, "the key reader has none of"),
        ({"auth": auth("admin"), "role": "node"}, "the key admin is for operators"),
        ({"auth": auth("reader", 2)}, "gateway token mismatch"),
        ({"auth": {"password": secret_of("reader")}}, "device identity required"),
    ],
)
def test_who_gets_nothing(control: Control, changes: JSON, message: str) -> None:
    error, (code, _) = refusal(control, connect_params(**changes))
    assert message in error
    assert code == 1008


def test_an_expired_key_is_told_so(make_control: Make) -> None:
    key = make_key("reader", scopes=(READ,), expires_at="2023-11-14T22:13:20Z")
    control = make_control(keys=(key,))
    for _ in range(12):
        error, _ = refusal(control, connect_params(auth=auth("reader")))
        assert error == 'unauthorized: The key "reader" has expired.'


def test_wrong_keys_are_counted(control: Control) -> None:
    for _ in range(10):
        refusal(control, connect_params(auth=auth("reader", 2)))
    error, _ = refusal(control, connect_params(auth=auth("reader")))
    assert error.startswith("Too many wrong secrets")


def test_a_device_gets_nothing_from_a_key(control: Control) -> None:
    """Its token would let it in when the key is gone."""
    for peer in (None, LOCAL):
        client = control.client(peer)
        params = signed(control, client, auth=auth("reader"), scopes=[READ])
        answer = connect(control, client, params)
        assert answer["ok"]
        assert "auth" not in answer["payload"]
    owner = control.member()
    assert owner.call("device.pair.list")["payload"] == {"pending": [], "paired": []}


def test_a_key_beside_a_password(make_control: Make) -> None:
    config = {"gateway": {"auth": {"mode": "password", "password": "p" * 32}}}
    control = make_control(config, keys=KEYS)
    assert said(member(control, "reader"), "sessions.list") == "ok"


# -- until when


def test_revoking_a_key_closes_its_connections(control: Control) -> None:
    reader, writer, owner = (
        member(control, "reader"),
        member(control, "writer"),
        control.member(),
    )
    control.keys.replace(KEYS[1:])
    control.advance(0)
    assert reader.close == (1008, "key revoked or changed")
    assert writer.close is None
    assert owner.close is None
    error, _ = refusal(control, connect_params(auth=auth("reader")))
    assert "mismatch" in error


def test_a_key_with_another_secret_or_less_rights_comes_in_again(
    control: Control,
) -> None:
    reader, writer, admin = (
        member(control, name) for name in ("reader", "writer", "admin")
    )
    control.keys.replace(
        (
            make_key("reader", version=2, scopes=(READ,)),
            make_key("writer", scopes=(READ,)),
            make_key("admin", scopes=(ADMIN,), requests_per_minute=5),
        )
    )
    control.advance(0)
    assert reader.close == writer.close == (1008, "key revoked or changed")
    assert admin.close is None
    assert said(control.member(auth=auth("reader", 2)), "sessions.list") == "ok"
    assert said(member(control, "writer"), "sessions.list") == "ok"


def test_runs_of_a_revoked_key_go_on(control: Control) -> None:
    writer = member(control, "writer")
    assert said(writer, "chat.send", message("k1")) == "ok"
    control.keys.replace(())
    control.advance(0)
    assert writer.close is not None
    control.model.calls[-1].say("done")
    control.model.calls[-1].finish()
    assert str(control.history("agent:main:main")[-1]).count("done") == 1


def test_a_connection_ends_with_its_key(make_control: Make) -> None:
    key = make_key("reader", scopes=(READ,), expires_at="2023-11-14T22:13:30Z")
    control = make_control(keys=(key,))
    reader, owner = member(control, "reader"), control.member()
    control.advance(9)
    assert reader.close is None
    control.advance(21)  # looked at with each tick
    assert reader.close == (1008, "key expired")
    assert owner.close is None


# -- how much


def message(key: str, text: str = "hi") -> JSON:
    return {"sessionKey": "main", "message": text, "idempotencyKey": key}


def test_calls_that_start_runs_are_counted(make_control: Make) -> None:
    key = make_key("writer", scopes=(WRITE,), requests_per_minute=2)
    control = make_control(keys=(key,), default_id="echo")
    writer = member(control, "writer")
    for _ in range(5):
        assert said(writer, "sessions.list") == "ok"
    assert said(writer, "chat.send", message("k1")) == "ok"
    agent = {"message": "hi", "agentId": "echo", "idempotencyKey": "k2"}
    assert said(writer, "agent", agent) == "ok"
    refused = writer.call("chat.send", message("k3"))["error"]
    assert refused == {
        "code": "UNAVAILABLE",
        "message": "This key may make 2 requests a minute; wait 30 seconds.",
        "retryable": True,
        "retryAfterMs": 30_000,
    }
    assert said(control.member(), "chat.send", message("k4")) == "ok"
    control.advance(5)  # the echo takes its time


def test_both_edges_count_together(make_control: Make) -> None:
    key = make_key(
        "writer", scopes=(WRITE, "chat"), max_concurrent_runs=1, tokens_per_minute=60
    )
    control = make_control(keys=(key,))
    writer = member(control, "writer")
    assert said(writer, "chat.send", message("k1")) == "ok"
    body = b'{"messages": [{"role": "user", "content": "hi"}]}'
    asked = http_request(
        "POST", "/v1/chat/completions", body, token=secret_of("writer")
    )
    assert control.ask(asked).error["message"].startswith("This key may have 1 runs")
    control.model.calls[-1].finish(usage=Usage(total_tokens=70))
    assert control.ask(asked).error["message"].startswith("This key may use 60 tokens")
    refused = said(writer, "chat.send", message("k2"))
    assert refused.startswith("This key may use 60 tokens a minute")


def test_runs_and_log_lines_bear_the_name(control: Control, log: LogTape) -> None:
    writer = member(control, "writer")
    assert [line for line in log.lines if "connected" in line][-1].endswith(
        " key=writer"
    )
    said(writer, "chat.send", message("k1"))
    (run,) = control.agents.active
    assert run.principal == "writer"
    control.model.calls[-1].finish()
    assert [line for line in log.lines if line.startswith("WS run ")][-1].endswith(
        " key=writer"
    )
    assert not [e for e in log.events if secret_of("writer") in repr(e)]


# -- users whom a proxy names

STAFF = AuthKey(name="staff", users=("ann",), scopes=(READ,))


@pytest.mark.parametrize(
    ("peer", "headers", "outcome"),
    [
        ("10.0.0.1", {"X_User": "ann"}, "ok"),
        ("10.0.0.1", {"X_User": "bob"}, "device identity required"),
        ("10.0.0.1", {}, "device identity required"),
        ("10.0.0.2", {"X_User": "ann"}, "device identity required"),
    ],
)
def test_a_trusted_proxy_names_its_user(
    make_control: Make, peer: str, headers: dict[str, str], outcome: str
) -> None:
    control = make_control(
        keys=(STAFF,), trusted_proxies=("10.0.0.1",), user_header="X-User"
    )
    client = control.client(peer, **headers)
    answer = client.log_in(auth=None)
    assert outcome == ("ok" if answer["ok"] else answer["error"]["message"])
    if answer["ok"]:
        assert said(client, "sessions.list") == "ok"
        assert said(client, "device.pair.list") == "missing scope: operator.pairing"


def test_a_wrong_secret_is_not_mended_by_a_user(make_control: Make) -> None:
    control = make_control(
        keys=(STAFF,), trusted_proxies=("10.0.0.1",), user_header="X-User"
    )
    client = control.client("10.0.0.1", X_User="ann")
    answer = client.log_in(auth={"token": "wrong"})
    assert "mismatch" in answer["error"]["message"]


def test_an_expired_user_is_told_so(make_control: Make) -> None:
    over = msgspec.structs.replace(STAFF, expires_at="2023-11-14T22:13:20Z")
    control = make_control(
        keys=(over,), trusted_proxies=("10.0.0.1",), user_header="X-User"
    )
    client = control.client("10.0.0.1", X_User="ann")
    answer = client.log_in(auth=None)
    assert answer["error"]["message"] == 'unauthorized: The key "staff" has expired.'
