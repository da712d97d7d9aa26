"""Named keys over HTTP: who may do what, and how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address

from moltbot_gw.config import AuthKey
from moltbot_gw.events import Usage
from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import (
    TOKEN,
    Answer,
    chat_body,
    chat_request,
    http_request,
)
from tests.support.keys import make_key, secret_of

Make = Callable[..., Gateway]
PATH = "/v1/chat/completions"
CI = make_key("ci")
BETA = make_key("beta", agents=("beta",))
WATCHER = make_key("watcher", scopes=("operator.read",))


@pytest.fixture
def gateway(make_gateway: Make) -> Gateway:
    return make_gateway(keys=(CI, BETA, WATCHER))


def models(gateway: Gateway, name: str, version: int = 1) -> Answer:
    return gateway.ask(http_request(token=secret_of(name, version)))


def post(name: str, headers: dict[str, str] | None = None, **fields: Any) -> bytes:
    """Return a completion with the secret of the key *name*."""
    return http_request(
        "POST", PATH, chat_body(**fields), token=secret_of(name), **(headers or {})
    )


def error_of(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["code"]


def complete(gateway: Gateway, name: str, usage: Usage | None = None) -> Answer:
    """Return the whole answer to a completion with the key *name*."""
    connection = gateway.send(post(name))
    call = gateway.model.calls[-1]
    call.say("hello")
    call.finish(usage=usage)
    return connection.answer()


# -- who may


@pytest.mark.parametrize(
    ("key", "headers", "fields", "outcome"),
    [
        (CI, {}, {}, 200),
        (CI, {}, {"model": "moltbot:beta"}, 200),
        (CI, {"x_moltbot_session_key": "agent:beta:x"}, {}, 200),
        (CI, {"x_moltbot_session_key": "global"}, {}, 200),
        (CI, {}, {"model": "moltbot:gone"}, (404, "model_not_found")),
        (BETA, {}, {"model": "moltbot:beta"}, 200),
        (BETA, {"x_moltbot_agent_id": "beta"}, {"user": "ann"}, 200),
        (BETA, {"x_moltbot_session_key": "agent:beta:x"}, {}, 200),
        (BETA, {}, {}, (403, "agent_not_allowed")),
        (BETA, {}, {"model": "moltbot:main"}, (403, "agent_not_allowed")),
        (BETA, {}, {"model": "moltbot:gone"}, (403, "agent_not_allowed")),
        (BETA, {"x_moltbot_agent_id": "main"}, {}, (403, "agent_not_allowed")),
        (
            BETA,
            {"x_moltbot_session_key": "agent:main:x"},
            {},
            (403, "agent_not_allowed"),
        ),
        (
            BETA,
            {"x_moltbot_session_key": "global", "x_moltbot_agent_id": "beta"},
            {},
            (403, "agent_not_allowed"),
        ),
        (WATCHER, {}, {}, (403, "missing_scope")),
    ],
)
def test_what_a_key_may(
    gateway: Gateway, key: AuthKey, headers: Any, fields: Any, outcome: Any
) -> None:
    connection = gateway.send(post(key.name, headers, **fields))
    if outcome == 200:
        gateway.model.calls[-1].finish()
        assert connection.answer().status == 200
    else:
        assert error_of(connection.answer()) == outcome
        assert gateway.sessions() == {}
        assert gateway.agents.idle


def test_a_shared_conversation_is_not_for_a_key_of_one_agent(
    make_gateway: Make,
) -> None:
    gateway = make_gateway(keys=(BETA,), global_scope=True)
    asked = post("beta", model="moltbot:beta", user="ann")
    assert error_of(gateway.ask(asked)) == (403, "agent_not_allowed")


def test_a_refusal_names_the_field(gateway: Gateway) -> None:
    error = gateway.ask(post("beta", model="moltbot:main")).error
    assert error["param"] == "model"
    assert error["message"] == ('model: the key "beta" may not use the agent "main".')


def test_models_are_those_that_a_key_may_use(gateway: Gateway) -> None:
    def names(name: str) -> list[str]:
        return [model["id"] for model in models(gateway, name).json["data"]]

    assert names("ci") == ["moltbot", "moltbot:main", "moltbot:beta", "moltbot:echo"]
    assert names("beta") == ["moltbot:beta"]
    assert error_of(models(gateway, "watcher")) == (403, "missing_scope")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("moltbot:beta", 200),
        ("moltbot:main", 403),
        ("moltbot:gone", 403),
        ("moltbot", 403),
        ("gpt-4o", 404),
    ],
)
def test_one_model(gateway: Gateway, name: str, status: int) -> None:
    path = f"/v1/models/{name}"
    answer = gateway.ask(http_request("GET", path, token=secret_of("beta")))
    assert answer.status == status


def test_an_expired_key_is_told_so(make_gateway: Make) -> None:
    gateway = make_gateway(
        keys=(make_key("ci", expires_at="2023-11-14T22:14:20Z"),)  # a minute on
    )
    gateway.advance(59)
    assert models(gateway, "ci").status == 200
    gateway.advance(1)
    for _ in range(20):  # it is no guess, so nobody has to wait
        answer = models(gateway, "ci")
        assert error_of(answer) == (401, "key_expired")
        assert answer.header("www-authenticate") == "Bearer"


def test_a_revoked_key_is_a_wrong_one(gateway: Gateway) -> None:
    assert models(gateway, "ci").status == 200
    gateway.keys.replace((BETA,))
    assert error_of(models(gateway, "ci")) == (401, "invalid_api_key")
    assert models(gateway, "beta").status == 200
    for _ in range(9):
        models(gateway, "ci")
    assert error_of(models(gateway, "ci")) == (429, "too_many_auth_failures")


def test_runs_of_a_revoked_key_may_end(gateway: Gateway) -> None:
    connection = gateway.send(post("ci", stream=True))
    gateway.keys.replace(())
    gateway.model.calls[-1].say("still here")
    gateway.model.calls[-1].finish()
    assert connection.answer().text == "still here"
    assert gateway.ask(post("ci")).status == 401


def test_the_owner_needs_no_key(gateway: Gateway) -> None:
    assert gateway.ask(http_request()).status == 200
    answer = gateway.complete(None, model="moltbot:beta")
    assert answer.status == 200
    assert not [name for name, _ in answer.headers if "ratelimit" in name.lower()]


# -- names


def test_run_and_access_log_bear_the_name(gateway: Gateway, log: LogTape) -> None:
    gateway.send(post("ci"))
    (run,) = gateway.agents.active
    assert run.principal == "ci"
    look = http_request("GET", f"/v1/runs/{run.run_id}", token=secret_of("ci"))
    assert gateway.ask(look).json["key"] == "ci"
    gateway.model.calls[-1].finish()
    gateway.advance(0)
    line = log.lines[-1]
    assert line.startswith("POST chat.completions 200")
    assert line.endswith(" key=ci")
    gateway.send(chat_request())
    (run,) = gateway.agents.active
    assert run.principal == ""
    gateway.model.calls[-1].finish()
    gateway.advance(0)
    assert "key=" not in log.lines[-1]


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_refusals_bear_the_name(make_gateway: Make, log: LogTape, body: bytes) -> None:
    gateway = make_gateway(keys=(make_key("ci", requests_per_minute=1),))
    request = http_request(
        "POST", "/v1/chat/completions", body=body, token=secret_of("ci")
    )
    statuses = [gateway.ask(request).status for _ in range(2)]
    gateway.advance(1)
    assert statuses == [400, 429]
    assert [line.endswith(" key=ci") for line in log.lines[-2:]] == [True, True]
    counted = {(status, key) for (_, status, key), _ in gateway.site.answers.items()}
    assert counted == {("400", "ci"), ("429", "ci")}
    assert not [e for e in log.events if secret_of("ci") in repr(e)]


def test_keys_of_one_agent_share_its_sessions(gateway: Gateway) -> None:
    session = {"x_moltbot_session_key": "agent:beta:shared"}
    for name in ("ci", "beta"):
        gateway.send(post(name, session))
        gateway.model.calls[-1].finish()
    assert len(gateway.model.calls[-1].request.messages) == 3


def test_nobody_gets_the_answer_to_anothers_idempotency_key(gateway: Gateway) -> None:
    headers = {"Idempotency_Key": "k1", "x_moltbot_agent_id": "beta"}
    for name in ("ci", "beta", "ci"):
        connection = gateway.send(post(name, headers))
        if len(gateway.model.calls) < 3 and not connection.answers():
            gateway.model.calls[-1].say(name)
            gateway.model.calls[-1].finish()
        said = connection.answer().json["choices"][0]["message"]["content"]
        assert said == name
    assert len(gateway.model.calls) == 2


def run_of(gateway: Gateway, name: str | None, run_id: str) -> int:
    token = TOKEN if name is None else secret_of(name)
    return gateway.ask(http_request("GET", f"/v1/runs/{run_id}", token=token)).status


def test_a_key_sees_its_own_runs_only(gateway: Gateway) -> None:
    gateway.send(post("ci", {"Idempotency_Key": "k1"}))
    (run,) = gateway.agents.active
    cancel = http_request(
        "POST", f"/v1/runs/{run.run_id}/cancel", b"", token=secret_of("beta")
    )
    for _ in range(2):
        seen = [run_of(gateway, name, run.run_id) for name in ("ci", None, "beta")]
        assert seen == [200, 200, 404]
        assert gateway.ask(cancel).status == 404
        assert run.cancelled is None
        if run.outcome is None:
            gateway.model.calls[-1].finish()


# -- how much


def limits_of(answer: Answer, kind: str) -> tuple[str | None, ...]:
    return tuple(
        answer.header(f"x-ratelimit-{what}-{kind}")
        for what in ("limit", "remaining", "reset")
    )


def test_requests_a_minute(make_gateway: Make) -> None:
    gateway = make_gateway(keys=(make_key("ci", requests_per_minute=2), BETA))
    assert limits_of(complete(gateway, "ci"), "requests") == ("2", "1", "30s")
    assert limits_of(complete(gateway, "ci"), "requests") == ("2", "0", "1m0s")
    connection = gateway.send(post("ci"))
    answer = connection.answer()
    assert error_of(answer) == (429, "rate_limit_exceeded")
    assert answer.error["type"] == "rate_limit_error"
    assert answer.header("retry-after") == "30"
    assert limits_of(answer, "requests") == ("2", "0", "1m0s")
    assert limits_of(answer, "tokens") == (None, None, None)
    gateway.advance(30)
    assert complete(gateway, "ci").status == 200
    assert gateway.ask(post("ci")).status == 429


def test_a_stream_tells_what_is_left(make_gateway: Make) -> None:
    gateway = make_gateway(keys=(make_key("ci", requests_per_minute=2),))
    connection = gateway.send(post("ci", stream=True))
    assert limits_of(connection.stream(), "requests") == ("2", "1", "30s")
    gateway.model.calls[-1].finish()


def test_bad_requests_count_and_lists_of_models_do_not(make_gateway: Make) -> None:
    gateway = make_gateway(keys=(make_key("ci", requests_per_minute=2),))
    for _ in range(5):
        assert models(gateway, "ci").status == 200
    for _ in range(2):
        answer = gateway.ask(post("ci", messages=[]))
        assert answer.status == 400
    assert limits_of(answer, "requests") == ("2", "0", "1m0s")
    assert gateway.ask(post("ci", messages=[])).status == 429


def test_tokens_a_minute(make_gateway: Make) -> None:
    gateway = make_gateway(keys=(make_key("ci", tokens_per_minute=60),))
    used = Usage(prompt_tokens=60, completion_tokens=10, total_tokens=70)
    assert limits_of(complete(gateway, "ci", used), "tokens") == ("60", "60", "0s")
    answer = gateway.ask(post("ci"))
    assert error_of(answer) == (429, "rate_limit_exceeded")
    assert answer.header("retry-after") == "11"
    assert limits_of(answer, "tokens") == ("60", "0", "1m10s")
    gateway.advance(11)
    assert complete(gateway, "ci", used).status == 200


def test_whoever_hangs_up_pays_for_what_was_said(make_gateway: Make) -> None:
    gateway = make_gateway(keys=(make_key("ci", tokens_per_minute=60),))
    talk = [
        {"role": role, "content": role * 10} for role in ("user", "assistant", "user")
    ]
    connection = gateway.send(post("ci", stream=True, messages=talk))
    gateway.model.calls[-1].say("x" * 1000)
    connection.hang_up()
    assert gateway.agents.idle
    said, asked = 1000, 40 + 90 + 40
    debt = -(-(said + asked) // 4) - 60
    assert gateway.ask(post("ci")).header("retry-after") == str(debt + 1)


def test_who_is_cut_off_while_waiting_pays_nothing(make_gateway: Make) -> None:
    gateway = make_gateway(
        keys=(make_key("ci", tokens_per_minute=60),), max_concurrent=1
    )
    first = gateway.send(post("ci"))
    waiting = gateway.send(
        post("ci", messages=[{"role": "user", "content": "x" * 999}])
    )
    waiting.hang_up()
    gateway.model.calls[-1].finish()
    assert first.answer().status == 200
    assert complete(gateway, "ci").status == 200


def test_runs_at_once(make_gateway: Make) -> None:
    gateway = make_gateway(keys=(make_key("ci", max_concurrent_runs=1), BETA))
    first = gateway.send(post("ci"))
    answer = gateway.ask(post("ci"))
    assert error_of(answer) == (429, "rate_limit_exceeded")
    assert answer.header("retry-after") == "5"
    gateway.model.calls[-1].finish()
    assert first.answer().status == 200
    assert complete(gateway, "ci").status == 200


def test_a_run_that_finds_no_room_counts_nowhere(make_gateway: Make) -> None:
    gateway = make_gateway(
        keys=(make_key("ci", max_concurrent_runs=1),), max_concurrent=1, max_waiting=1
    )
    gateway.send(chat_request())
    call = gateway.model.calls[-1]
    waiting = gateway.send(chat_request())
    assert error_of(gateway.ask(post("ci"))) == (429, "queue_full")
    call.finish()
    gateway.model.calls[-1].finish()
    assert waiting.answer().status == 200
    assert complete(gateway, "ci").status == 200


# -- users whom a proxy names

STAFF = AuthKey(name="staff", users=("*@a.example",))
PROXY = "10.0.0.7"
OWN = {"X_User": "ann@a.example"}


@pytest.fixture
def behind(make_gateway: Make) -> Gateway:
    """A gateway behind a proxy that knows its users."""
    return make_gateway(
        keys=(STAFF, CI),
        trusted_proxies=("10.0.0.0/24",),
        user_header="X-User",
        cors=("https://app.example",),
    )


def ask_from(
    gateway: Gateway, address: str, token: str | None = None, **headers: Any
) -> int:
    request = http_request(token=token, **headers)
    peer = IPv4Address("TCP", address, 5000)
    return gateway.connect(peer=peer).send(request).answer().status


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        (PROXY, OWN, 200),
        (PROXY, {**OWN, "X_Forwarded_For": "203.0.113.9"}, 200),
        (PROXY, {"X_User": "ANN@A.example"}, 200),
        (PROXY, {"X_User": "ann@b.example"}, 401),
        (PROXY, {"X_User": ""}, 401),
        (PROXY, {"X_User": "ann@a.example\r\nX-User: bob@a.example"}, 401),
        (PROXY, {"X_User": "a" * 300 + "@a.example"}, 401),
        (PROXY, {}, 401),
        ("10.0.1.7", OWN, 401),
        ("203.0.113.9", OWN, 401),
        ("203.0.113.9", {**OWN, "X_Forwarded_For": PROXY}, 401),
        (PROXY, {**OWN, "Authorization": "Basic YTpi"}, 200),
        (PROXY, {**OWN, "Authorization": "Bearer wrong"}, 401),
        # Pages of others must not use what the proxy knows of the user's browser.
        (PROXY, {**OWN, "Origin": "https://evil.example"}, 403),
        (PROXY, {**OWN, "Origin": "null"}, 403),
        (PROXY, {**OWN, "Origin": "https://gateway.test"}, 200),
        (PROXY, {**OWN, "Origin": "https://app.example"}, 200),
    ],
)
def test_only_a_trusted_proxy_names_users(
    behind: Gateway, address: str, headers: dict[str, str], status: int
) -> None:
    assert ask_from(behind, address, **headers) == status


def test_a_secret_counts_before_a_user(behind: Gateway, log: LogTape) -> None:
    assert ask_from(behind, PROXY, secret_of("ci"), **OWN) == 200
    assert log.lines[-1].endswith("key=ci")
    assert ask_from(behind, PROXY, **OWN) == 200
    assert log.lines[-1].endswith("key=staff")


def test_without_a_header_in_the_configuration_none_names_users(
    make_gateway: Make,
) -> None:
    gateway = make_gateway(keys=(STAFF,), trusted_proxies=("10.0.0.0/24",))
    assert ask_from(gateway, PROXY, **OWN) == 401


# -- strangers


def test_a_stranger_may_not_idle(gateway: Gateway) -> None:
    """Else 401 after 401, each a little before the idle time, holds a connection."""
    stranger = gateway.send(http_request(token=None))
    friend = gateway.send(http_request())
    gateway.advance(12.1)
    assert stranger.closed
    assert not friend.closed
    gateway.advance(75)
    assert friend.closed


def test_a_stranger_who_proves_himself_may_idle(gateway: Gateway) -> None:
    connection = gateway.send(http_request(token=None))
    connection.send(http_request())
    gateway.advance(60)
    assert not connection.closed
