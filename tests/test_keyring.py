"""Named keys: who is who, until when, and what changes when the list does."""

from __future__ import annotations

import hmac
import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from moltbot_gw.config import AuthKey, Secret
from moltbot_gw.errors import Forbidden, KeyExpired
from moltbot_gw.keyring import KeyRing, make_secret
from moltbot_gw.principals import OWNER, Limits, Principal
from tests.support.keys import make_key, secret_of

CI, BOB = make_key("ci"), make_key("bob", agents=("b*",))


@pytest.fixture
def ring(clock: Clock) -> KeyRing:
    return KeyRing((CI, BOB), clock.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def name_of(ring: KeyRing, secret: str) -> str | None:
    found = ring.find(secret.encode())
    return None if found is None else found.name


def test_a_secret_is_that_of_its_key(ring: KeyRing) -> None:
    assert name_of(ring, secret_of("ci")) == "ci"
    assert name_of(ring, secret_of("bob")) == "bob"


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "mbk",
        "mbk__",
        "mbk_x",
        "mbk_x_y",
        secret_of("ci")[:-1],
        secret_of("ci") + " ",
        secret_of("ci").upper(),
        secret_of("ci").replace("mbk", "mbl"),
        secret_of("eve"),
        secret_of("ci", 2),
    ],
)
def test_nothing_else_is(ring: KeyRing, presented: str) -> None:
    assert name_of(ring, presented) is None
    assert ring.find(None) is None


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=20))
def test_no_bytes_of_a_stranger_make_it_fail(rest: bytes) -> None:
    ring = KeyRing((CI,), lambda: 0.0)
    for presented in (rest, b"mbk_" + rest, secret_of("ci")[:13].encode() + rest):
        assert ring.find(presented) is None


@pytest.mark.parametrize("key", [secret_of("ci"), secret_of("ci", 2), "mbk_none_x"])
def test_secrets_are_compared_in_constant_time(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    counting = SimpleNamespace(compare_digest=compare)
    monkeypatch.setattr("moltbot_gw.keyring.hmac", counting)
    ring.find(key.encode())
    assert compared == [(32, 32)]


def test_a_key_of_proxy_users_has_no_secret(clock: Clock) -> None:
    ring = KeyRing((AuthKey(name="staff", users=("*@a.example",)),), clock.seconds)
    assert ring.find(b"mbk__") is None
    found = ring.find_user("Ann@A.example")
    assert found is not None
    assert found.name == "staff"
    assert ring.find_user("ann@b.example") is None


def test_a_key_has_its_time(clock: Clock) -> None:
    ring = KeyRing(
        (make_key("ci", expires_at="1970-01-01T00:01:00Z", users=("ann",)),),
        clock.seconds,
    )
    clock.advance(59.9)
    found = ring.find(secret_of("ci").encode())
    assert found is not None
    assert ring.is_current(found)
    clock.advance(0.1)
    assert not ring.is_current(found)
    with pytest.raises(KeyExpired, match='The key "ci" has expired'):
        ring.find(secret_of("ci").encode())
    with pytest.raises(KeyExpired):
        ring.find_user("ann")


def test_a_made_secret_is_found_by_its_hash(clock: Clock) -> None:
    made = make_secret()
    entry = AuthKey(name="x", id=made.id, hash=Secret(made.hash))
    assert name_of(KeyRing((entry,), clock.seconds), made.text) == "x"
    assert make_secret() != made
    assert len(made.text.split("_")[2]) == 52
    assert made.text.split("_")[2] not in made.hash


# -- changes


def ended(ring: KeyRing, *keys: AuthKey) -> set[str]:
    """Replace the keys; return whose time is over."""
    told: list[frozenset[str]] = []
    ring.observe(told.append)
    ring.replace(keys)
    return set().union(*told)


def test_a_revoked_key_is_nobody(ring: KeyRing) -> None:
    bob = ring.find(secret_of("bob").encode())
    assert bob is not None
    assert ended(ring, CI) == {"bob"}
    assert name_of(ring, secret_of("bob")) is None
    assert name_of(ring, secret_of("ci")) == "ci"
    assert not ring.is_current(bob)
    assert ring.is_current(OWNER)


def test_what_stays_the_same_goes_on(ring: KeyRing) -> None:
    assert ended(ring, BOB, CI, make_key("new")) == set()


@pytest.mark.parametrize(
    "changed",
    [
        make_key("ci", version=2),
        make_key("ci", scopes=("operator.read",)),
        make_key("ci", agents=("main",)),
        make_key("ci", expires_at="2030-01-01T00:00:00Z"),
        make_key("ci", users=("ann",)),
    ],
)
def test_a_key_that_means_another_ends_the_one_before(
    ring: KeyRing, changed: AuthKey
) -> None:
    assert ended(ring, changed, BOB) == {"ci"}


def test_other_limits_end_nothing(ring: KeyRing) -> None:
    ci = ring.find(secret_of("ci").encode())
    assert ci is not None
    assert ended(ring, make_key("ci", requests_per_minute=3), BOB) == set()
    assert ring.limits_of(ci) == Limits(requests_per_minute=3)
    assert ended(ring) == {"ci", "bob"}
    assert ring.limits_of(ci) == Limits()


# -- what a principal may

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"


def principal(*scopes: str, agents: tuple[str, ...] = ("*",)) -> Principal:
    return Principal(name="ci", scopes=frozenset(scopes), agents=agents)


@pytest.mark.parametrize(
    ("held", "wanted", "given"),
    [
        ((READ,), (READ,), {READ}),
        ((READ,), (WRITE,), set()),
        ((READ,), (ADMIN,), {READ}),
        ((READ, "chat"), (ADMIN, "operator.pairing"), {READ}),
        ((WRITE,), (READ,), {READ}),
        ((WRITE,), (READ, WRITE, "operator.pairing"), {READ, WRITE}),
        ((ADMIN,), (READ,), {READ}),
        ((ADMIN,), (ADMIN,), {ADMIN}),
        (("chat",), (ADMIN,), set()),
        (("chat",), ("chat",), set()),
    ],
)
def test_a_key_bounds_what_is_asked_for(
    held: tuple[str, ...], wanted: tuple[str, ...], given: set[str]
) -> None:
    assert principal(*held).bound(wanted) == given


def test_the_owner_gets_what_he_asks_for() -> None:
    assert OWNER.bound((ADMIN, "x")) == {ADMIN, "x"}
    OWNER.check_scope("chat")
    OWNER.check_agent("any", "model")
    assert math.inf == OWNER.expires


def test_scopes_and_agents_are_checked() -> None:
    one = principal("chat", agents=("main", "web-*"))
    one.check_scope("chat")
    with pytest.raises(Forbidden, match="scope operator"):
        one.check_scope(READ)
    one.check_agent("web-1", "model")
    with pytest.raises(Forbidden, match='may not use the agent "beta"') as caught:
        one.check_agent("beta", "model")
    assert caught.value.param == "model"
