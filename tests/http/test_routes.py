"""Which paths and methods there are, and what web pages may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateway import CREATED, Gateway
from tests.support.http_client import Answer, chat_body, http_request

MakeGateway = Callable[..., Gateway]
ORIGIN = "https://app.example"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions?api-version=1",
    ],
)
def test_completions_are_served_at_every_spelling(gateway: Gateway, path: str) -> None:
    connection = gateway.send(http_request("POST", path, chat_body()))
    gateway.model.calls[0].finish()
    assert connection.answer().status == 200


@pytest.mark.parametrize(
    "path", ["/v1/models", "/models", "/v1/v1/models/", "/models/"]
)
def test_models_are_listed_at_every_spelling(gateway: Gateway, path: str) -> None:
    listed = gateway.ask(http_request("GET", path)).json
    assert listed["object"] == "list"
    ids = [model["id"] for model in listed["data"]]
    assert ids == ["moltbot", "moltbot:main", "moltbot:beta", "moltbot:echo"]


@pytest.mark.parametrize(
    ("encoded", "name"),
    [
        ("moltbot", "moltbot"),
        ("moltbot:beta", "moltbot:beta"),
        ("moltbot%3Abeta", "moltbot:beta"),
        ("moltbot/beta", "moltbot/beta"),
        ("moltbot%2Fbeta", "moltbot/beta"),
        ("openclaw:default", "openclaw:default"),
    ],
)
def test_one_model_is_found_by_any_of_its_names(
    gateway: Gateway, encoded: str, name: str
) -> None:
    assert gateway.ask(http_request("GET", f"/v1/models/{encoded}")).json == {
        "id": name,
        "object": "model",
        "created": CREATED,
        "owned_by": "moltbot",
    }


@pytest.mark.parametrize("name", ["moltbot:ghost", "gpt-4o", "main", "%C3%A9"])
def test_an_unknown_model_is_not_found(gateway: Gateway, name: str) -> None:
    answer = gateway.ask(http_request("GET", f"/v1/models/{name}"))
    assert answer.status == 404
    assert (answer.error["code"], answer.error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/models", "/models/moltbot"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_a_disabled_endpoint_names_the_key(
    make_gateway: MakeGateway, path: str, method: str
) -> None:
    answer = make_gateway(enabled=False).ask(http_request(method, path, token=None))
    assert answer.status == 404
    assert answer.error["code"] == "endpoint_disabled"
    key = "gateway.http.endpoints.chatCompletions.enabled"
    assert key in answer.error["message"]


def test_a_disabled_endpoint_hides_nothing_else(make_gateway: MakeGateway) -> None:
    answer = make_gateway(enabled=False).ask(http_request("GET", "/health"))
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("token", [None, "wrong"])
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("HEAD", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/models/moltbot", "GET, HEAD"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
    ],
)
def test_another_method_is_refused_before_authentication(
    gateway: Gateway, method: str, path: str, allow: str, token: str | None
) -> None:
    connection = gateway.send(http_request(method, path, token=token))
    answer = connection.answer(head_only=method == "HEAD")
    assert answer.status == 405
    assert answer.header("allow") == allow
    assert method == "HEAD" or answer.error["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/models", "/models/moltbot"])
def test_head_is_get_without_a_body(gateway: Gateway, path: str) -> None:
    got = gateway.ask(http_request("GET", path, X_Request_Id="a"))
    head = gateway.send(http_request("HEAD", path, X_Request_Id="a"))
    answer = head.answer(head_only=True)
    assert answer.status == 200
    assert answer.headers == got.headers


def test_a_refused_head_request_with_a_body_gets_no_body(gateway: Gateway) -> None:
    raw = http_request("HEAD", "/v1/models", b"x", token=None)
    answer = gateway.send(raw).answer(head_only=True)
    assert answer.status == 401


def preflight(gateway: Gateway, origin: str, **headers: Any) -> Answer:
    headers |= {"Access_Control_Request_Method": "POST"}
    path = "/v1/chat/completions"
    return gateway.ask(
        http_request("OPTIONS", path, token=None, Origin=origin, **headers)
    )


def test_an_allowed_page_may_ask_before_it_sends(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(cors=(ORIGIN + "/",))
    wanted = {"Access_Control_Request_Headers": "authorization, content-type"}
    answer = preflight(gateway, ORIGIN, **wanted)
    assert answer.status == 204
    assert answer.header("access-control-allow-origin") == ORIGIN
    assert answer.header("access-control-allow-methods") == "POST"
    assert answer.header("access-control-allow-headers") == (
        "authorization, content-type"
    )
    assert answer.header("access-control-max-age") == "600"
    assert answer.header("vary") == "Origin"


def test_odd_wished_headers_are_not_reflected(make_gateway: MakeGateway) -> None:
    odd = {"Access_Control_Request_Headers": "a: b; <script>"}
    answer = preflight(make_gateway(cors=(ORIGIN,)), ORIGIN, **odd)
    assert answer.status == 204
    assert answer.header("access-control-allow-headers") is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ORIGIN + ".x", "*"])
def test_another_page_may_not(make_gateway: MakeGateway, origin: str) -> None:
    answer = preflight(make_gateway(cors=(ORIGIN,)), origin)
    assert answer.status == 405
    assert answer.header("access-control-allow-origin") is None


def test_no_origin_is_reflected_unasked(gateway: Gateway) -> None:
    assert preflight(gateway, ORIGIN).status == 405
    answer = gateway.ask(http_request(Origin=ORIGIN))
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") is None


def test_a_preflight_with_a_body_is_refused(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(cors=(ORIGIN,))
    raw = http_request("OPTIONS", "/v1/models", b"x", Origin=ORIGIN)
    assert gateway.ask(raw).status == 413


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (http_request(Origin=ORIGIN), 200),
        (http_request(token=None, Origin=ORIGIN), 401),
        (http_request("POST", "/v1/models", b"x", Origin=ORIGIN), 405),
        (http_request("POST", "/chat/completions", b"{", Origin=ORIGIN), 400),
        (
            http_request("POST", "/chat/completions", b"{}", token=None, Origin=ORIGIN),
            401,
        ),
    ],
)
def test_an_allowed_page_may_read_every_answer(
    make_gateway: MakeGateway, raw: bytes, status: int
) -> None:
    answer = make_gateway(cors=(ORIGIN,)).ask(raw)
    assert answer.status == status
    assert answer.header("access-control-allow-origin") == ORIGIN
    assert answer.header("vary") == "Origin"
    exposed = answer.header("access-control-expose-headers") or ""
    assert exposed.startswith("x-request-id, retry-after, x-should-retry, x-ratelimit-")


def test_an_allowed_page_may_read_a_stream(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(cors=(ORIGIN,))
    connection, call = gateway.chat({"Origin": ORIGIN}, stream=True)
    call.finish()
    assert connection.answer().header("access-control-allow-origin") == ORIGIN


def test_two_origins_are_none(make_gateway: MakeGateway) -> None:
    raw = http_request(Origin=ORIGIN, origin=ORIGIN)
    answer = make_gateway(cors=(ORIGIN,)).ask(raw)
    assert answer.header("access-control-allow-origin") is None
