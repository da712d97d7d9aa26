"""``moltbot keys``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moltbot_gw.config import AuthKey, load_config
from moltbot_gw.keyring import KeyRing
from tests.cli.support import Cli


def keys_in(path: Path) -> tuple[AuthKey, ...]:
    return load_config({}, path.parent, path=path).config.gateway.auth.keys


def create(cli: Cli, *words: str) -> str:
    """Create a key; return its secret, which is all that stdout has."""
    result = cli.run("keys", "create", *words)
    assert result.exit_code == 0, result.output
    assert "nobody can show it again" in result.stderr
    return result.stdout.strip()


@pytest.fixture
def path(alone: Cli) -> Path:
    file = alone.configure()
    file.write_text("{ // kept\n  agents: { list: [ { id: 'main' }, { id: 'b' } ] } }")
    return file


def test_a_key_is_made_and_its_secret_shown_once(alone: Cli, path: Path) -> None:
    secret = create(alone, "ci")
    ring = KeyRing(keys_in(path), lambda: 0.0)
    found = ring.find(secret.encode())
    assert found is not None
    assert found.name == "ci"
    assert "// kept" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    everything = "".join(p.read_text() for p in alone.state.iterdir() if p.is_file())
    assert secret.split("_")[2] not in everything
    for words in (("list",), ("list", "--json")):
        listed = alone.succeed("keys", *words)
        assert "ci" in listed
        assert secret not in listed
        assert "sha256" not in listed


def test_a_key_says_what_it_may(alone: Cli, path: Path) -> None:
    create(
        alone,
        *("web", "--agents", "main, b", "--scopes", "chat", "--expires", "30d"),
        *("--rpm", "10", "--tpm", "20000", "--max-runs", "2"),
    )
    (key,) = keys_in(path)
    assert (key.agents, key.scopes) == (("main", "b"), ("chat",))
    assert (key.requests_per_minute, key.tokens_per_minute) == (10, 20000)
    assert key.max_concurrent_runs == 2
    listed = alone.json("keys", "list", "--json")
    assert listed == [
        {
            "name": "web",
            "id": key.id,
            "scopes": ["chat"],
            "agents": ["main", "b"],
            "expiresAt": key.expires_at,
            "requestsPerMinute": 10,
            "tokensPerMinute": 20000,
            "maxConcurrentRuns": 2,
        }
    ]
    line = alone.succeed("keys", "list").splitlines()[1]
    assert line.endswith("10 requests/min, 20000 tokens/min, 2 runs")


def test_the_outcome_as_json(alone: Cli, path: Path) -> None:
    made = alone.json("keys", "create", "ci", "--json")
    assert set(made) == {"name", "id", "secret"}
    assert made["secret"].startswith(f"mbk_{made['id']}_")


def test_an_end_may_be_a_time(alone: Cli, path: Path) -> None:
    create(alone, "ci", "--expires", "2999-01-31T02:00:00+02:00")
    assert keys_in(path)[0].expires_at == "2999-01-31T00:00:00Z"


@pytest.mark.parametrize(
    ("expires", "error"),
    [
        ("30", "use a duration such as 30d"),
        ("soon", "use a duration such as 30d"),
        ("99999999d", "use a duration such as 30d"),
        ("2999-01-31", "use a duration such as 30d"),
        ("2001-01-31T00:00:00Z", "this time has passed"),
        ("0d", "this time has passed"),
    ],
)
def test_an_end_that_is_none(alone: Cli, path: Path, expires: str, error: str) -> None:
    said = alone.fail("keys", "create", "ci", "--expires", expires)
    assert said.startswith(f"--expires: {error}")
    assert keys_in(path) == ()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("ci",), "gateway.auth.keys.1.name: the same name as keys.0"),
        (("a b",), "gateway.auth.keys.1.name: expected letters, digits"),
        (("x", "--scopes", "all"), "gateway.auth.keys.1.scopes.0: expected one of"),
        (("x", "--scopes", ","), "gateway.auth.keys.1.scopes: name at least one"),
        (
            ("x", "--agents", "b", "--scopes", "operator.read"),
            "gateway.auth.keys.1.agents: operators see all agents",
        ),
        (("x", "--users", "a"), "gateway.auth.keys.1.users: needs gateway.auth"),
    ],
)
def test_a_bad_key_is_not_made(
    alone: Cli, path: Path, words: tuple[str, ...], error: str
) -> None:
    create(alone, "ci")
    before = path.read_text()
    assert alone.fail("keys", "create", *words).startswith(f"Error: {error}")
    assert path.read_text() == before


def test_an_unknown_agent_is_noted(alone: Cli, path: Path) -> None:
    result = alone.run("keys", "create", "ci", "--agents", "gone,b,web-*")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == "Note: there is no agent gone now"


def test_keys_are_taken_back(alone: Cli, path: Path) -> None:
    for name in ("one", "two", "three"):
        create(alone, name)
    assert alone.succeed("keys", "revoke", "two") == "Revoked two.\n"
    assert alone.json("keys", "revoke", "one", "--json") == {"revoked": "one"}
    assert [key.name for key in keys_in(path)] == ["three"]
    assert alone.fail("keys", "revoke", "two") == (
        "There is no key two (moltbot keys list)\n"
    )


def test_a_key_of_an_included_file_is_removed_there(alone: Cli) -> None:
    path = alone.configure(
        **{"$include": "./more.json", "gateway": {"auth": {"keys": []}}}
    )
    more: dict[str, Any] = {"name": "ci", "id": "abcd", "hash": f"sha256:{'0' * 64}"}
    tree = {"gateway": {"auth": {"keys": [more]}}}
    (path.parent / "more.json").write_text(json.dumps(tree))
    assert [row["name"] for row in alone.json("keys", "list", "--json")] == ["ci"]
    error = alone.fail("keys", "revoke", "ci")
    assert error == (f"The key ci is in a file that {path} includes; remove it there\n")


def test_no_keys(alone: Cli) -> None:
    assert alone.succeed("keys", "list") == (
        "No keys. Make one: moltbot keys create NAME\n"
    )
    assert alone.json("keys", "list", "--json") == []


def test_an_expired_key_is_shown_as_such(alone: Cli) -> None:
    key = {"name": "ci", "id": "abcd", "hash": f"sha256:{'0' * 64}"}
    alone.configure(
        gateway={"auth": {"keys": [{**key, "expiresAt": "2020-01-01T00:00:00Z"}]}}
    )
    assert "expired 2020-01-01T00:00:00Z" in alone.succeed("keys", "list")
    assert alone.json("keys", "list", "--json")[0]["expired"] is True


def test_a_file_of_others_is_a_clear_error(alone: Cli, path: Path) -> None:
    create(alone, "ci")
    alone.setenv("CLAWDBOT_NIX_MODE", "1")
    assert "read-only" in alone.fail("keys", "create", "two")
    assert "read-only" in alone.fail("keys", "revoke", "ci")
