"""What init systems and load balancers ask, and how much strangers are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress

from moltbot_gw.errors import StoreFailed
from moltbot_gw.monitoring.readiness import ANSWER_SECONDS, BROKEN, KEEP_SECONDS
from tests.support.gateway import Gateway, LogTape
from tests.support.http_client import Answer, chat_request, http_request
from tests.support.memory_store import MemorySessionStore

MakeGateway = Callable[..., Gateway]
FULL = "The session store failed: the disk is full."
HERE = IPv4Address("TCP", "127.0.0.1", 50_000)
ELSEWHERE = IPv4Address("TCP", "192.0.2.7", 50_000)


def probe(
    gateway: Gateway,
    path: str = "/readyz",
    *,
    peer: IAddress = ELSEWHERE,
    token: str | None = None,
    host: bytes = b"localhost",
    **headers: str,
) -> Answer:
    raw = http_request("GET", path, token=token, **headers)
    raw = raw.replace(b"gateway.test", host)
    return gateway.connect(peer=peer).send(raw).answer()


def fail(gateway: Gateway) -> None:
    gateway.store.failure = StoreFailed(FULL)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("enabled", [True, False])
def test_anybody_is_told_that_all_is_well(
    make_gateway: MakeGateway, path: str, enabled: bool
) -> None:
    answer = probe(make_gateway(enabled=enabled), path)
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert answer.header("cache-control") == "no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_head_is_get_without_a_body(gateway: Gateway, path: str) -> None:
    got = gateway.ask(http_request("GET", path, token=None, X_Request_Id="a"))
    raw = http_request("HEAD", path, token=None, X_Request_Id="a")
    assert gateway.send(raw).answer(head_only=True).headers == got.headers


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_other_methods_are_refused(gateway: Gateway, path: str) -> None:
    answer = gateway.ask(http_request("POST", path, b"{}", token=None))
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/v1/healthz", "/healthz/", "/readyz/x", "/Healthz"])
def test_there_is_one_spelling(gateway: Gateway, path: str) -> None:
    assert gateway.ask(http_request("GET", path)).status == 404


def test_a_name_that_is_not_ours_is_refused_here_too(gateway: Gateway) -> None:
    assert probe(gateway, host=b"rebound.example").status == 403


def test_a_store_that_takes_nothing_makes_it_unready(gateway: Gateway) -> None:
    fail(gateway)
    answer = probe(gateway)
    assert (answer.status, answer.json) == (503, {"status": "unready"})
    assert answer.header("retry-after") == "5"
    assert probe(gateway, "/healthz").status == 200


def test_a_stopping_gateway_is_unready_and_alive(gateway: Gateway) -> None:
    connection, call = gateway.chat()
    gateway.drain()
    answer = probe(gateway, peer=HERE)
    assert answer.status == 503
    assert answer.json["checks"]["accepting"] == "The gateway is stopping."
    assert probe(gateway, "/healthz").status == 200
    call.finish()
    assert connection.answer().status == 200


CHECKS = {"accepting": "ok", "config": "ok", "store": FULL}


@pytest.mark.parametrize(
    "asking",
    [
        {"peer": HERE},
        {"peer": UNIXAddress(None)},
        {"token": "correct-horse-battery-staple"},
    ],
)
def test_this_machine_and_who_has_the_secret_are_told_why(
    gateway: Gateway, asking: dict[str, Any]
) -> None:
    fail(gateway)
    answer = probe(gateway, **asking)
    assert answer.status == 503
    assert answer.json == {"status": "unready", "checks": CHECKS}


@pytest.mark.parametrize(
    "asking",
    [
        {},
        {"token": "a guess"},
        {"peer": HERE, "X_Forwarded_For": "127.0.0.1"},
        {"peer": HERE, "host": b"192.0.2.1"},
    ],
)
def test_strangers_are_not(gateway: Gateway, asking: dict[str, Any]) -> None:
    fail(gateway)
    assert probe(gateway, **asking).json == {"status": "unready"}


def test_who_comes_through_a_trusted_proxy_is_a_stranger(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(trusted_proxies=("127.0.0.1",))
    for headers in ({}, {"X_Forwarded_For": "::1"}, {"X_Forwarded_For": "192.0.2.7"}):
        assert probe(gateway, peer=HERE, **headers).json == {"status": "ok"}


def test_guesses_are_counted_and_the_probe_answers_all_the_same(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(max_auth_failures=3)
    for number in range(5):
        assert probe(gateway, token=f"guess {number}").json == {"status": "ok"}
    right = probe(gateway, token="correct-horse-battery-staple")
    assert right.json == {"status": "ok"}
    assert gateway.limiter.failures == 3


class AskedStore(MemorySessionStore):
    """Keeps each check for the test to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Deferred[None]] = []

    def check(self) -> Deferred[None]:
        self.asked.append(Deferred())
        return self.asked[-1]


@pytest.fixture
def asked(make_gateway: MakeGateway) -> Gateway:
    return make_gateway(store=AskedStore())


def begin(gateway: Gateway) -> Any:
    """Ask whether it is ready; return the connection."""
    raw = http_request("GET", "/readyz")
    return gateway.connect(peer=ELSEWHERE).send(raw)


def test_all_who_ask_at_once_get_one_answer_of_the_store(asked: Gateway) -> None:
    connections = [begin(asked) for _ in range(5)]
    (check,) = asked.store.asked
    check.callback(None)
    assert [one.answer().status for one in connections] == [200] * 5


def test_an_answer_is_good_for_a_moment(asked: Gateway) -> None:
    first = begin(asked)
    asked.store.asked[0].callback(None)
    assert first.answer().status == 200
    asked.advance(KEEP_SECONDS * 0.9)
    assert begin(asked).answer().status == 200
    asked.advance(KEEP_SECONDS * 0.2)
    last = begin(asked)
    asked.store.asked[1].errback(StoreFailed(FULL))
    assert last.answer().status == 503
    assert len(asked.store.asked) == 2


def test_a_store_that_is_silent_makes_it_unready_in_time(asked: Gateway) -> None:
    waiting = begin(asked)
    asked.advance(ANSWER_SECONDS / 2)
    later = begin(asked)
    asked.advance(ANSWER_SECONDS / 2)
    told = "The session store has not answered for 2 seconds."
    for connection in (waiting, later, begin(asked)):
        assert connection.answer().json["checks"]["store"] == told
    (check,) = asked.store.asked
    check.callback(None)
    recovered = begin(asked)
    asked.store.asked[1].callback(None)
    assert recovered.answer().status == 200


def test_whoever_goes_takes_nothing_from_the_others(asked: Gateway) -> None:
    gone, stays = begin(asked), begin(asked)
    gone.hang_up()
    asked.store.asked[0].callback(None)
    assert stays.answer().status == 200


def test_a_clock_that_is_set_back_asks_again(asked: Gateway) -> None:
    asked.clock.rightNow = 1000.0
    begin(asked)
    asked.store.asked[0].callback(None)
    asked.clock.rightNow = 500.0
    begin(asked)
    assert len(asked.store.asked) == 2
    asked.store.asked[1].callback(None)
    asked.clock.rightNow = 1000.0  # where the timers of the connections are


def test_a_defect_of_the_store_is_logged_and_not_told(
    asked: Gateway, log: LogTape
) -> None:
    connection = begin(asked)
    asked.store.asked[0].errback(ZeroDivisionError("secret"))
    assert connection.answer().json["checks"]["store"] == BROKEN
    (problem,) = log.take_problems()
    assert "ZeroDivisionError" in problem


def test_a_run_is_refused_as_before_while_it_is_unready(gateway: Gateway) -> None:
    fail(gateway)
    assert gateway.ask(chat_request()).status == 500
