from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from moltbot_gw.config import Networks
from moltbot_gw.peers import UNIX, Peer, find_peer

PROXY = "10.0.0.1"
TRUSTED = (PROXY, "10.0.0.2", "fd00::1")


def headers(host: str = "localhost", **others: str | list[str]) -> Headers:
    """Return headers; underscores in the names of *others* stand for dashes."""
    found = Headers({"Host": [host]})
    for name, value in others.items():
        values = [value] if isinstance(value, str) else value
        found.setRawHeaders(name.replace("_", "-"), values)
    return found


def client_of(*chain: str, host: str = PROXY) -> str:
    """Return whose address counts when *chain* came over a connection from *host*."""
    return find_peer(host, headers(X_Forwarded_For=list(chain)), TRUSTED).address


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::FFFF:cb00:7109", "203.0.113.9"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_has_one_spelling(host: str, address: str) -> None:
    assert find_peer(host, headers(), ()) == Peer(address, False)


# -- who is on this machine


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "name",
    ["localhost", "LOCALHOST:18789", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:1"],
)
def test_loopback_that_names_us_is_local(host: str, name: str) -> None:
    assert find_peer(host, headers(name), ()).is_local


@pytest.mark.parametrize(
    "name", ["gateway.example", "localhost.example", "192.168.1.1", "", "[::2]:1"]
)
def test_loopback_under_another_name_is_not_local(name: str) -> None:
    assert not find_peer("127.0.0.1", headers(name), ()).is_local


def test_a_tailnet_serves_this_machine() -> None:
    assert find_peer("127.0.0.1", headers("box.tail1234.ts.net"), ()).is_local


def test_without_one_host_nobody_is_local() -> None:
    assert not find_peer("127.0.0.1", Headers(), ()).is_local
    twice = Headers({"Host": ["localhost", "localhost"]})
    assert not find_peer("127.0.0.1", twice, ()).is_local


def test_an_address_elsewhere_is_not_local() -> None:
    assert not find_peer("203.0.113.9", headers(), ()).is_local


@pytest.mark.parametrize(
    "name", ["X_Forwarded_For", "X_Real_IP", "X_Forwarded_Host", "Forwarded"]
)
@pytest.mark.parametrize("host", ["127.0.0.1", None])
def test_what_a_proxy_passes_on_is_not_local(host: str | None, name: str) -> None:
    assert not find_peer(host, headers(**{name: "127.0.0.1"}), ()).is_local


def test_a_unix_socket_is_local() -> None:
    assert find_peer(None, headers("anything"), ()) == Peer(UNIX, True)
    assert Peer(UNIX, True).bucket == UNIX


# -- proxies


def test_a_stranger_is_not_believed() -> None:
    peer = find_peer(
        "203.0.113.9",
        headers(X_Forwarded_For="127.0.0.1", X_Real_IP="127.0.0.1"),
        TRUSTED,
    )
    assert peer == Peer("203.0.113.9", False)


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1", "203.0.113.9"], "203.0.113.9"),
        (["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["203.0.113.9,10.0.0.2", "10.0.0.2"], "203.0.113.9"),
        (["203.0.113.9, fd00:0:0::1"], "203.0.113.9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9:51234"], "203.0.113.9"),
        (["[2001:db8::9]:51234"], "2001:db8::9"),
        (["[2001:db8::9]"], "2001:db8::9"),
        (["2001:db8::9"], "2001:db8::9"),
        (["  203.0.113.9\t"], "203.0.113.9"),
        # All of them trusted: the farthest.
        (["10.0.0.2"], "10.0.0.2"),
        (["fd00::1, 10.0.0.2"], "fd00::1"),
    ],
)
def test_the_nearest_address_that_is_not_trusted_counts(
    chain: list[str], address: str
) -> None:
    assert client_of(*chain) == address


@pytest.mark.parametrize(
    "chain", ["", "unknown", "127.0.0.1, garbage", "127.0.0.1,", "_hidden", "1.2.3"]
)
def test_a_chain_that_cannot_be_read_counts_for_the_proxy(chain: str) -> None:
    trusted = ("127.0.0.1",)
    peer = find_peer("127.0.0.1", headers(X_Forwarded_For=chain), trusted)
    assert peer == Peer("127.0.0.1", False)


def test_the_other_header_is_read_where_there_is_no_chain() -> None:
    one = headers(X_Real_IP="203.0.113.9")
    assert find_peer(PROXY, one, TRUSTED).address == "203.0.113.9"
    both = headers(X_Real_IP="1.1.1.1", X_Forwarded_For="203.0.113.9")
    assert find_peer(PROXY, both, TRUSTED).address == "203.0.113.9"


@pytest.mark.parametrize("real", ["garbage", ["203.0.113.9", "127.0.0.1"]])
def test_the_other_header_must_be_one_address(real: str | list[str]) -> None:
    assert find_peer(PROXY, headers(X_Real_IP=real), TRUSTED) == Peer(PROXY, False)


def test_a_trusted_proxy_vouches_for_this_machine() -> None:
    through = headers(X_Forwarded_For="127.0.0.1")
    assert find_peer("127.0.0.1", through, ("127.0.0.1",)).is_local
    assert find_peer(PROXY, through, TRUSTED).is_local
    elsewhere = headers(X_Forwarded_For="203.0.113.9")
    assert not find_peer("127.0.0.1", elsewhere, ("127.0.0.1",)).is_local


def test_a_trusted_address_that_passes_nothing_on_is_a_client() -> None:
    assert find_peer("127.0.0.1", headers(), ("127.0.0.1",)).is_local


@given(st.lists(st.text(max_size=20).map(lambda t: t.replace("\n", "")), max_size=4))
def test_no_words_of_a_client_make_it_someone_else(words: list[str]) -> None:
    raw = [word.encode("latin-1", "replace").decode("latin-1") for word in words]
    chain = ",".join([*raw, "203.0.113.9"])
    assert client_of(chain) == "203.0.113.9"


def user_of(host: str | None, **given: str | list[str]) -> str | None:
    """Return whom a request from *host* comes from by the word of a proxy."""
    networks = Networks(["10.0.0.0/24"])
    return find_peer(host, headers(**given), networks, "X-User").user


def test_a_trusted_proxy_names_its_user() -> None:
    assert user_of("10.0.0.9", X_User=" ann ") == "ann"
    assert user_of("::ffff:10.0.0.9", X_User="ann", X_Forwarded_For="::1") == "ann"


@pytest.mark.parametrize("user", ["", " ", "ä", "a	b", "a" * 257, ["a", "b"]])
def test_what_is_no_name_names_nobody(user: str | list[str]) -> None:
    assert user_of("10.0.0.9", X_User=user) is None


@pytest.mark.parametrize("host", ["10.0.1.1", "203.0.113.9", "127.0.0.1", None])
def test_nobody_else_names_users(host: str | None) -> None:
    assert user_of(host, X_User="ann") is None
    assert user_of(host, X_User="ann", X_Forwarded_For="10.0.0.9") is None
    assert find_peer("10.0.0.9", headers(X_User="ann"), ("10.0.0.9",)).user is None


def test_networks_of_proxies_are_believed_as_addresses_are() -> None:
    networks = Networks(["10.0.0.0/24", "fd00::/16"])
    chain = headers(X_Forwarded_For="1.2.3.4, 203.0.113.9, fd00::5")
    assert find_peer("10.0.0.7", chain, networks).address == "203.0.113.9"
    assert find_peer("10.0.1.7", chain, networks).address == "10.0.1.7"


# -- what failures are counted by


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
    ],
)
def test_a_whole_ipv6_network_is_one(one: str, other: str) -> None:
    assert Peer(one, False).bucket == Peer(other, False).bucket


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("203.0.113.9", "203.0.113.10"),
        ("127.0.0.1", "::1"),
        ("::1", "::2"),
    ],
)
def test_other_addresses_are_others(one: str, other: str) -> None:
    assert Peer(one, False).bucket != Peer(other, False).bucket
