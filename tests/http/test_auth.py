"""Who may speak to the gateway, as HTTP says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.http_client import TOKEN, chat_body, http_request

BAD = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN.upper()}",
    f"Bearer{TOKEN}",
    f"Basic {TOKEN}",
    TOKEN,
    "Bearer undefined",
    "Bearer null",
]


def raw(authorization: str | None) -> bytes:
    given: dict[str, Any] = (
        {} if authorization is None else {"Authorization": authorization}
    )
    return http_request(token=None, **given)


@pytest.mark.parametrize("authorization", BAD)
def test_without_the_secret_nothing_is_told(
    gateway: Gateway, authorization: str | None
) -> None:
    answer = gateway.ask(raw(authorization))
    assert answer.status == 401
    assert answer.header("www-authenticate") == "Bearer"
    assert (answer.error["type"], answer.error["code"]) == (
        "unauthorized",
        "invalid_api_key",
    )
    assert TOKEN not in answer.body.decode()


@pytest.mark.parametrize(
    "authorization", [f"bearer {TOKEN}", f"BEARER   {TOKEN}  ", f"Bearer {TOKEN}"]
)
def test_the_scheme_has_no_case(gateway: Gateway, authorization: str) -> None:
    assert gateway.ask(raw(authorization)).status == 200


def test_two_secrets_are_none(gateway: Gateway) -> None:
    twice = http_request(authorization=f"Bearer {TOKEN}")
    assert gateway.ask(twice).status == 401


def test_a_secret_in_the_query_does_not_count(gateway: Gateway) -> None:
    path = f"/v1/models?token={TOKEN}&access_token={TOKEN}"
    assert gateway.ask(http_request("GET", path, token=None)).status == 401


def test_other_headers_do_not_count(gateway: Gateway) -> None:
    others = http_request(token=None, X_Api_Key=TOKEN, Api_Key=TOKEN)
    assert gateway.ask(others).status == 401


def test_extra_key_headers_do_no_harm(gateway: Gateway) -> None:
    assert gateway.ask(http_request(X_Api_Key="x", Api_Key="y")).status == 200


def test_a_password_may_be_utf8(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(secret="pässwörter-und-mehr")
    sent = "Bearer pässwörter-und-mehr".encode().decode("latin-1")
    assert gateway.ask(http_request(token=None, Authorization=sent)).status == 200


def test_a_refused_completion_starts_nothing(gateway: Gateway) -> None:
    request = http_request("POST", "/v1/chat/completions", chat_body(), token="wrong")
    connection = gateway.send(request)
    assert connection.answer().status == 401
    assert connection.closed
    assert gateway.sessions() == {}
    assert gateway.agents.idle
