"""Who may speak to the gateway, as HTTP says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

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


# -- too many wrong secrets

WRONG = http_request(token="wrong")


def guess(
    gateway: Gateway, times: int, address: str = "203.0.113.9", **headers: Any
) -> list[int]:
    """Send *times* wrong secrets from *address*; return the statuses."""
    kind = IPv6Address if ":" in address else IPv4Address
    return [
        gateway.connect(peer=kind("TCP", address, 5000))
        .send(http_request(token=f"wrong-{number}", **headers))
        .answer()
        .status
        for number in range(times)
    ]


def test_whoever_guesses_has_to_wait(gateway: Gateway) -> None:
    statuses = [gateway.ask(WRONG).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    answer = gateway.ask(WRONG)
    assert answer.header("retry-after") == "60"
    assert answer.error["type"] == "rate_limit_error"
    assert answer.error["code"] == "too_many_auth_failures"


def test_the_right_secret_has_to_wait_too(gateway: Gateway) -> None:
    for _ in range(10):
        gateway.ask(WRONG)
    assert gateway.ask(http_request()).status == 429
    gateway.advance(59)
    assert gateway.ask(http_request()).status == 429
    gateway.advance(1)
    assert gateway.ask(http_request()).status == 200


def test_one_connection_may_go_on_after_the_wait(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(header=70.0)
    connection = gateway.connect().send(WRONG * 12)
    statuses = [answer.status for answer in connection.answers()]
    assert statuses == [401] * 10 + [429] * 2
    gateway.advance(60)
    connection.send(http_request())
    assert connection.answers()[-1].status == 200


def test_who_brings_no_secret_makes_no_guess(gateway: Gateway) -> None:
    for _ in range(20):
        assert gateway.ask(http_request(token=None)).status == 401
        assert gateway.ask(raw("Basic abc")).status == 401
    assert gateway.ask(http_request()).status == 200


def test_who_has_to_wait_is_still_asked_for_a_secret(gateway: Gateway) -> None:
    for _ in range(10):
        gateway.ask(WRONG)
    assert gateway.ask(http_request(token=None)).status == 401


def test_others_do_not_have_to_wait(gateway: Gateway) -> None:
    assert guess(gateway, 11) == [401] * 10 + [429]
    assert guess(gateway, 1, "203.0.113.10") == [401]
    assert gateway.ask(http_request()).status == 200


def test_a_whole_ipv6_network_waits_together(gateway: Gateway) -> None:
    assert guess(gateway, 10, "2001:db8::1") == [401] * 10
    assert guess(gateway, 1, "2001:db8::2") == [429]
    assert guess(gateway, 1, "2001:db8:0:1::1") == [401]


def test_behind_a_proxy_each_client_counts_for_itself(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(trusted_proxies=("10.0.0.1",))
    one = {"X_Forwarded_For": "198.51.100.1"}
    other = {"X_Forwarded_For": "198.51.100.2"}
    assert guess(gateway, 11, "10.0.0.1", **one) == [401] * 10 + [429]
    assert guess(gateway, 1, "10.0.0.1", **other) == [401]


def test_nobody_guesses_more_by_making_up_addresses(gateway: Gateway) -> None:
    statuses = [
        guess(gateway, 1, X_Forwarded_For=f"198.51.100.{number}")
        for number in range(11)
    ]
    assert statuses == [[401]] * 10 + [[429]]


def test_the_number_of_guesses_is_configured(
    make_gateway: Callable[..., Gateway],
) -> None:
    assert guess(make_gateway(max_auth_failures=1), 3) == [401, 429, 429]


def test_a_refused_guess_is_no_guess(gateway: Gateway) -> None:
    assert guess(gateway, 10) == [401] * 10
    gateway.advance(59)
    assert guess(gateway, 5) == [429] * 5
    gateway.advance(1)
    assert guess(gateway, 1) == [401]
