"""``gateway.auth.keys`` and ``gateway.trustedProxies``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config import AuthKey, Config, Networks, parse_instant
from moltbot_gw.config.redaction import REDACTED, redact_tree, secret_places
from moltbot_gw.config.validate import validate

HASH = "sha256:" + "0f" * 32
GOOD = {"name": "ci", "id": "abcd1234", "hash": HASH}


def read(auth: Any, **gateway: Any) -> tuple[Config | None, list[str]]:
    config, faults = validate({"gateway": {"auth": auth, **gateway}})
    return config, [f"{'.'.join(map(str, f.place))}: {f.message}" for f in faults]


def keys_of(*keys: Any, **auth: Any) -> tuple[AuthKey, ...]:
    config, faults = read({"keys": list(keys), **auth}, trustedProxies=["10.0.0.1"])
    assert config is not None, faults
    return config.gateway.auth.keys


def fault_of(*keys: Any, **auth: Any) -> str:
    config, faults = read({"keys": list(keys), **auth})
    assert config is None
    return faults[0].removeprefix("gateway.auth.")


def test_a_key_says_little_by_default() -> None:
    (key,) = keys_of(GOOD)
    assert (key.scopes, key.agents, key.expires) == (("chat",), ("*",), None)
    assert key.requests_per_minute is key.tokens_per_minute is None


def test_a_key_may_say_everything() -> None:
    (key,) = keys_of(
        {
            **GOOD,
            "users": ["a@b.example"],
            "scopes": ["chat"],
            "agents": [" Main ", "web-*"],
            "expiresAt": "2027-01-31T02:00:00+02:00",
            "requestsPerMinute": 1,
            "tokensPerMinute": 2,
            "maxConcurrentRuns": 3,
        },
        trustedProxy={"userHeader": "X-User"},
    )
    assert key.agents == ("main", "web-*")
    assert key.expires == 1801353600.0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": ""}, "keys.0.name: expected a string of length >= 1"),
        ({"name": "a b"}, "keys.0.name: expected letters, digits"),
        ({"name": "a\nb"}, "keys.0.name: expected letters, digits"),
        ({"id": "ABCD"}, "keys.0.id: expected 4 to 32 of a-z and 0-9"),
        ({"hash": "sha256:00"}, 'keys.0.hash: expected "sha256:" and 64 hex digits'),
        ({"hash": " "}, "keys.0: a key needs id and hash"),
        ({"scopes": []}, "keys.0.scopes: name at least one scope"),
        ({"scopes": ["all"]}, 'keys.0.scopes.0: expected one of "chat"'),
        ({"agents": []}, "keys.0.agents: name at least one agent"),
        ({"agents": ["a?"]}, "keys.0.agents.0: expected the id of an agent"),
        ({"expiresAt": "soon"}, "keys.0.expiresAt: expected a time with its zone"),
        ({"expiresAt": "2027-01-31T00:00:00"}, "keys.0.expiresAt: expected a time"),
        ({"requestsPerMinute": 0}, "keys.0.requestsPerMinute: "),
        ({"users": ["a b"]}, "keys.0.users.0: expected a name without blanks"),
        ({"users": ["a@b"]}, "keys.0.users: needs gateway.auth.trustedProxy"),
        ({"token": "x"}, 'keys.0.token: unknown key "token"'),
    ],
)
def test_what_is_wrong_with_a_key_is_told(change: Any, fault: str) -> None:
    assert fault_of({**GOOD, **change}).startswith(fault)


def test_whoever_sees_all_agents_may_use_all() -> None:
    bad = {**GOOD, "agents": ["main"], "scopes": ["chat", "operator.read"]}
    assert fault_of(bad).startswith("keys.0.agents: operators see all agents")
    keys_of({**bad, "agents": ["main", "*"]})


def test_id_and_hash_belong_together() -> None:
    assert fault_of({"name": "ci", "id": "abcd"}) == (
        "keys.0: a key needs id and hash (moltbot keys create), or users"
    )
    assert fault_of({"name": "ci", "hash": HASH}) == (
        "keys.0: id and hash belong together"
    )


def test_names_and_ids_are_used_once() -> None:
    again = {**GOOD, "name": "CI", "id": "other123"}
    assert fault_of(GOOD, again) == "keys.1.name: the same name as keys.0"
    twin = {**GOOD, "name": "twin"}
    assert fault_of(GOOD, twin) == "keys.1.id: the same id as keys.0"


def test_there_is_an_end_of_keys() -> None:
    many = [{**GOOD, "name": f"k{n}", "id": f"id{n:04}"} for n in range(1025)]
    assert fault_of(*many) == "keys: there may be 1024 keys"
    assert len(keys_of(*many[1:])) == 1024


@pytest.mark.parametrize("header", ["Authorization", "x-forwarded-for", "a b", ""])
def test_not_every_header_can_name_a_user(header: str) -> None:
    fault = fault_of(GOOD, trustedProxy={"userHeader": header})
    assert fault.startswith("trustedProxy.userHeader: ")


def test_a_user_header_needs_proxies() -> None:
    _, faults = read({"trustedProxy": {"userHeader": "X-User"}})
    assert faults == [
        "gateway.auth.trustedProxy.userHeader:"
        " needs the proxies in gateway.trustedProxies"
    ]


def test_hashes_are_not_shown_to_clients() -> None:
    tree = {"gateway": {"auth": {"keys": [GOOD]}}}
    shown = redact_tree(tree, secret_places(tree))
    assert shown["gateway"]["auth"]["keys"] == [{**GOOD, "hash": REDACTED}]


def test_times_are_read_with_their_zone() -> None:
    assert parse_instant("1970-01-01T00:01:00Z") == 60.0
    assert parse_instant(" 1970-01-01T01:01:00+01:00 ") == 60.0


# -- networks


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("10.1.0.0/16", "10.1.255.3", "10.2.0.0"),
        ("fd00::/8", "fdff::1", "fe00::1"),
        ("FD00:0::1", "fd00::1", "fd00::2"),
        ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("10.0.0.0/8", "10.0.0.1", "fd00::1"),
        ("10.0.0.0/8", "10.0.0.1", "unix"),
    ],
)
def test_networks_hold_addresses(text: str, inside: str, outside: str) -> None:
    networks = Networks(["192.0.2.1", text])
    assert inside in networks
    assert outside not in networks
    assert networks


def test_no_networks_hold_nothing() -> None:
    assert not Networks()
    assert "10.0.0.1" not in Networks()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("localhost", "expected an IP address"),
        ("10.0.0.1/8", "expected an IP address"),
        ("", "expected an IP address"),
        ("0.0.0.0/0", "this would believe everybody"),
        ("::/0", "this would believe everybody"),
    ],
)
def test_odd_proxies_are_refused(text: str, fault: str) -> None:
    _, faults = read({}, trustedProxies=["10.0.0.1", text])
    assert faults[0].startswith(f"gateway.trustedProxies.1: {fault}")


def test_nobody_changes_keys_over_the_network(tmp_path: Path) -> None:
    from moltbot_gw.config import EditRefused, find_config_file

    path = tmp_path / "moltbot.json"
    path.write_text("{}")
    file = find_config_file({"MOLTBOT_STATE_DIR": str(tmp_path)}, tmp_path, path)
    raw = '{gateway: {auth: {keys: [{name: "ci", users: ["x"]}]}}}'
    with pytest.raises(EditRefused):
        file.edit("patch", raw, file.snapshot().hash)
