"""Which agent and which session a completion means."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.http_client import chat_request, http_request

MakeGateway = Callable[..., Gateway]
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
PRODUCTS = ["moltbot", "clawdbot", "openclaw"]
AGENT, KEY = "x-moltbot-agent-id", "x-moltbot-session-key"


@pytest.mark.parametrize(
    ("model", "agent"),
    [
        ("moltbot", "main"),
        ("moltbot:beta", "beta"),
        ("moltbot/beta", "beta"),
        ("agent:beta", "beta"),
        ("MOLTBOT/Beta", "beta"),
        ("clawdbot:beta", "beta"),
        ("openclaw/beta", "beta"),
        ("openclaw/default", "main"),
        ("moltbot:default", "main"),
        ("gpt-4o", "main"),
        ("agent:", "main"),
        ("moltbot:-x", "main"),
        ("xmoltbot:beta", "main"),
        ("moltbot:beta\n", "main"),
        ("", "main"),
    ],
)
def test_the_model_names_the_agent_and_is_echoed(
    gateway: Gateway, model: str, agent: str
) -> None:
    answer = gateway.complete(model=model)
    assert answer.header(AGENT) == agent
    assert answer.json["model"] == model


def test_without_a_model_the_product_answers(gateway: Gateway) -> None:
    answer = gateway.complete()
    assert answer.json["model"] == "moltbot"
    assert answer.header(AGENT) == "main"


def test_the_configured_default_agent_is_meant(make_gateway: MakeGateway) -> None:
    answer = make_gateway(default_id="beta").complete(model="gpt-4o")
    assert answer.header(AGENT) == "beta"


def test_an_agent_called_default_is_that_agent(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(agents=("main", "default"))
    assert gateway.complete(model="moltbot:default").header(AGENT) == "default"


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("suffix", ["agent-id", "agent"])
def test_a_header_beats_the_model(gateway: Gateway, product: str, suffix: str) -> None:
    answer = gateway.complete({f"x-{product}-{suffix}": " Beta "}, model="agent:main")
    assert answer.header(AGENT) == "beta"


def test_the_longer_header_name_comes_first(gateway: Gateway) -> None:
    headers = {"x-moltbot-agent": "main", "x-openclaw-agent-id": "beta"}
    assert gateway.complete(headers).header(AGENT) == "beta"


def test_a_blank_header_says_nothing(gateway: Gateway) -> None:
    answer = gateway.complete({AGENT: " ", "x-moltbot-agent": ""}, model="agent:beta")
    assert answer.header(AGENT) == "beta"


def test_products_that_agree_are_fine(gateway: Gateway) -> None:
    headers = {f"x-{product}-agent-id": "beta" for product in PRODUCTS}
    assert gateway.complete(headers).header(AGENT) == "beta"


@pytest.mark.parametrize("suffix", ["agent-id", "agent", "session-key"])
def test_products_that_disagree_are_refused(gateway: Gateway, suffix: str) -> None:
    headers = {f"x-moltbot-{suffix}": "main", f"x-openclaw-{suffix}": "beta"}
    answer = gateway.ask(completion(headers))
    assert answer.status == 400
    assert answer.error["param"] == f"x-openclaw-{suffix}"
    assert nothing_was_created(gateway)


@pytest.mark.parametrize(
    ("headers", "model", "param"),
    [
        ({}, "moltbot:ghost", "model"),
        ({AGENT: "ghost"}, "moltbot", AGENT),
        ({"x-clawdbot-agent": "ghost"}, "agent:beta", "x-clawdbot-agent"),
        ({AGENT: "..//.."}, "moltbot", AGENT),
        ({KEY: "agent:ghost:x"}, "moltbot", KEY),
        ({KEY: "x"}, "moltbot:ghost", "model"),
    ],
)
def test_an_unknown_agent_is_not_found_and_not_created(
    gateway: Gateway, headers: dict[str, str], model: str, param: str
) -> None:
    answer = gateway.ask(completion(headers, model=model))
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"] == param
    assert nothing_was_created(gateway)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_session_key_is_echoed_verbatim(gateway: Gateway, product: str) -> None:
    answer = gateway.complete({f"x-{product}-session-key": "My Key/1"})
    assert answer.header(KEY) == "My Key/1"
    assert list(gateway.sessions()) == ["agent:main:My Key/1"]


def test_a_key_with_an_agent_chooses_the_agent(gateway: Gateway) -> None:
    answer = gateway.complete({KEY: "agent:beta:x"}, model="gpt-4o")
    assert answer.header(AGENT) == "beta"
    assert list(gateway.sessions()) == ["agent:beta:x"]


def test_a_key_beats_the_user(gateway: Gateway) -> None:
    gateway.complete({KEY: "k"}, user="alice")
    assert list(gateway.sessions()) == ["agent:main:k"]


def test_the_longest_key_is_taken(gateway: Gateway) -> None:
    assert gateway.complete({KEY: "k" * 512}).header(KEY) == "k" * 512


@pytest.mark.parametrize(
    "key",
    [
        "k" * 513,
        "a\tb",
        "subagent:x",
        "SubAgent:x",
        "cron:x",
        "acp:x",
        "agent:main:subagent:x",
        "agent:main:CRON:x",
        "agent:main:acp:",
        "agent:beta:x",
    ],
)
def test_a_bad_key_is_refused(gateway: Gateway, key: str) -> None:
    answer = gateway.ask(completion({KEY: key, AGENT: "main"}))
    assert answer.status == 400
    assert answer.error["param"] == KEY
    assert nothing_was_created(gateway)


def test_a_key_of_another_agent_than_the_models_is_refused(gateway: Gateway) -> None:
    answer = gateway.ask(completion({KEY: "agent:beta:x"}, model="agent:main"))
    assert (answer.status, answer.error["param"]) == (400, KEY)


@pytest.mark.parametrize("user", ["alice", " Alice ", "ALICE"])
def test_a_user_has_one_lasting_session(gateway: Gateway, user: str) -> None:
    answer = gateway.complete(user=user)
    assert answer.header(KEY) == "agent:main:openai-user:alice"
    assert list(gateway.sessions()) == ["agent:main:openai-user:alice"]


def test_a_users_name_is_safe_in_a_header(gateway: Gateway) -> None:
    answer = gateway.complete(user="Zoë\r\nX: y")
    assert answer.header(KEY) == "agent:main:openai-user:zo%c3%ab%0d%0ax: y"
    assert answer.header("x") is None


@pytest.mark.parametrize("fields", [{}, {"user": ""}, {"user": "  "}])
def test_without_a_name_the_session_is_new(
    gateway: Gateway, fields: dict[str, Any]
) -> None:
    first, second = (gateway.complete(**fields).header(KEY) for _ in range(2))
    assert first != second
    assert re.fullmatch(f"agent:main:openai:{UUID}", first or "")


def test_in_the_global_scope_users_share_a_session(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(global_scope=True)
    assert gateway.complete(user="alice").header(KEY) == "global"
    gateway.complete({KEY: "agent:beta:main"})
    assert list(gateway.sessions()) == ["global"]


@pytest.mark.parametrize("own", ["a", "req_1.2-3", "x" * 128])
def test_a_request_id_is_echoed(gateway: Gateway, own: str) -> None:
    assert gateway.complete({"X-Request-Id": own}).header("x-request-id") == own
    refused = http_request(token=None, X_Request_Id=own)
    assert gateway.ask(refused).header("x-request-id") == own


@pytest.mark.parametrize("own", ["", "x" * 129, "a b", "a/b", "{}", "a,b"])
def test_a_bad_request_id_is_replaced(gateway: Gateway, own: str) -> None:
    new = gateway.complete({"X-Request-Id": own}).header("x-request-id")
    assert new != own
    assert re.fullmatch("[A-Za-z0-9._-]{1,128}", new or "")


def test_two_request_ids_are_replaced(gateway: Gateway) -> None:
    answer = gateway.ask(http_request(X_Request_Id="a", x_request_id="b"))
    assert answer.header("x-request-id") not in ("a", "b")


def test_request_ids_differ(gateway: Gateway) -> None:
    ids = {gateway.ask(http_request()).header("x-request-id") for _ in range(20)}
    assert len(ids) == 20


def completion(headers: dict[str, str], model: str = "moltbot") -> bytes:
    body = b'{"messages": [{"role": "user", "content": "hi"}], "model": "%b"}'
    return http_request(
        "POST", "/v1/chat/completions", body % model.encode(), **headers
    )


def nothing_was_created(gateway: Gateway) -> bool:
    return not gateway.sessions() and gateway.agents.idle and not gateway.model.calls


def test_products_that_name_one_agent_in_two_spellings_agree(
    gateway: Gateway,
) -> None:
    headers = {AGENT: "beta", "x-clawdbot-agent-id": "Beta"}
    assert gateway.complete(headers).header(AGENT) == "beta"


def test_the_key_of_any_user_leads_back_to_the_session(gateway: Gateway) -> None:
    key = gateway.complete(user="Zoë 😀").header(KEY)
    gateway.complete({KEY: key}, content="again")
    said = gateway.model.calls[-1].request.messages
    assert len(said) == 3


def test_a_key_is_spelt_as_the_client_spells_it(gateway: Gateway) -> None:
    answer = gateway.complete({KEY: "Agent:BETA:Work"})
    assert (answer.header(KEY), answer.header(AGENT)) == ("Agent:BETA:Work", "beta")
    assert list(gateway.sessions()) == ["agent:beta:Work"]


def test_a_header_that_is_not_ascii_is_named(gateway: Gateway) -> None:
    answer = gateway.send(http_request(X_Moltbot_Session_Key="k\x85y")).answer()
    assert answer.error["param"] == "x-moltbot-session-key"


def test_a_picture_for_a_blind_model_is_named(gateway: Gateway) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    parts = [{"type": "text", "text": "look"}, picture]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": parts}]
    answer = gateway.send(chat_request(messages=messages)).answer()
    assert (answer.status, answer.error["param"]) == (400, "messages[1].content[1]")
