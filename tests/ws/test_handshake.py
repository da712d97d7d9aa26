"""The handshake: who is let in, and what everybody else is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import formatEvent

from moltbot_gw.errors import StoreFailed
from tests.support.control import JSON, Client, Control, connect_params
from tests.support.device import make_identity
from tests.support.gateway import LogTape
from tests.support.http_client import TOKEN, chat_request, http_request
from tests.ws.connecting import (
    DEVICE,
    LOCAL,
    connect,
    connect_frame,
    log_in_with,
    nonce_of,
    signed,
)

Make = Callable[..., Control]
Build = Callable[[Control, Client], Any]

CLIENT = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
UI = {**CLIENT, "id": "moltbot-control-ui", "mode": "webchat", "platform": "web"}
CLI_HINT = "set gateway.remote.token to match gateway.auth.token"
MISMATCH = f"unauthorized: gateway token mismatch ({CLI_HINT})"
WRONG = {"token": "wrong-horse"}


def plain(**changes: Any) -> Build:
    return lambda control, client: connect_params(**changes)


def device(edit: JSON | None = None, **options: Any) -> Build:
    """Sign, and change members of ``device`` afterwards."""

    def build(control: Control, client: Client) -> JSON:
        params = signed(control, client, **options)
        params["device"] = {
            name: value
            for name, value in {**params["device"], **(edit or {})}.items()
            if value is not None
        }
        return params

    return build


SHORT_KEY = {
    "publicKey": "AAAA",
    "id": "709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c",
}
OTHER = make_identity(2)

REFUSED: list[tuple[str, Build, str, str, int]] = [
    (
        "a newer protocol",
        plain(minProtocol=4, maxProtocol=5),
        "INVALID_REQUEST",
        "protocol mismatch",
        1002,
    ),
    (
        "an older protocol",
        plain(minProtocol=1, maxProtocol=2),
        "INVALID_REQUEST",
        "protocol mismatch",
        1002,
    ),
    ("an odd role", plain(role="king"), "INVALID_REQUEST", "invalid role", 1008),
    (
        "the page without a device",
        plain(client=UI),
        "INVALID_REQUEST",
        "control ui requires HTTPS or localhost (secure context)",
        1008,
    ),
    ("nothing", plain(auth=None), "NOT_PAIRED", "device identity required", 1008),
    (
        "an empty token",
        plain(auth={"token": ""}),
        "NOT_PAIRED",
        "device identity required",
        1008,
    ),
    (
        "a password alone",
        plain(auth={"password": TOKEN}),
        "NOT_PAIRED",
        "device identity required",
        1008,
    ),
    (
        "another's id",
        device({"id": OTHER.id}),
        "INVALID_REQUEST",
        "device identity mismatch",
        1008,
    ),
    (
        "an unreadable key",
        device({"publicKey": "?"}),
        "INVALID_REQUEST",
        "device identity mismatch",
        1008,
    ),
    (
        "an old signature",
        device(late=601),
        "INVALID_REQUEST",
        "device signature expired",
        1008,
    ),
    (
        "a signature of tomorrow",
        device(late=-601),
        "INVALID_REQUEST",
        "device signature expired",
        1008,
    ),
    (
        "no nonce",
        device(version=1),
        "INVALID_REQUEST",
        "device nonce required",
        1008,
    ),
    (
        "a blank nonce",
        device({"nonce": "  "}),
        "INVALID_REQUEST",
        "device nonce required",
        1008,
    ),
    (
        "another nonce",
        device({"nonce": "11111111-1111-4111-8111-111111111111"}),
        "INVALID_REQUEST",
        "device nonce mismatch",
        1008,
    ),
    (
        "another's signature",
        device({"signature": "A" * 86}),
        "INVALID_REQUEST",
        "device signature invalid",
        1008,
    ),
    (
        "a key that is none",
        device(SHORT_KEY),
        "INVALID_REQUEST",
        "device public key invalid",
        1008,
    ),
    ("a wrong token", plain(auth=WRONG), "INVALID_REQUEST", MISMATCH, 1008),
    (
        "a device with a wrong token",
        device(auth=WRONG),
        "INVALID_REQUEST",
        MISMATCH,
        1008,
    ),
    (
        "a device without a token",
        device(auth={}),
        "INVALID_REQUEST",
        f"unauthorized: gateway token missing ({CLI_HINT})",
        1008,
    ),
]


@pytest.mark.parametrize(
    ("build", "code", "message", "close_code"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
def test_a_refused_client_is_told_why_and_closed(
    control: Control, build: Build, code: str, message: str, close_code: int
) -> None:
    client = control.client()
    answer = connect(control, client, build(control, client))
    assert not answer["ok"]
    assert "payload" not in answer
    assert (answer["error"]["code"], answer["error"]["message"]) == (code, message)
    assert client.close == (close_code, message)


def test_a_protocol_mismatch_tells_which_one_is_spoken(control: Control) -> None:
    client = control.client()
    answer = connect(control, client, connect_params(minProtocol=4, maxProtocol=4))
    assert answer["error"]["details"] == {"expectedProtocol": 3}


PARAMS: list[tuple[str, Any]] = [
    ("null", None),
    ("a list", []),
    ("an unknown member", connect_params(extra=1)),
    ("no protocol", connect_params(minProtocol=None)),
    ("protocol 0", connect_params(minProtocol=0)),
    ("an unknown client", connect_params(client={**CLIENT, "id": "zzz"})),
    ("another spelling", connect_params(client={**CLIENT, "id": "CLI"})),
    ("an unknown mode", connect_params(client={**CLIENT, "mode": "operator"})),
    ("no version", connect_params(client={**CLIENT, "version": ""})),
    ("an odd client member", connect_params(client={**CLIENT, "x": 1})),
    ("an empty name", connect_params(client={**CLIENT, "displayName": ""})),
    ("an empty role", connect_params(role="")),
    ("scopes of numbers", connect_params(scopes=[1])),
    ("an odd auth member", connect_params(auth={"token": TOKEN, "x": 1})),
    ("a device without id", connect_params(device={"publicKey": "A"})),
]


@pytest.mark.parametrize(
    "params", [p for _, p in PARAMS], ids=[name for name, _ in PARAMS]
)
def test_wrong_parameters_are_told_and_closed(control: Control, params: Any) -> None:
    client = control.client()
    answer = connect(control, client, params)
    message = answer["error"]["message"]
    assert answer["error"]["code"] == "INVALID_REQUEST"
    assert message.startswith("invalid connect params: ")
    assert client.close == (1008, message.encode()[:120].decode())


def test_connect_without_parameters_is_wrong(control: Control) -> None:
    client = control.client()
    client.send({"type": "req", "id": "c1", "method": "connect"})
    assert client.messages()[-1]["error"]["message"].startswith(
        "invalid connect params: "
    )


FIRST: list[tuple[str, bytes, tuple[int, str]]] = [
    ("not JSON", b"junk", (1000, "")),
    ("half a surrogate", b'{"id":"\\ud800"}', (1008, "invalid request frame")),
    ("no request", b"{}", (1008, "invalid request frame")),
    ("a list", b"[]", (1008, "invalid request frame")),
    ("an event", b'{"type":"event","event":"x"}', (1008, "invalid request frame")),
]


@pytest.mark.parametrize(
    ("message", "close"), [row[1:] for row in FIRST], ids=[row[0] for row in FIRST]
)
def test_a_first_message_that_is_no_request_gets_a_close_frame_only(
    control: Control, message: bytes, close: tuple[int, str]
) -> None:
    client = control.client()
    nonce_of(client)
    client.send(message)
    assert client.messages() == []
    assert client.close == close


def test_the_first_request_must_be_connect(control: Control) -> None:
    client = control.client()
    nonce_of(client)
    client.ask("health")
    (answer,) = client.messages()
    message = "invalid handshake: first request must be connect"
    assert answer["id"] == "r1"
    assert answer["error"] == {"code": "INVALID_REQUEST", "message": message}
    assert client.close == (1008, message)


def test_nothing_is_answered_after_a_refusal(control: Control) -> None:
    client = control.client()
    client.send(connect_frame(connect_params(auth=WRONG)))
    client.messages()
    client.send(connect_frame(connect_params()), b"junk", b"{}")
    assert client.messages() == []


# -- the order of the checks: each is told before those after it

BAD_ROLE, OLD = {"role": "king"}, {"minProtocol": 4, "maxProtocol": 4}
ORDER: list[tuple[str, Build, str]] = [
    ("params", plain(**OLD, extra=1), "invalid connect params"),
    ("protocol", plain(**OLD, **BAD_ROLE), "protocol mismatch"),
    ("role", plain(**BAD_ROLE, client=UI), "invalid role"),
    ("page", plain(client=UI, auth=WRONG), "control ui requires"),
    ("id", device({"id": OTHER.id}, late=601), "device identity mismatch"),
    ("age", device({"nonce": None}, late=601), "device signature expired"),
    ("nonce", device({"nonce": "x", **SHORT_KEY}), "device nonce mismatch"),
    ("no nonce", device({"signature": "A"}, version=1), "device nonce required"),
    ("key", device({"signature": "A", **SHORT_KEY}), "device public key invalid"),
    ("signature", device({"signature": "A"}, auth=WRONG), "device signature invalid"),
    ("token", device(auth=WRONG), "unauthorized: gateway token mismatch"),
    ("pairing", device(), "pairing required"),
]


@pytest.mark.parametrize(
    ("build", "message"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER]
)
def test_the_first_of_several_faults_is_told(
    control: Control, build: Build, message: str
) -> None:
    client = control.client()
    answer = connect(control, client, build(control, client))
    assert answer["error"]["message"].startswith(message)


def test_a_bad_signature_is_refused_with_the_right_token_too(control: Control) -> None:
    client = control.client(LOCAL)
    params = signed(control, client)
    params["client"] = {**CLIENT, "mode": "ui"}
    answer = connect(control, client, params)
    assert answer["error"]["message"] == "device signature invalid"


# -- who may come in

IDS = [
    "webchat-ui",
    "webchat",
    "cli",
    "gateway-client",
    "node-host",
    "test",
    "fingerprint",
    *(
        f"{product}-{app}"
        for product in ("moltbot", "clawdbot", "openclaw")
        for app in ("macos", "ios", "android", "probe")
    ),
]


@pytest.mark.parametrize("client_id", IDS)
def test_every_known_client_may_come_in(control: Control, client_id: str) -> None:
    answer = control.client().log_in(client={**CLIENT, "id": client_id})
    assert answer["ok"]


@pytest.mark.parametrize("product", ["moltbot", "clawdbot", "openclaw"])
def test_the_page_is_known_by_all_its_names(control: Control, product: str) -> None:
    page = {**UI, "id": f"{product}-control-ui"}
    assert log_in_with(control, LOCAL, client=page)[1]["ok"]
    answer = control.client().log_in(client=page)
    assert answer["error"]["message"].startswith("control ui requires")


@pytest.mark.parametrize("peer", [LOCAL, None])
@pytest.mark.parametrize("version", [1, 2])
def test_only_a_local_device_may_sign_without_the_nonce(
    control: Control, version: int, peer: str | None
) -> None:
    _, answer = log_in_with(control, peer, version=version)
    if peer == LOCAL:
        assert answer["ok"]
    elif version == 1:
        assert answer["error"]["message"] == "device nonce required"
    else:
        assert answer["error"]["message"] == "pairing required"


@pytest.mark.parametrize(
    "headers", [{"X_Forwarded_For": "127.0.0.1"}, {"host": "box.test"}]
)
def test_who_comes_through_a_proxy_is_not_local(
    control: Control, headers: dict[str, str]
) -> None:
    client = control.client(LOCAL, **headers)
    answer = connect(control, client, signed(control, client, version=1))
    assert answer["error"]["message"] == "device nonce required"


def test_each_connection_is_challenged_with_another_nonce(control: Control) -> None:
    first, second = control.client(), control.client()
    stale = signed(control, first)
    assert nonce_of(second) != stale["device"]["nonce"]
    answer = connect(control, second, stale)
    assert answer["error"]["message"] == "device nonce mismatch"


HINTS = [
    (CLIENT, CLI_HINT),
    (
        {**CLIENT, "id": "webchat-ui", "mode": "ui"},
        "open a tokenized dashboard URL or paste token in Control UI settings",
    ),
    (
        {**CLIENT, "id": "webchat", "mode": "webchat"},
        "open a tokenized dashboard URL or paste token in Control UI settings",
    ),
    ({**CLIENT, "id": "test", "mode": "test"}, "provide gateway auth token"),
]


@pytest.mark.parametrize(("client", "hint"), HINTS)
def test_the_hint_fits_the_client(control: Control, client: JSON, hint: str) -> None:
    answer = control.client().log_in(client=client, auth=WRONG)
    message = f"unauthorized: gateway token mismatch ({hint})"
    assert answer["error"]["message"] == message


# -- password mode

PASSWORD: JSON = {"gateway": {"auth": {"mode": "password", "password": TOKEN}}}


def test_a_password_lets_in_with_a_device(make_control: Make) -> None:
    control = make_control(PASSWORD)
    assert log_in_with(control, LOCAL, auth={"password": TOKEN})[1]["ok"]


def test_a_device_token_does_beside_a_password(make_control: Make) -> None:
    control = make_control(PASSWORD)
    token = token_of(log_in_with(control, LOCAL, auth={"password": TOKEN})[1])
    assert log_in_with(control, auth={"token": token})[1]["ok"]


@pytest.mark.parametrize(
    ("client", "hint"),
    [
        (CLIENT, "set gateway.remote.password to match gateway.auth.password"),
        ({**CLIENT, "mode": "webchat"}, "enter the password in Control UI settings"),
        ({**CLIENT, "mode": "test"}, "provide gateway auth password"),
    ],
)
@pytest.mark.parametrize(
    ("auth", "problem"),
    [
        ({"password": "wrong"}, "mismatch"),
        ({"token": TOKEN}, "missing"),
        ({}, "missing"),
    ],
)
def test_a_wrong_password_is_told(
    make_control: Make, client: JSON, hint: str, auth: JSON, problem: str
) -> None:
    control = make_control(PASSWORD)
    _, answer = log_in_with(control, LOCAL, client=client, auth=auth)
    message = f"unauthorized: gateway password {problem} ({hint})"
    assert answer["error"]["message"] == message


@pytest.mark.parametrize("flag", ["allowInsecureAuth", "dangerouslyDisableDeviceAuth"])
@pytest.mark.parametrize("auth", [{"password": TOKEN}, {"password": "wrong"}, {}])
def test_the_page_may_come_without_a_device_if_configured(
    make_control: Make, flag: str, auth: JSON
) -> None:
    gateway = {**PASSWORD["gateway"], "controlUi": {flag: True}}
    answer = make_control({"gateway": gateway}).client().log_in(client=UI, auth=auth)
    if not auth:
        assert answer["error"]["message"].startswith("control ui requires")
    else:
        assert answer["ok"] == (auth["password"] == TOKEN)


def test_no_flag_frees_other_clients_from_devices(make_control: Make) -> None:
    control = make_control(
        {"gateway": {"controlUi": {"dangerouslyDisableDeviceAuth": True}}}
    )
    answer = control.client().log_in(auth={"password": TOKEN})
    assert answer["error"]["message"] == "device identity required"


def test_a_page_freed_from_devices_is_not_paired(make_control: Make) -> None:
    control = make_control({"gateway": {"controlUi": {"allowInsecureAuth": True}}})
    _, answer = log_in_with(control, client=UI)
    assert answer["ok"]
    assert "auth" not in answer["payload"]
    paired = control.member().call("device.pair.list")["payload"]
    assert paired == {"pending": [], "paired": []}


def test_a_device_that_is_ignored_lends_no_token(make_control: Make) -> None:
    control = make_control(
        {"gateway": {"controlUi": {"dangerouslyDisableDeviceAuth": True}}}
    )
    token = log_in_with(control, LOCAL)[1]["payload"]["auth"]["deviceToken"]
    client = control.client()
    params = signed(control, client, client=UI, auth={"token": token})
    params["device"]["signature"] = "A"
    answer = connect(control, client, params)
    assert answer["error"]["message"].startswith("unauthorized: ")


# -- devices

ADMIN = ["operator.admin"]
WIDE = ["operator.admin", "operator.approvals", "operator.pairing"]


def approve(control: Control, answer: JSON) -> None:
    request_id = answer["error"]["details"]["requestId"]
    approver = control.member()
    assert approver.call("device.pair.approve", {"requestId": request_id})["ok"]


def token_of(answer: JSON) -> str:
    token: str = answer["payload"]["auth"]["deviceToken"]
    return token


def test_a_local_device_is_paired_on_the_spot(control: Control) -> None:
    watcher = control.member()
    _, answer = log_in_with(control, LOCAL, scopes=ADMIN)
    grant = answer["payload"]["auth"]
    assert grant["role"] == "operator"
    assert grant["scopes"] == ADMIN
    assert grant["issuedAtMs"] == int(control.unix_time() * 1000)
    assert len(grant["deviceToken"]) == 32
    (event,) = watcher.events("device.pair.resolved")
    assert event["payload"]["deviceId"] == DEVICE.id
    assert event["payload"]["decision"] == "approved"


def test_a_remote_device_comes_in_once_it_is_approved(control: Control) -> None:
    watcher = control.member()
    client, answer = log_in_with(control, scopes=ADMIN)
    assert answer["error"]["code"] == "NOT_PAIRED"
    assert client.close == (1008, "pairing required")
    (event,) = watcher.events("device.pair.requested")
    assert event["payload"]["requestId"] == answer["error"]["details"]["requestId"]
    approve(control, answer)
    _, answer = log_in_with(control, scopes=ADMIN)
    token = token_of(answer)
    _, answer = log_in_with(control, scopes=ADMIN, auth={"token": token})
    assert token_of(answer) == token


def test_a_device_that_asks_again_is_announced_once(control: Control) -> None:
    watcher = control.member()
    first, second = (log_in_with(control)[1] for _ in range(2))
    assert first["error"]["details"] == second["error"]["details"]
    assert len(watcher.events("device.pair.requested")) == 1


def test_who_may_not_pair_hears_of_no_pairing(control: Control) -> None:
    reader = control.member(scopes=["operator.read"])
    node = control.member(role="node", scopes=ADMIN)
    pairer = control.member(scopes=["operator.pairing"])
    log_in_with(control)
    heard = [len(c.events("device.pair.requested")) for c in (reader, node, pairer)]
    assert heard == [0, 0, 1]


def test_a_token_of_an_admin_covers_all_that_operators_may(control: Control) -> None:
    token = token_of(log_in_with(control, LOCAL, scopes=ADMIN)[1])
    _, answer = log_in_with(control, scopes=WIDE, auth={"token": token})
    assert answer["ok"]


def test_a_narrow_token_does_not_cover_more(control: Control) -> None:
    token = token_of(log_in_with(control, LOCAL, scopes=["operator.read"])[1])
    _, answer = log_in_with(control, scopes=ADMIN, auth={"token": token})
    assert answer["error"]["message"] == MISMATCH


def test_a_token_is_of_no_use_to_another_device(control: Control) -> None:
    token = token_of(log_in_with(control, LOCAL)[1])
    _, answer = log_in_with(control, LOCAL, OTHER, auth={"token": token})
    assert answer["error"]["message"] == MISMATCH


def test_a_token_alone_is_of_no_use(control: Control) -> None:
    token = token_of(log_in_with(control, LOCAL)[1])
    assert not control.client(LOCAL).log_in(auth={"token": token})["ok"]


def test_a_token_that_is_revoked_closes_its_connections_only(control: Control) -> None:
    client, answer = log_in_with(control, LOCAL)
    other, _ = log_in_with(control, LOCAL, OTHER)
    admin = control.member()
    revoke = {"deviceId": DEVICE.id, "role": "operator"}
    assert admin.call("device.token.revoke", revoke)["ok"]
    assert client.close == (1008, "device token revoked")
    assert other.close is None
    assert admin.close is None
    _, again = log_in_with(control, LOCAL, auth={"token": token_of(answer)})
    assert again["error"]["message"] == MISMATCH


@pytest.mark.parametrize("auth", [{"token": TOKEN}, {"token": "0" * 32}])
def test_a_device_store_that_cannot_be_read_refuses_devices_for_a_while(
    control: Control, log: LogTape, auth: JSON
) -> None:
    folder = control.folder / "state" / "devices"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way")
    client, answer = log_in_with(control, LOCAL, auth=auth)
    assert answer["error"]["code"] == "UNAVAILABLE"
    assert client.close is not None
    assert control.client().log_in()["ok"]
    assert len(log.take_problems()) == 1


def test_an_unexpected_failure_drops_the_client(
    control: Control, log: LogTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(address: str) -> None:
        raise RuntimeError("a detail")

    monkeypatch.setattr(control.limiter, "check", fail)
    client = control.client()
    client.send(connect_frame(connect_params()))
    control.advance(0)
    assert client.connection.aborted
    (problem,) = log.take_problems()
    assert "a detail" in problem


# -- wrong secrets


def refuse_ten(control: Control, peer: str | None = None) -> None:
    for _ in range(10):
        answer = control.client(peer).log_in(auth=WRONG)
        assert answer["error"]["message"] == MISMATCH


@pytest.mark.parametrize("peer", [None, LOCAL])
def test_after_ten_wrong_secrets_the_right_one_is_not_heard(
    control: Control, peer: str | None
) -> None:
    refuse_ten(control, peer)
    control.advance(20.0)
    client = control.client(peer)
    error = client.log_in()["error"]
    assert error["code"] == "UNAVAILABLE"
    assert error["retryable"] is True
    assert error["retryAfterMs"] == 40_000
    assert client.close == (1008, error["message"])
    control.advance(41.0)
    assert control.client(peer).log_in()["ok"]


def test_wrong_passwords_are_limited_too(make_control: Make) -> None:
    control = make_control(PASSWORD)
    for _ in range(10):
        log_in_with(control, auth={"password": "wrong"})
    _, answer = log_in_with(control, auth={"password": TOKEN})
    assert answer["error"]["code"] == "UNAVAILABLE"


def test_the_limit_counts_each_address_by_itself(control: Control) -> None:
    refuse_ten(control)
    assert control.client(LOCAL).log_in()["ok"]


def test_wrong_secrets_count_for_http_too(control: Control) -> None:
    refuse_ten(control)
    answer = control.ask(chat_request())
    assert answer.status == 429


def test_wrong_secrets_over_http_count_here_too(control: Control) -> None:
    for _ in range(10):
        assert control.ask(http_request(token="wrong")).status == 401
    assert control.client().log_in()["error"]["retryable"] is True


def test_who_brings_no_secret_is_not_counted(control: Control) -> None:
    for _ in range(11):
        log_in_with(control, auth={})
        control.client().log_in(auth=None)
    assert control.client().log_in()["ok"]


def test_wrong_device_tokens_are_counted(control: Control) -> None:
    for _ in range(10):
        log_in_with(control, auth={"token": "0" * 32})
    assert control.client().log_in()["error"]["code"] == "UNAVAILABLE"


@pytest.mark.parametrize("secret", ["\u00e9" * len(TOKEN), "x" * 20_000, "\0"])
def test_an_odd_secret_is_a_wrong_one(control: Control, secret: str) -> None:
    answer = control.client().log_in(auth={"token": secret})
    assert answer["error"]["message"] == MISMATCH


# -- time and place


def test_who_says_nothing_is_closed_after_ten_seconds(control: Control) -> None:
    client = control.client()
    nonce_of(client)
    control.advance(9.9)
    assert client.close is None
    control.advance(0.1)
    assert client.messages() == []
    assert client.close == (1000, "")


def test_a_client_that_waits_for_its_decision_is_closed_too(control: Control) -> None:
    client = control.client(LOCAL)
    control.hold_threads()
    client.send(connect_frame(signed(control, client)))
    control.advance(10.0)
    assert client.close == (1000, "")
    control.release_threads()
    assert client.messages() == []


def test_the_time_is_over_once_for_a_client_that_is_in(control: Control) -> None:
    client = control.member()
    control.advance(11.0)
    assert client.close is None


def test_a_client_that_leaves_early_leaves_nothing(control: Control) -> None:
    client = control.client(LOCAL)
    control.hold_threads()
    client.send(connect_frame(signed(control, client)))
    client.connection.hang_up()
    control.release_threads()
    assert control.control.hub.members == 0


def early(control: Control, count: int, *last: bytes) -> Client:
    """Return a client that sends requests before its ``connect`` is decided."""
    client = control.client(LOCAL)
    params = signed(control, client)
    control.hold_threads()
    client.send(connect_frame(params))
    for _ in range(count):
        client.ask("device.pair.list")
    client.send(*last)
    assert client.messages() == []
    return client


def test_early_requests_are_answered_after_the_hello(control: Control) -> None:
    client = early(control, 16)
    control.release_threads()
    hello, *answers = client.answers()
    assert hello["payload"]["type"] == "hello-ok"
    assert [answer["id"] for answer in answers] == [f"r{n}" for n in range(1, 17)]
    assert all(answer["ok"] for answer in answers)


@pytest.mark.parametrize(
    ("count", "last", "close"),
    [
        (17, [], (1008, "too many requests before connect was answered")),
        (0, [b"junk"], (1000, "")),
        (0, [b"{}"], (1008, "invalid request frame")),
    ],
)
def test_an_early_client_that_goes_too_far_is_closed(
    control: Control, count: int, last: list[bytes], close: tuple[int, str]
) -> None:
    client = early(control, count, *last)
    assert client.close == close
    control.release_threads()
    assert client.messages() == []


def test_who_is_not_in_yet_may_send_little(control: Control) -> None:
    client = control.client()
    client.send(connect_frame(connect_params(userAgent="x" * 65_536)))
    assert client.close is not None
    assert client.close[0] == 1009


def test_who_is_in_may_send_more(control: Control) -> None:
    client = control.member()
    size = 512 * 1024
    assert not client.call("x", {"text": "x" * (size - 100)})["ok"]
    assert client.close is None
    client.send(b"x" * (size + 1))
    assert client.close is not None
    assert client.close[0] == 1009


# -- the hello


def test_the_hello_tells_what_is_served(control: Control) -> None:
    hello = control.client().log_in()["payload"]
    assert hello["type"] == "hello-ok"
    assert hello["protocol"] == 3
    assert hello["server"]["host"] == "box"
    assert set(hello["server"]) == {"version", "host", "connId"}
    assert hello["policy"] == {
        "maxPayload": 524_288,
        "maxBufferedBytes": 1_572_864,
        "tickIntervalMs": 30_000,
    }
    assert "auth" not in hello
    assert {"agent", "chat", "tick", "shutdown"} <= set(hello["features"]["events"])


def test_every_method_that_is_advertised_is_served(control: Control) -> None:
    client = control.client()
    methods = client.log_in()["payload"]["features"]["methods"]
    assert {"agent", "agent.wait", "chat.send", "chat.abort"} <= set(methods)
    assert "connect" not in methods
    assert len(set(methods)) == len(methods)
    for method in methods:
        answer = client.call(method, {"no such parameter": 1})
        message = answer.get("error", {}).get("message", "")
        assert not message.startswith("unknown method")


def test_the_hello_shows_where_the_gateway_stands(control: Control) -> None:
    control.advance(5.0)
    snapshot = control.client().log_in()["payload"]["snapshot"]
    assert snapshot["uptimeMs"] == 5000
    assert snapshot["configPath"] == str(control.folder / "moltbot.json")
    assert snapshot["stateDir"] == str(control.folder / "state")
    assert snapshot["sessionDefaults"] == {
        "defaultAgentId": "main",
        "mainKey": "main",
        "mainSessionKey": "agent:main:main",
        "scope": "per-sender",
    }


def test_the_hello_shows_the_client_itself(control: Control) -> None:
    params = {"client": {**CLIENT, "mode": "ui", "instanceId": "screen"}}
    first = control.client().log_in()["payload"]["snapshot"]
    snapshot = control.client().log_in(**params)["payload"]["snapshot"]
    present = [e for e in snapshot["presence"] if e.get("instanceId") == "screen"]
    assert len(present) == 1
    assert present[0]["mode"] == "ui"
    assert present[0]["ip"] == "192.168.1.1"
    assert snapshot["stateVersion"]["presence"] > first["stateVersion"]["presence"]
    assert any(entry["mode"] == "gateway" for entry in snapshot["presence"])


def test_the_hello_shows_the_health_and_others_hear_of_it(control: Control) -> None:
    first = control.member()
    control.advance(10.0)
    snapshot = control.client().log_in()["payload"]["snapshot"]
    assert snapshot["health"]["ok"] is True
    events = first.events("health")
    assert events[-1]["payload"]["ok"] is True
    assert events[-1]["stateVersion"]["health"] >= 2


def test_a_store_that_fails_keeps_nobody_out(control: Control, log: LogTape) -> None:
    control.store.failure = StoreFailed("The disk is gone.")
    client = control.client()
    assert client.log_in()["payload"]["snapshot"]["health"] == {}
    error = client.call("chat.send", {**CHAT, "idempotencyKey": "k1"})["error"]
    assert error["code"] == "UNAVAILABLE"
    control.store.failure = None
    assert control.member().call("health")["ok"]
    log.take_problems()


CHAT = {"sessionKey": "main", "message": "hi"}


def test_in_the_global_scope_the_main_session_is_called_global(
    make_control: Make,
) -> None:
    control = make_control(global_scope=True)
    snapshot = control.client().log_in()["payload"]["snapshot"]
    assert snapshot["sessionDefaults"]["mainSessionKey"] == "global"
    assert snapshot["sessionDefaults"]["scope"] == "global"


def test_no_secret_is_logged(control: Control, log: LogTape) -> None:
    secret = "hunter2-hunter2-hunter2"
    granted = token_of(log_in_with(control, LOCAL)[1])
    log_in_with(control, auth={"token": granted})
    log_in_with(control, auth={"token": secret, "password": secret})
    control.client().log_in(auth={"token": secret})
    told = "\n".join(f"{formatEvent(event)} {event}" for event in log.events)
    assert not any(word in told for word in (TOKEN, secret, granted))
